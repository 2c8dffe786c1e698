"""From the journal to what can be read: links, metadata files and pages under ``<state>/www``.

Publishing brings the site up to the catalog's serial. It can be repeated at any time: what it
writes is a function of the catalog alone, so that after a crash the next run repairs the last.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from appliance.errors import Refused
from appliance.index import examine, pages, store
from appliance.index.catalog import Catalog
from appliance.index.folder import Folder
from appliance.index.model import File, Project
from appliance.index.names import METADATA, SIGNATURE
from appliance.index.reader import Reader
from appliance.index.store import Batch, Site, page_time
from appliance.spec import Spec

log = logging.getLogger(__name__)

# Raise it when pages change their form, so that all are written again.
_FORM = 1
_PROJECTS_IN_BATCH = 250
_NEVER = -1


def resolve(reader: Reader, spec: Spec, index: str, name: str) -> Project | None:
    """The project that ``index`` shows under ``name``: the first of its lineage that has it.

    Never a merger of two: that one index answers for a name is what keeps a stranger's upload to
    a base from mixing with a team's own project (dependency confusion).
    """
    lineage = spec.lineage(index)
    serials = reader.last_serials(lineage, [name]) if len(lineage) > 1 else {}
    return _first((reader.project(each, name) for each in lineage), serials)


def _first(projects: Iterable[Project | None], serials: Mapping[str, int]) -> Project | None:
    """The first that is there, with the last of the ``serials`` that its name has had in the
    lineage: what readers see never runs backwards."""
    found = next((project for project in projects if project is not None), None)
    if found is None or found.name not in serials:
        return found
    return replace(found, serial=serials[found.name])


class Publisher:
    """Publishes all indexes of ``spec``; any number of processes may have one."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._spec, self._catalog = spec, catalog
        self._site = Site(spec)
        self._folders = {name: Folder(index.packages) for name, index in spec.indexes.items()}

    def publish(self, everything: bool = False) -> int:
        """Bring links and project pages up to the last serial, which is returned.

        With ``everything``, or when the tree is missing or was made for another spec, all of it
        is written again. Raises ``OSError`` if the state directory cannot be written.
        """
        with self._lock():
            everything = everything or not self._is_laid_out()
            with self._catalog.read() as reader:
                serial = reader.serial()
                since = 0 if everything else reader.mark("pages")
                changed = reader.changed_projects(since)
            if everything:
                self._lay_out()
            for start in range(0, len(changed), _PROJECTS_IN_BATCH):
                self._publish(changed[start : start + _PROJECTS_IN_BATCH])
            if everything:
                self._sweep()
                self._catalog.set_mark("lists", _NEVER)
                self._note_layout()
            else:
                self._withdraw(since)
            if everything or since < serial:
                self._catalog.set_mark("pages", serial)
        return serial

    def publish_lists(self) -> bool:
        """Write the project lists if they are behind. They cost the most, and may lag a second."""
        if not self._is_laid_out():
            self.publish()
        with self._catalog.read() as reader:
            serial = reader.mark("pages")
            if reader.mark("lists") == serial and all(
                (self._site.simple(index) / store.PAGES[-1]).exists()
                for index in self._spec.indexes
            ):
                return False
        with self._lock(), self._site.batch() as batch, self._catalog.read() as reader:
            for index in self._spec.indexes:
                content = pages.list_pages(self._visible(reader, index), serial)
                self._write(self._site.simple(index), content, serial, batch)
        self._catalog.set_mark("lists", serial)
        return True

    # --- a batch of projects -------------------------------------------------------------------

    def _publish(self, changed: list[tuple[str, str]]) -> None:
        own, shown = self._load(changed)
        with self._site.batch() as batch:
            for project in own:
                for file in project.files:
                    self._offer(project.index, file, batch)
            for (view, name), seen in shown.items():
                if seen is not None:
                    content = pages.project_pages(seen, self._packages(view, seen.index))
                    self._write(self._site.simple(view, name), content, seen.serial, batch)
        for (view, name), seen in shown.items():
            if seen is None:
                store.remove_page(self._site.simple(view, name))

    def _load(
        self, changed: list[tuple[str, str]]
    ) -> tuple[list[Project], dict[tuple[str, str], Project | None]]:
        """The changed projects that are there, and what each index shows under each name now."""
        names = sorted({name for _, name in changed})
        with self._catalog.read() as reader:
            known = {index: reader.named(index, names) for index in self._spec.indexes}
            serials = {
                view: reader.last_serials(self._spec.lineage(view), names)
                for view, index in self._spec.indexes.items()
                if index.bases
            }
        own = [known[index][name] for index, name in changed if name in known.get(index, ())]
        shown = {
            (view, name): _first(
                (known[index].get(name) for index in self._spec.lineage(view)),
                serials.get(view, {}),
            )
            for index, name in changed
            for view in self._spec.indexes
            if index in self._spec.lineage(view)
        }
        return own, shown

    def _offer(self, index: str, file: File, batch: Batch) -> None:
        """Link what may be fetched, and see that the metadata that the page promises is there."""
        target = f"{self._folders[index].root}/{file.path}"
        is_new = batch.link(target, self._site.link(index, file.path))
        if file.signature:
            batch.link(target + SIGNATURE, self._site.signature(index, file.path))
        elif not is_new:
            store.unlink(self._site.signature(index, file.path))
        place = self._site.metadata(index, file.path)
        if (file.core_metadata is not None) != os.path.lexists(place):
            store.unlink(place)
            self._restore_metadata(index, target, place, file, batch)

    def _restore_metadata(
        self, index: str, target: str, place: str, file: File, batch: Batch
    ) -> None:
        if file.core_metadata is None:
            return
        try:
            raw = examine.read_metadata(self._folders[index], self._site, index, file.path)
        except (OSError, Refused) as error:
            log.warning("%s: no metadata to publish: %s", target, error)
            return
        if raw is not None and hashlib.sha256(raw).hexdigest() == file.core_metadata:
            batch.write(place, raw)
        else:
            log.warning("%s: changed since it was taken in", target)

    def _write(self, directory: Path, content: dict[str, bytes], serial: int, batch: Batch) -> None:
        for page, text in content.items():
            batch.write(directory / page, text, page_time(serial))

    def _packages(self, view: str, index: str) -> str:
        """The URL of an index's files as a project page of ``view`` refers to it."""
        if view == index:
            return "../../packages/"
        return f"{self._spec.path}/{self._spec.prefix(index)}packages/"

    def _visible(self, reader: Reader, view: str) -> list[tuple[str, str, int]]:
        """Name, display name and serial of every project that ``view`` shows."""
        lineage = self._spec.lineage(view)
        if len(lineage) == 1:
            return list(reader.projects(view))
        found: dict[str, tuple[str, str, int]] = {}
        for index in lineage:
            for row in reader.projects(index):
                found.setdefault(row[0], row)
        serials = reader.last_serials(lineage)
        return sorted((name, display, serials[name]) for name, display, _ in found.values())

    # --- what is no longer there ---------------------------------------------------------------

    def _withdraw(self, since: int) -> None:
        """Take down the links of files that the journal says went after ``since``."""
        with self._catalog.read() as reader:
            gone = [
                (index, path)
                for index, path in reader.left(since)
                if index in self._folders and reader.file_at(index, path) is None
            ]
        for index, path in gone:
            self._take_down(index, path)

    def _take_down(self, index: str, path: str) -> None:
        store.unlink(self._site.link(index, path))
        store.unlink(self._site.metadata(index, path))
        store.unlink(self._site.signature(index, path))
        store.unlink(self._site.unpublished_metadata(index, path))
        directory, top = self._site.link(index, path).rpartition("/")[0], self._site.link(index, "")
        store.remove_empty(directory, top.rstrip("/"))

    def _sweep(self) -> None:
        """Take down everything that the catalog does not account for."""
        for index in self._spec.indexes:
            with self._catalog.read() as reader:
                names = {row[0] for row in self._visible(reader, index)}
                paths = set(reader.stats(index)) - {r.path for r in reader.refusals(index)}
            for directory in list(os.scandir(self._site.simple(index))):
                if directory.is_dir() and directory.name not in names:
                    shutil.rmtree(directory.path)
            root = self._site.link(index, "")
            for folder, _, files in os.walk(root):
                for file in files:
                    place = Path(folder, file)
                    path = place.relative_to(root).as_posix()
                    for suffix in (METADATA, SIGNATURE):
                        path = path.removesuffix(suffix)
                    if path not in paths:
                        store.unlink(place)

    # --- the tree ------------------------------------------------------------------------------

    def _layout(self) -> bytes:
        """What the whole tree depends on beside the catalog."""
        parts = [str(_FORM), str(self._spec.url)]
        for name, index in self._spec.indexes.items():
            parts += [name, str(self._folders[name].root), *index.bases]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest().encode()

    def _is_laid_out(self) -> bool:
        try:
            return (self._site.www / ".layout").read_bytes() == self._layout()
        except FileNotFoundError:
            return False

    def _lay_out(self) -> None:
        """Make the directories of the indexes, and remove those of indexes that are no more."""
        store.make_directory(self._site.www)
        known = {"simple", "packages", *self._spec.indexes}
        for entry in list(os.scandir(self._site.www)):
            if entry.is_dir(follow_symlinks=False) and entry.name not in known:
                shutil.rmtree(entry.path)
        for index in self._spec.indexes:
            for directory in (self._site.simple(index), Path(self._site.link(index, ""))):
                if directory.is_symlink():
                    directory.unlink()  # it was the first index, which is served under two names
                store.make_directory(directory)
        with self._site.batch() as batch:
            for name in ("simple", "packages"):
                alias = self._site.www / self._spec.root / name
                if alias.is_dir() and not alias.is_symlink():
                    shutil.rmtree(alias)
                batch.link(f"../{name}", str(alias))

    def _note_layout(self) -> None:
        with self._site.batch() as batch:
            batch.write(self._site.www / ".layout", self._layout())

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One publisher at a time, of all processes; the lock ends with its holder."""
        store.make_directory(self._spec.state)
        with (self._spec.state / "publish.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
