"""Verification: all files and the published tree are read and compared with the catalog. Only a
bookmark of the progress is written."""

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
from appliance.site.files import metadata_paths
from appliance.site.tree import Site
from appliance.spec import Spec

_FILES = 200
_SAVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Difference between a file or page and the catalog. ``is_damage`` is false for a change that
    the watcher handles: another size or mtime, or a deleted file."""

    index: str
    path: str
    problem: str
    is_damage: bool = True


@dataclass(slots=True)
class Verification:
    """Progress of a verification, with its findings."""

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
    """Check the catalog and the decision log, then compare every accepted file of ``indexes`` and
    its ``.metadata`` with the catalog, then the published tree.

    Yields the same :class:`Verification` after each file, and during other steps. An interrupted
    verification is resumed, unless ``restart``. Raises :class:`CatalogError` if the catalog cannot
    be read.
    """
    catalog, bookmark = Catalog(spec.catalog), _Bookmark(spec.state / "verify.json")
    progress = None if restart else bookmark.read(list(indexes))
    progress = progress or Verification(list(indexes), indexes[0])
    progress.findings = [each for each in progress.findings if each.index and each.path]
    progress.findings += _state_findings(spec, catalog)

    try:
        for index in indexes[indexes.index(progress.index) :]:
            if index != progress.index:
                progress.index, progress.path = index, ""
            for _ in _IndexVerifier(spec, catalog, index).steps(progress):
                bookmark.save_sometimes(progress)
                yield progress
        bookmark.is_needed = False
        yield progress
    finally:
        bookmark.close(progress)


def _state_findings(spec: Spec, catalog: Catalog) -> Iterator[Finding]:
    """Yield problems of the catalog itself and of the decision log."""
    try:
        catalog.check()
    except CatalogError as error:
        yield Finding("", spec.catalog.name, str(error))

    try:
        with catalog.read() as reader:
            log = decisionlog.read(spec.state)
            is_different = log.lines and log.decisions().holding() != reader.decisions()
            if is_different and not decisionlog.is_behind(log, reader):
                text = "decisions differ from the catalog; run `pyindex rebuild`"
                yield Finding("", decisionlog.NAME, text)
    except OSError as error:
        yield Finding("", decisionlog.NAME, f"cannot be read: {error.strerror}")
    else:
        for problem in log.problems:
            yield Finding("", decisionlog.NAME, problem)


class _IndexVerifier:
    """Compares the files and the published tree of one index with the catalog."""

    def __init__(self, spec: Spec, catalog: Catalog, index: str) -> None:
        self._catalog, self._index = catalog, index
        self._directory = PackagesDirectory(spec.indexes[index].packages)
        self._site, self._kept = Site(spec), KeptMetadata(spec.state)
        self._comparison = Comparison(spec, catalog, index)

    def steps(self, progress: Verification) -> Iterator[None]:
        """Add findings to ``progress``, beginning after its path; yield after each file, and during
        other steps."""
        missing = list(self._directory_findings())
        progress.findings += missing
        for file in () if missing else self._files(progress.path):
            progress.findings += self._file_findings(file)
            progress.path = file.path
            progress.files, progress.bytes = progress.files + 1, progress.bytes + file.size
            yield

        known = set(progress.findings)  # of the interrupted verification
        for finding in self._published_findings():
            if finding is not None and finding not in known:
                progress.findings.append(finding)
            yield

    def _directory_findings(self) -> Iterator[Finding]:
        """Yield a finding if the packages directory itself is missing."""
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
        return findings if is_current else []  # else it was just accepted again, or deleted

    def _content_findings(self, file: File) -> Iterator[Finding]:
        try:
            digest, status = self._read_digest(file.path)
        except (FileNotFoundError, NotADirectoryError):
            yield self._changed(file, "deleted")
        except OSError as error:
            yield Finding(self._index, file.path, f"cannot be read: {error.strerror}")
        else:
            if digest is None:
                yield self._changed(file, "no longer a regular file")
            elif digest != file.sha256:
                yield self._other_content(file, digest, status)

    def _read_digest(self, path: str) -> tuple[str | None, os.stat_result]:
        """Return the digest and the status of a file; ``None`` for no regular file."""
        descriptor = open_beneath(str(self._directory.root), path)
        with os.fdopen(descriptor, "rb") as content:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None, status
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            return digest, os.fstat(descriptor)

    def _other_content(self, file: File, digest: str, status: os.stat_result) -> Finding:
        """Return a finding for other content: damage, unless size or mtime changed, too."""
        if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
            return self._changed(file, "changed")
        text = f"content changed: expected sha256 {file.sha256}, got {digest}"
        return Finding(self._index, file.path, text)

    def _changed(self, file: File, change: str) -> Finding:
        text = f"{change} since it was accepted; the watcher will examine it"
        return Finding(self._index, file.path, text, is_damage=False)

    def _metadata_findings(self, file: File) -> Iterator[Finding]:
        """Yield a finding if the metadata differs from the digest on the page (PEP 658)."""
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
        """Read the metadata of a file; that of a quarantined project is stored elsewhere."""
        *first, last = metadata_paths(self._site, self._kept, self._index, path)
        for each in first:
            with contextlib.suppress(FileNotFoundError):
                return Path(each).read_bytes()
        return Path(last).read_bytes()

    # --- the published tree --------------------------------------------------------------------

    def _published_findings(self) -> Iterator[Finding | None]:
        """Yield missing and extra entries of the published tree; ``None`` between them."""
        for difference in self._comparison.lists():
            yield self._published_finding(difference)
        for batch in self._comparison.missing(whole=True):
            yield None
            for difference in batch:
                if not difference.path.endswith(METADATA):  # which was compared before
                    yield self._published_finding(difference)
        for difference in self._comparison.extra():
            yield self._published_finding(difference, "remove it")

    def _published_finding(self, difference: Difference, action: str = "rewrite it") -> Finding:
        text = f"{difference.problem}; run `pyindex rebuild` to {action}"
        return Finding(self._index, difference.path, text)


class _Bookmark:
    """Bookmark of an interrupted verification, in the file ``path``. If it cannot be saved, the
    next verification begins with the first file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved_at = time.monotonic()
        self.is_needed = True

    def read(self, indexes: list[str]) -> Verification | None:
        """Return the saved verification, or ``None`` if it is invalid or of other indexes."""
        try:
            data: dict[str, Any] = json.loads(self._path.read_bytes())
            findings = [Finding(**each) for each in data.pop("findings")]
            saved = Verification(**data, findings=findings)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        is_valid = saved.indexes == indexes and saved.index in indexes
        return saved if is_valid and isinstance(saved.path, str) else None

    def save_sometimes(self, progress: Verification) -> None:
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self._save(progress)
            self._saved_at = time.monotonic()

    def close(self, progress: Verification) -> None:
        """Remove the file, or save an interrupted verification."""
        if self.is_needed:
            self._save(progress)
            return
        with contextlib.suppress(OSError):
            unlink(self._path)

    def _save(self, progress: Verification) -> None:
        with contextlib.suppress(OSError), Batch() as batch:
            batch.write(self._path, json.dumps(asdict(progress)).encode())
