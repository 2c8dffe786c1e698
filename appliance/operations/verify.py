"""Everything read and compared with what is known of it; nothing but the place to go on from is
written."""

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from appliance.atomic import Batch, unlink
from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog, CatalogError
from appliance.catalog.metadata import KeptMetadata
from appliance.incoming.beneath import open_beneath
from appliance.incoming.directory import DirectoryMissing, PackagesDirectory
from appliance.index.model import File
from appliance.index.names import METADATA
from appliance.site.compare import Comparison, Difference
from appliance.site.tree import Site
from appliance.spec import Spec

_FILES = 200
_SAVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was. ``is_damage`` is false for what the watcher will see: a file
    whose size or mtime changed, too, or that is gone."""

    index: str
    path: str
    problem: str
    is_damage: bool = True


@dataclass(slots=True)
class Verification:
    """How far it has come, and what it has found."""

    indexes: list[str]
    index: str
    path: str = ""
    files: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def damage(self) -> list[Finding]:
        return [each for each in self.findings if each.is_damage]


def verify(
    spec: Spec, indexes: Sequence[str], restart: bool = False
) -> Generator[Verification, None, None]:
    """Compare every accepted file of ``indexes`` with the catalog, its ``.metadata`` too, after the
    catalog and the decisions log themselves; then pages and markers with the catalog.

    Yields the same :class:`Verification` after each file, and now and then. One that was
    interrupted goes on where it was, unless ``restart``. Raises :class:`CatalogError` if the
    catalog cannot be read at all.
    """
    catalog, bookmark = Catalog(spec.catalog), _Bookmark(spec.state / "verify.json")
    so_far = None if restart else bookmark.read(list(indexes))
    so_far = so_far or Verification(list(indexes), indexes[0])
    so_far.findings = [each for each in so_far.findings if each.index and each.path]
    so_far.findings += _state_findings(spec, catalog)

    try:
        for index in indexes[indexes.index(so_far.index) :]:
            if index != so_far.index:
                so_far.index, so_far.path = index, ""
            for _ in _IndexVerifier(spec, catalog, index).steps(so_far):
                bookmark.save_sometimes(so_far)
                yield so_far
        bookmark.is_needed = False
        yield so_far
    finally:
        bookmark.close(so_far)


def _state_findings(spec: Spec, catalog: Catalog) -> Iterator[Finding]:
    """What is wrong with the catalog itself, and with the decisions log."""
    try:
        catalog.check()
    except CatalogError as error:
        yield Finding("", spec.catalog.name, str(error))

    try:
        with catalog.read() as reader:
            log = decisionlog.read(spec.state)
            differs = log.lines and log.decided().holding() != reader.decisions()
            if differs and not decisionlog.is_behind(log, reader):
                text = "decisions differ from the catalog; run `pyindex rebuild`"
                yield Finding("", decisionlog.NAME, text)
    except OSError as error:
        yield Finding("", decisionlog.NAME, f"cannot be read: {error.strerror}")
    else:
        for problem in log.problems:
            yield Finding("", decisionlog.NAME, problem)


class _IndexVerifier:
    """Compares the files of one index, and what is published of it, with the catalog."""

    def __init__(self, spec: Spec, catalog: Catalog, index: str) -> None:
        self._catalog, self._index = catalog, index
        self._directory = PackagesDirectory(spec.indexes[index].packages)
        self._site, self._kept = Site(spec), KeptMetadata(spec.state)
        self._comparison = Comparison(spec, catalog, index)

    def steps(self, so_far: Verification) -> Iterator[None]:
        """Add what is found to ``so_far``, beginning after its path; yields after each file, and
        now and then."""
        absent = list(self._directory_findings())
        so_far.findings += absent
        for file in () if absent else self._files(so_far.path):
            so_far.findings += self._file_findings(file)
            so_far.path = file.path
            so_far.files, so_far.bytes = so_far.files + 1, so_far.bytes + file.size
            yield

        known = set(so_far.findings)  # of an earlier verification, which was interrupted
        for finding in self._published_findings():
            if finding is not None and finding not in known:
                so_far.findings.append(finding)
            yield

    def _directory_findings(self) -> Iterator[Finding]:
        """That the packages directory itself is not there."""
        try:
            self._directory.identity()
        except DirectoryMissing as error:
            yield Finding(self._index, "", str(error))

    # --- files ---------------------------------------------------------------------------------

    def _files(self, after: str) -> Iterator[File]:
        while True:
            with self._catalog.read() as reader:
                files = reader.files_after(self._index, after, _FILES)
            if not files:
                return
            yield from files
            after = files[-1].path

    def _file_findings(self, file: File) -> list[Finding]:
        findings = [*self._content_findings(file), *self._metadata_findings(file)]
        if not findings:
            return []
        with self._catalog.read() as reader:
            is_current = reader.file_at(self._index, file.path) == file
        return findings if is_current else []  # it has just been accepted anew, or is gone

    def _content_findings(self, file: File) -> Iterator[Finding]:
        try:
            descriptor = open_beneath(str(self._directory.root), file.path)
            with os.fdopen(descriptor, "rb") as content:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    yield self._changed(file, "no longer a regular file")
                    return
                digest = hashlib.file_digest(content, "sha256").hexdigest()
                status = os.fstat(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            yield self._changed(file, "deleted")
        except OSError as error:
            yield Finding(self._index, file.path, f"cannot be read: {error.strerror}")
        else:
            if digest != file.sha256:
                yield self._other_bytes(file, digest, status)

    def _other_bytes(self, file: File, digest: str, status: os.stat_result) -> Finding:
        """It is damage unless size or mtime changed, too."""
        if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
            return self._changed(file, "changed")
        text = f"content changed: expected sha256 {file.sha256}, got {digest}"
        return Finding(self._index, file.path, text)

    def _changed(self, file: File, what: str) -> Finding:
        text = f"{what} since it was accepted; the watcher will examine it"
        return Finding(self._index, file.path, text, is_damage=False)

    def _metadata_findings(self, file: File) -> Iterator[Finding]:
        """What the page promises of the file's metadata (PEP 658)."""
        if file.core_metadata is None:
            return
        try:
            content = self._read_metadata(file.path)
        except OSError as error:
            problem = str(error.strerror)
        else:
            if hashlib.sha256(content).hexdigest() == file.core_metadata:
                return
            problem = "content changed"
        text = f"published metadata: {problem}; run `pyindex rebuild` to rewrite it"
        yield Finding(self._index, file.path, text)

    def _read_metadata(self, path: str) -> bytes:
        """The metadata of a file; that of a quarantined project is kept apart."""
        try:
            return Path(self._site.metadata(self._index, path)).read_bytes()
        except FileNotFoundError:
            return Path(self._kept.path(self._index, path)).read_bytes()

    # --- what is published ---------------------------------------------------------------------

    def _published_findings(self) -> Iterator[Finding | None]:
        """What readers lack, or see though it is not there; ``None`` now and then."""
        for each in self._comparison.lists():
            yield self._unlike(each)
        for portion in self._comparison.lacking(whole=True):
            yield None
            for each in portion:
                if not each.path.endswith(METADATA):  # its bytes were compared
                    yield self._unlike(each)
        for each in self._comparison.superfluous():
            yield self._unlike(each, "remove it")

    def _unlike(self, difference: Difference, action: str = "rewrite it") -> Finding:
        text = f"{difference.problem}; run `pyindex rebuild` to {action}"
        return Finding(self._index, difference.path, text)


class _Bookmark:
    """Where an interrupted verification goes on, in the file ``path``. What cannot be saved makes
    the next one begin anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved_at = time.monotonic()
        self.is_needed = True

    def read(self, indexes: list[str]) -> Verification | None:
        """What was saved, if it is of the same indexes and makes sense."""
        try:
            data: dict[str, Any] = json.loads(self._path.read_bytes())
            findings = [Finding(**each) for each in data.pop("findings")]
            saved = Verification(**data, findings=findings)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        is_ours = saved.indexes == indexes and saved.index in indexes
        return saved if is_ours and isinstance(saved.path, str) else None

    def save_sometimes(self, so_far: Verification) -> None:
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self._save(so_far)
            self._saved_at = time.monotonic()

    def close(self, so_far: Verification) -> None:
        """Remove the file, or save where an interrupted verification is."""
        if self.is_needed:
            self._save(so_far)
            return
        with contextlib.suppress(OSError):
            unlink(self._path)

    def _save(self, so_far: Verification) -> None:
        with contextlib.suppress(OSError), Batch() as batch:
            batch.write(self._path, json.dumps(asdict(so_far)).encode())
