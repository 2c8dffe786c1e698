"""What people decide about files and projects; each decision is published when it returns."""

from collections.abc import Iterable, Iterator

from appliance.errors import NotFound, PyindexError
from appliance.index.catalog import Catalog
from appliance.index.folder import UNSAFE, Folder
from appliance.index.model import File, Project
from appliance.index.names import SIGNATURE, normalize
from appliance.index.publish import Publisher, resolve
from appliance.index.reader import Reader
from appliance.index.scan import Scanner
from appliance.index.store import discard
from appliance.spec import Spec


def yank(spec: Spec, index: str, what: str, reason: str | None) -> list[str]:
    """Yank the files that ``what`` names (see :func:`matching`), or undo it with ``None``.

    Returns the names of the files that changed; raises :class:`NotFound` if there are none, and
    :class:`PyindexError` for a reason that cannot be shown.
    """
    _check(reason)
    catalog = Catalog(spec.catalog)
    with catalog.change() as change:
        names = [file.filename for file in matching(change, spec, index, what)]
        changed = [name for name in names if change.yank(index, name, reason)]
    _publish(spec, catalog)
    return changed


def remove(spec: Spec, index: str, what: str) -> list[tuple[File, str]]:
    """Move the files that ``what`` names to the trash; returns them and their places there."""
    catalog = Catalog(spec.catalog)
    folder = Folder(spec.indexes[index].packages)
    with catalog.read() as reader:
        files = matching(reader, spec, index, what)
    moved = []
    for file in files:
        place = folder.locate(file.path)
        moved.append((file, str(discard(place, spec.state / "trash"))))
        if file.signature:
            discard(place.with_name(place.name + SIGNATURE), spec.state / "trash")
    with catalog.change() as change:
        change.remove(index, [file.path for file in files])
        duplicates = change.free(index, {file.filename for file in files})
    for _ in Scanner(spec, catalog, index).look(frozenset(duplicates)):
        pass  # it is published below
    _publish(spec, catalog)
    return moved


def instead(spec: Spec, index: str, files: Iterable[File]) -> Iterator[str]:
    """What readers of ``index`` get in the place of removed ``files``, a sentence each."""
    files = list(files)
    with Catalog(spec.catalog).read() as reader:
        for file in files:
            if copy := reader.file(index, file.filename):
                yield f"{file.filename}: the copy at {copy.path} is served now"
        for name in sorted({file.project for file in files}):
            shown = resolve(reader, spec, index, name)
            if shown is not None and shown.index != index:
                yield (
                    f"{name}: {index} has no file of it any more, so {shown.index} answers for it;"
                    f" `pyindex status-set --index {index} {name} archived` keeps the name"
                )


def set_status(spec: Spec, index: str, project: str, status: str, reason: str | None) -> None:
    """Set a project's status (PEP 792); raises :class:`NotFound` for an unknown project, and
    :class:`PyindexError` for a reason that cannot be shown."""
    _check(reason)
    catalog = Catalog(spec.catalog)
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
            raise NotFound(f"index {index} has no file {what!r}; a release is PROJECT==VERSION")
        return [file]
    project = _project(reader, spec, index, name.strip())
    files = project.release(version.strip())
    if not files:
        known = ", ".join(project.versions[-10:])
        raise NotFound(
            f"project {project.name} has no release {version.strip()!r}; its newest are {known}"
        )
    return files


def _project(reader: Reader, spec: Spec, index: str, name: str) -> Project:
    """The index's own project; :class:`NotFound` says which base has it, if one does."""
    project = reader.project(index, normalize(name))
    if project is None:
        base = resolve(reader, spec, index, normalize(name))
        hint = f"; it is in {base.index}: --index {base.index}" if base else ""
        raise NotFound(f"index {index} has no project {name!r}{hint}")
    return project


def _check(reason: str | None) -> None:
    if UNSAFE.search(reason or ""):
        raise PyindexError(f"reason: wanted one line without control characters, got {reason!r}")


def _publish(spec: Spec, catalog: Catalog) -> None:
    publisher = Publisher(spec, catalog)
    publisher.publish()
    publisher.publish_lists()
