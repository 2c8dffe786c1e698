"""What people decide about files and projects; each decision is published when it returns."""

from appliance.errors import NotFound
from appliance.index.catalog import Catalog
from appliance.index.folder import Folder
from appliance.index.model import File
from appliance.index.names import SIGNATURE, normalize
from appliance.index.publish import Publisher
from appliance.index.reader import Reader
from appliance.index.scan import Scanner
from appliance.index.store import discard
from appliance.spec import Spec


def yank(spec: Spec, index: str, what: str, reason: str | None) -> list[str]:
    """Yank the files that ``what`` names (see :func:`matching`), or undo it with ``None``.

    Returns the names of the files that changed; raises :class:`NotFound` if there are none.
    """
    catalog = Catalog(spec.catalog)
    with catalog.change() as change:
        names = [file.filename for file in matching(change, index, what)]
        changed = [name for name in names if change.yank(index, name, reason)]
    _publish(spec, catalog)
    return changed


def remove(spec: Spec, index: str, what: str) -> list[tuple[str, str]]:
    """Move the files that ``what`` names to the trash; returns their names and places there."""
    catalog = Catalog(spec.catalog)
    folder = Folder(spec.indexes[index].packages)
    with catalog.read() as reader:
        files = matching(reader, index, what)
    moved = []
    for file in files:
        place = folder.locate(file.path)
        moved.append((file.filename, str(discard(place, spec.state / "trash"))))
        if file.signature:
            discard(place.with_name(place.name + SIGNATURE), spec.state / "trash")
    with catalog.change() as change:
        change.remove(index, [file.path for file in files])
        duplicates = change.free(index, {file.filename for file in files})
    for _ in Scanner(spec, catalog, index).look(frozenset(duplicates)):
        pass  # it is published below
    _publish(spec, catalog)
    return moved


def set_status(spec: Spec, index: str, project: str, status: str, reason: str | None) -> None:
    """Set a project's status (PEP 792); raises :class:`NotFound` for an unknown project."""
    catalog = Catalog(spec.catalog)
    with catalog.change() as change:
        if change.project(index, normalize(project)) is None:
            raise NotFound(f"index {index} has no project {project!r}")
        change.set_status(index, normalize(project), status, reason or None)
    _publish(spec, catalog)


def matching(reader: Reader, index: str, what: str) -> list[File]:
    """The files that ``what`` names: one by its file name, or a release by ``PROJECT==VERSION``."""
    name, exact, version = what.partition("==")
    if not exact:
        file = reader.file(index, what)
        if file is None:
            raise NotFound(f"index {index} has no file {what!r}; a release is PROJECT==VERSION")
        return [file]
    project = reader.project(index, normalize(name.strip()))
    if project is None:
        raise NotFound(f"index {index} has no project {name.strip()!r}")
    files = project.release(version.strip())
    if not files:
        known = ", ".join(project.versions[-10:])
        raise NotFound(
            f"project {project.name} has no release {version.strip()!r}; its newest are {known}"
        )
    return files


def _publish(spec: Spec, catalog: Catalog) -> None:
    publisher = Publisher(spec, catalog)
    publisher.publish()
    publisher.publish_lists()
