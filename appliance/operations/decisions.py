"""Decisions of operators about files and projects: yank, remove, set a status. Each is logged and
published when its function returns."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from appliance.atomic import is_full
from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog, unwritable
from appliance.catalog.indexes import ready_index
from appliance.catalog.reader import Reader
from appliance.catalog.writer import Writer
from appliance.errors import NotFound, PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.scan import Scanner
from appliance.index.model import Actor, File, Project
from appliance.index.names import normalize
from appliance.operations.actor import operator
from appliance.operations.opening import open_catalog
from appliance.operations.trash import discard
from appliance.operations.update import Update
from appliance.spec import Spec
from appliance.text import has_controls

_REQUIRED_BYTES = 64 * 1024


def yank(spec: Spec, index: str, name: str, reason: str | None) -> list[str]:
    """Yank files by their name or release (see :func:`matching`); ``None`` as reason undoes it.

    Returns the names of the files that changed. Raises :class:`NotFound` if there are none, and
    :class:`PyindexError` for a reason with control characters.
    """
    _check(reason)
    catalog = _open(spec)
    with catalog.change(operator()) as change:
        names = [file.filename for file in matching(change, spec, index, name)]
        changed = [each for each in names if change.yank(index, each, reason)]
    _publish(spec, catalog)
    return changed


def decide(spec: Spec, changes: Callable[[Writer], None]) -> None:
    """Make several decisions in one transaction, also about files that are not there yet."""
    catalog = _open(spec)
    with catalog.change(operator()) as change:
        changes(change)
    _publish(spec, catalog)


def remove(spec: Spec, index: str, name: str, by: Actor | None = None) -> list[tuple[File, str]]:
    """Move files to the trash by their name or release; return them with their paths there. The
    journal has ``by`` as who did it, or else the user of this process.

    Raises :class:`PyindexError` for a file that cannot be moved. It is not in the trash then; files
    that were moved before it are removed from the index.
    """
    catalog = _open(spec)
    with catalog.read() as reader:
        files = matching(reader, spec, index, name)
    return _remove(spec, catalog, index, files, by or operator())


def remove_files(
    spec: Spec, index: str, files: Sequence[File], by: Actor
) -> list[tuple[File, str]]:
    """As :func:`remove`, of these files."""
    return _remove(spec, _open(spec), index, files, by)


def _remove(
    spec: Spec, catalog: Catalog, index: str, files: Sequence[File], by: Actor
) -> list[tuple[File, str]]:
    moved: list[tuple[File, str]] = []
    try:
        for file in files:
            moved.append((file, _move(spec, catalog, index, file, by)))
    except PyindexError as error:
        done = f"; already moved: {', '.join(file.path for file, _ in moved)}" if moved else ""
        raise PyindexError(f"{error}{done}") from None
    finally:
        if moved:
            _accept_duplicates(spec, catalog, index, {file.filename for file, _ in moved})
    return moved


def _move(spec: Spec, catalog: Catalog, index: str, file: File, by: Actor) -> str:
    """Move a file and its companions to the trash, and remove it from the index; return the path of
    the file there."""
    path = PackagesDirectory(spec.indexes[index].packages).locate(file.path)

    def within(move: Callable[[], None]) -> None:
        # The watcher, which sees the file disappear, waits for this transaction.
        with catalog.change(by) as change:
            move()
            change.remove(index, [file.path])

    try:
        target = discard(path, spec.trash, within)
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}; {_advice(path.parent)}") from None
    for ending in file.companions:
        with contextlib.suppress(OSError):  # a signature is rejected as one without its file
            beside = target.with_name(target.name + ending)
            discard(path.with_name(path.name + ending), spec.trash, target=beside)
    return str(target)


def _advice(directory: Path) -> str:
    """Return why files in ``directory`` cannot be moved, and what to do."""
    problem = unwritable(directory) or f"running as uid {os.geteuid()}"
    return (
        f"{problem}; delete the file as a user with write permission,"
        " or hide it with `pyindex yank`"
    )


def _accept_duplicates(spec: Spec, catalog: Catalog, index: str, filenames: set[str]) -> None:
    """Accept duplicates that were rejected for removed files, and publish the removal."""
    with catalog.change() as change:
        duplicates = change.release_duplicates(index, filenames)
    scan = Scanner(spec, catalog, index).scan_paths(frozenset(duplicates))
    Update(spec, catalog).publish_steps(scan)
    _publish(spec, catalog)


def answers_after_removal(spec: Spec, index: str, files: Iterable[File]) -> Iterator[str]:
    """Yield messages about the files and projects that clients get after a removal of ``files``."""
    files = list(files)
    with Catalog(spec.catalog).read() as reader:
        for file in files:
            if copy := reader.file(index, file.filename):
                yield f"{file.filename}: now served from {copy.path}"
        for name in sorted({file.project for file in files}):
            answer = ready_index(reader, spec, index).project(name)
            if answer is not None and answer.index != index:
                yield (
                    f"{name}: no files remain in {index}, so its base {answer.index} answers; to"
                    f" keep the name, run `pyindex status-set --index {index} {name} archived`"
                )


def set_status(spec: Spec, index: str, project: str, status: str, reason: str | None) -> None:
    """Set a project's status (PEP 792). Raises :class:`NotFound` for an unknown project, and
    :class:`PyindexError` for a reason with control characters."""
    _check(reason)
    catalog = _open(spec)
    with catalog.change(operator()) as change:
        if not change.last_serials([index], [normalize(project)]):  # also of a deleted one
            _project(change, spec, index, project)
        change.set_status(index, normalize(project), status, reason or None)
    _publish(spec, catalog)


def matching(reader: Reader, spec: Spec, index: str, name: str) -> list[File]:
    """Return files by name: one by its file name, or those of a release by ``PROJECT==VERSION``.

    Raises :class:`NotFound`.
    """
    project_name, exact, version = name.partition("==")
    if not exact:
        file = reader.file(index, name)
        if file is None:
            raise NotFound(f"index {index}: file {name!r} not found; a release is PROJECT==VERSION")
        return [file]

    project = _project(reader, spec, index, project_name.strip())
    files = project.release(version.strip())
    if not files:
        known = ", ".join(project.versions[-10:])
        hint = f"newest releases: {known}" if known else "none of its files is accepted"
        raise NotFound(f"project {project.name}: release {version.strip()!r} not found; {hint}")
    return files


def _project(reader: Reader, spec: Spec, index: str, name: str) -> Project:
    """Return a project of the index. Raises :class:`NotFound`, which names a base that has it."""
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
    """Open the catalog for a decision. Raises :class:`PyindexError` if the state directory is not
    writable: a decision that is committed must be logged and published, too."""
    try:
        with tempfile.TemporaryFile(dir=spec.state) as file:
            file.write(bytes(_REQUIRED_BYTES))
    except FileNotFoundError:
        pass  # no catalog either, which open_catalog reports
    except OSError as error:
        more = "free some disk space" if is_full(error) else unwritable(spec.state)
        raise PyindexError(
            f"state directory {spec.state}: {error.strerror}, nothing was changed"
            + (f"; {more}" if more else "")
        ) from None
    return open_catalog(spec)


def _publish(spec: Spec, catalog: Catalog) -> None:
    with catalog.read() as reader:
        decisionlog.append_new(spec.state, reader)
    Update(spec, catalog).finish()
