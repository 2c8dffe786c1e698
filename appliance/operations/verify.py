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

from appliance import atomic
from appliance.atomic import Batch
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
    place = spec.state / "verify.json"
    catalog = Catalog(spec.catalog)
    so_far = None if restart else _saved(place, list(indexes))
    so_far = so_far or Verification(list(indexes), indexes[0])
    so_far.findings = [each for each in so_far.findings if each.index and each.path]
    so_far.findings += _of_the_state(spec, catalog)
    saved_at = time.monotonic()
    is_done = False
    try:
        for index in indexes[indexes.index(so_far.index) :]:
            if index != so_far.index:
                so_far.index, so_far.path = index, ""
            so_far.findings += (absent := list(_folder(spec, index)))
            for file in () if absent else _files(catalog, index, so_far.path):
                so_far.findings += _look(spec, catalog, index, file)
                so_far.path = file.path
                so_far.files, so_far.bytes = so_far.files + 1, so_far.bytes + file.size
                if time.monotonic() - saved_at > _SAVE_SECONDS:
                    _save(place, so_far)
                    saved_at = time.monotonic()
                yield so_far
            known = set(so_far.findings)  # of an earlier one, which was interrupted
            for finding in _published(spec, catalog, index):
                if finding is not None and finding not in known:
                    so_far.findings.append(finding)
                yield so_far
        is_done = True
        yield so_far
    finally:
        if is_done:
            with contextlib.suppress(OSError):  # it could not be saved either
                atomic.unlink(place)
        else:
            _save(place, so_far)


def _of_the_state(spec: Spec, catalog: Catalog) -> Iterator[Finding]:
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
                text = "other decisions than the catalog has; `pyindex rebuild` says which hold"
                yield Finding("", decisionlog.NAME, text)
    except OSError as error:
        yield Finding("", decisionlog.NAME, f"cannot be read: {error.strerror}")
    else:
        for problem in log.problems:
            yield Finding("", decisionlog.NAME, problem)


def _folder(spec: Spec, index: str) -> Iterator[Finding]:
    """That the packages directory itself is not there."""
    try:
        PackagesDirectory(spec.indexes[index].packages).identity()
    except DirectoryMissing as error:
        yield Finding(index, "", str(error))


def _files(catalog: Catalog, index: str, after: str) -> Iterator[File]:
    while True:
        with catalog.read() as reader:
            files = reader.files_after(index, after, _FILES)
        if not files:
            return
        yield from files
        after = files[-1].path


def _look(spec: Spec, catalog: Catalog, index: str, file: File) -> Iterator[Finding]:
    found = [*_bytes(spec, index, file), *_metadata(spec, index, file)]
    if not found:
        return
    with catalog.read() as reader:
        if reader.file_at(index, file.path) == file:  # not just taken in anew, or gone
            yield from found


def _bytes(spec: Spec, index: str, file: File) -> Iterator[Finding]:
    root = str(PackagesDirectory(spec.indexes[index].packages).root)
    try:
        descriptor = open_beneath(root, file.path)
        with os.fdopen(descriptor, "rb") as content:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                yield _changed(index, file, "is no regular file any more")
                return
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            status = os.fstat(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        yield _changed(index, file, "is gone")
    except OSError as error:
        yield Finding(index, file.path, f"cannot be read: {error.strerror}")
    else:
        if digest == file.sha256:
            return
        if (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns):
            text = f"its bytes changed: sha256 was {file.sha256}, is {digest}"
            yield Finding(index, file.path, text)
        else:
            yield _changed(index, file, "changed")


def _changed(index: str, file: File, what: str) -> Finding:
    text = f"{what} since it was accepted: the watcher will look at it"
    return Finding(index, file.path, text, is_damage=False)


def _metadata(spec: Spec, index: str, file: File) -> Iterator[Finding]:
    """What the page promises of the file's metadata (PEP 658)."""
    if file.core_metadata is None:
        return
    try:
        content = _read_metadata(spec, index, file.path)
    except OSError as error:
        problem = str(error.strerror)
    else:
        if hashlib.sha256(content).hexdigest() == file.core_metadata:
            return
        problem = "its bytes changed"
    text = f"published metadata: {problem}; `pyindex rebuild` writes it again"
    yield Finding(index, file.path, text)


def _published(spec: Spec, catalog: Catalog, index: str) -> Iterator[Finding | None]:
    """What readers of ``index`` lack, or see though it is not there; ``None`` now and then."""
    comparison = Comparison(spec, catalog, index)
    for each in comparison.lists():
        yield _unlike(index, each)
    for portion in comparison.lacking(whole=True):
        yield None
        for each in portion:
            if not each.path.endswith(METADATA):  # its bytes were compared
                yield _unlike(index, each)
    for each in comparison.superfluous():
        yield _unlike(index, each, "removes it")


def _unlike(index: str, difference: Difference, what: str = "writes it again") -> Finding:
    return Finding(index, difference.path, f"{difference.problem}; `pyindex rebuild` {what}")


# --- where to go on ----------------------------------------------------------------------------


def _save(place: Path, so_far: Verification) -> None:
    """Remember it, if it can be: without, the next one begins anew."""
    with contextlib.suppress(OSError), Batch() as batch:
        batch.write(place, json.dumps(asdict(so_far)).encode())


def _saved(place: Path, indexes: list[str]) -> Verification | None:
    """What was remembered, if it is of the same indexes and makes sense."""
    try:
        data: dict[str, Any] = json.loads(place.read_bytes())
        findings = [Finding(**each) for each in data.pop("findings")]
        found = Verification(**data, findings=findings)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    is_ours = found.indexes == indexes and found.index in indexes and isinstance(found.path, str)
    return found if is_ours else None


def _read_metadata(spec: Spec, index: str, path: str) -> bytes:
    """The metadata of a file; that of a quarantined project is kept apart."""
    try:
        return Path(Site(spec).metadata(index, path)).read_bytes()
    except FileNotFoundError:
        return Path(KeptMetadata(spec.state).path(index, path)).read_bytes()
