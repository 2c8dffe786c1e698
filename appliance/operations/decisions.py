"""What people decide about files and projects; each decision is logged and published when it
returns."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog, unwritable
from appliance.catalog.indexes import ready_index
from appliance.catalog.reader import Reader
from appliance.errors import NotFound, PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.scan import Scanner
from appliance.index.model import File, Project
from appliance.index.names import SIGNATURE, normalize
from appliance.operations.opening import open_catalog
from appliance.operations.trash import discard
from appliance.operations.update import Update
from appliance.spec import Spec
from appliance.text import has_controls

_ROOM = 64 * 1024


def yank(spec: Spec, index: str, what: str, reason: str | None) -> list[str]:
    """Yank the files that ``what`` names (see :func:`matching`), or undo it with ``None``.

    Returns the names of the files that changed; raises :class:`NotFound` if there are none, and
    :class:`PyindexError` for a reason that cannot be shown.
    """
    _check(reason)
    catalog = _open(spec)
    with catalog.change() as change:
        names = [file.filename for file in matching(change, spec, index, what)]
        changed = [name for name in names if change.yank(index, name, reason)]
    _publish(spec, catalog)
    return changed


def remove(spec: Spec, index: str, what: str) -> list[tuple[File, str]]:
    """Move the files that ``what`` names to the trash; returns them and their places there.

    Raises :class:`PyindexError` for one that cannot be moved: nothing of it is in the trash then,
    and files that were moved before it are gone from the index.
    """
    catalog = _open(spec)
    with catalog.read() as reader:
        files = matching(reader, spec, index, what)

    moved: list[tuple[File, str]] = []
    try:
        for file in files:
            moved.append((file, _move(spec, index, file)))
    except PyindexError as error:
        done = f"; already moved: {', '.join(file.path for file, _ in moved)}" if moved else ""
        raise PyindexError(f"{error}{done}") from None
    finally:
        if moved:
            _forget(spec, catalog, index, [file for file, _ in moved])
    return moved


def _move(spec: Spec, index: str, file: File) -> str:
    """Move a file to the trash, with its signature; returns its path there."""
    path = PackagesDirectory(spec.indexes[index].packages).locate(file.path)
    try:
        target = discard(path, spec.state / "trash")
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}; {_advice(path.parent)}") from None
    if file.signature:
        with contextlib.suppress(OSError):  # alone it is listed, and signs nothing
            discard(path.with_name(path.name + SIGNATURE), spec.state / "trash")
    return str(target)


def _advice(directory: Path) -> str:
    """Why a file cannot be taken out of ``directory``, and what to do."""
    why = unwritable(directory) or f"running as uid {os.geteuid()}"
    return (
        f"{why}; delete the file as a user with write permission, or hide it with `pyindex yank`"
    )


def _forget(spec: Spec, catalog: Catalog, index: str, files: list[File]) -> None:
    """Take moved files out of the index, and let in what only they kept out."""
    with catalog.change() as change:
        change.remove(index, [file.path for file in files])
        duplicates = change.free(index, {file.filename for file in files})
    scan = Scanner(spec, catalog, index).scan_paths(frozenset(duplicates))
    Update(spec, catalog).publish_steps(scan)
    _publish(spec, catalog)


def instead(spec: Spec, index: str, files: Iterable[File]) -> Iterator[str]:
    """Sentences on the files and projects that readers get instead of ``files``."""
    files = list(files)
    with Catalog(spec.catalog).read() as reader:
        for file in files:
            if copy := reader.file(index, file.filename):
                yield f"{file.filename}: now served from {copy.path}"
        for name in sorted({file.project for file in files}):
            shown = ready_index(reader, spec, index).project(name)
            if shown is not None and shown.index != index:
                yield (
                    f"{name}: no files remain in {index}, so its base {shown.index} answers; to"
                    f" keep the name, run `pyindex status-set --index {index} {name} archived`"
                )


def set_status(spec: Spec, index: str, project: str, status: str, reason: str | None) -> None:
    """Set a project's status (PEP 792); raises :class:`NotFound` for an unknown project, and
    :class:`PyindexError` for a reason that cannot be shown."""
    _check(reason)
    catalog = _open(spec)
    with catalog.change() as change:
        if not change.last_serials([index], [normalize(project)]):  # one that has gone is known
            _project(change, spec, index, project)
        change.set_status(index, normalize(project), status, reason or None)
    _publish(spec, catalog)


def matching(reader: Reader, spec: Spec, index: str, what: str) -> list[File]:
    """The files that ``what`` names: one by its file name, or a release by ``PROJECT==VERSION``."""
    name, exact, version = what.partition("==")
    if not exact:
        file = reader.file(index, what)
        if file is None:
            raise NotFound(f"index {index}: file {what!r} not found; a release is PROJECT==VERSION")
        return [file]
    project = _project(reader, spec, index, name.strip())
    files = project.release(version.strip())
    if not files:
        known = ", ".join(project.versions[-10:])
        has = f"newest releases: {known}" if known else "none of its files is accepted"
        raise NotFound(f"project {project.name}: release {version.strip()!r} not found; {has}")
    return files


def _project(reader: Reader, spec: Spec, index: str, name: str) -> Project:
    """The index's own project; :class:`NotFound` says which base has it, if one does."""
    project = reader.project(index, normalize(name))
    if project is None:
        base = ready_index(reader, spec, index).project(normalize(name))
        hint = f"; found in {base.index}, pass --index {base.index}" if base else ""
        raise NotFound(f"index {index}: project {name!r} not found{hint}")
    return project


def _check(reason: str | None) -> None:
    if has_controls(reason or ""):
        raise PyindexError(f"reason: expected one line without control characters, got {reason!r}")


def _open(spec: Spec) -> Catalog:
    """The catalog, to decide something in it. :class:`PyindexError` says why nothing can be
    decided: a decision that is committed must be logged and published, too."""
    try:
        with tempfile.TemporaryFile(dir=spec.state) as file:
            file.write(bytes(_ROOM))
    except FileNotFoundError:
        pass  # no catalog either, which is what is told
    except OSError as error:
        raise PyindexError(
            f"state directory {spec.state}: {error.strerror}, nothing was changed;"
            f" {unwritable(spec.state) or 'free some disk space'}"
        ) from None
    return open_catalog(spec)


def _publish(spec: Spec, catalog: Catalog) -> None:
    with catalog.read() as reader:
        decisionlog.follow(spec.state, reader)
    Update(spec, catalog).finish()
