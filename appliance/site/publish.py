"""Publication of the catalog: markers, metadata files and pages below ``<state>/www``.

Publishing updates the tree to the catalog's serial. It can be repeated at any time: pages and
markers are a function of the catalog and the spec, so that after a crash the next run completes the
last.
"""

import contextlib
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import IO

from appliance.atomic import make_directory
from appliance.catalog.database import Catalog
from appliance.catalog.indexes import open_index
from appliance.catalog.reader import Reader
from appliance.catalog.readiness import unscanned
from appliance.catalog.writer import SWEEP, TOGETHER
from appliance.errors import PyindexError
from appliance.locks import try_lock
from appliance.site.files import FilePublisher
from appliance.site.layout import delete_layout, is_laid_out, record_layout
from appliance.site.lists import ProjectList
from appliance.site.projects import ProjectPublisher, page_names, write_pages
from appliance.site.tree import PAGES, STAND_IN_PAGES, Site
from appliance.site.views import View
from appliance.spec import Spec

log = logging.getLogger(__name__)

_PROJECTS_IN_BATCH = 250
_NEVER = -1
_WARN_SECONDS = 2.0
_GIVE_UP_SECONDS = 60.0
_POLL_SECONDS = 0.02


class Publisher:
    """Publisher of all indexes of ``spec``; any number of processes may have one.

    One process writes at a time, and reads the catalog under the lock: no page is ever replaced by
    an older one. The four forms of a page are replaced one after the other: a client may get one
    form of the next serial and another of the last, each complete and with its own serial, for
    the time of four renames, or, after a kill between them, until the next publication.
    """

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._spec, self._catalog = spec, catalog
        self._site = Site(spec)
        self._views = {name: View(spec, self._site, name) for name in spec.indexes}
        self._lists = {name: ProjectList(spec, name) for name in spec.indexes}
        self._files = FilePublisher(spec, self._site)
        self._projects = ProjectPublisher(spec, self._site, self._files)

    def publish(self, everything: bool = False, lists: bool = False) -> int:
        """Update markers and project pages to the last serial, which is returned; with ``lists``
        project lists, too. They cost the most, and may lag by a second.

        With ``everything``, or when the tree is missing or was made for another spec, all of it
        is rewritten. Without changes it costs two queries. Raises ``OSError`` if the state
        directory cannot be written; :class:`PyindexError` if pyindex did not create it, if
        another process publishes for too long, and, after all others are published, for projects
        that cannot be.
        """
        serial = None if everything else self._published(lists)
        if serial is None:
            with self._lock():
                serial = self._update(everything)
                if lists:
                    serial = self._update_lists(serial)
            self._projects.raise_failures()
        return serial

    def repair(self, missing: Collection[tuple[str, str]]) -> None:
        """Rewrite pages and markers of projects, given as index and name."""
        self.publish()
        with self._lock(), self._catalog.read() as reader:
            self._locate(reader.marks())
            if self._are_all_located():
                self._projects.publish(reader, sorted(missing), None)
        self._projects.raise_failures()

    def _published(self, lists: bool) -> int | None:
        """Return the last serial if everything is published up to it, ``lists`` included."""
        if not is_laid_out(self._spec):
            return None

        with self._catalog.read() as reader:
            serial, marks = reader.serial(), reader.marks()
            waiting = self._locate(marks)
            ready = any(not unscanned(reader, self._spec, name) for name in waiting)
            ready = ready or self._is_to_sweep(reader, marks)

        is_up_to_date = marks.get("pages", 0) == serial and not ready
        is_up_to_date = is_up_to_date and not (lists and self._outdated_lists(marks))
        return serial if is_up_to_date and self._are_all_located() else None

    def _locate(self, marks: Mapping[str, int]) -> list[str]:
        """Set the directory of the pages of each view; returns the views not visible yet."""
        numbers = {name: marks.get(view.mark, 0) for name, view in self._views.items()}
        directories = {name: view.directory(numbers[name]) for name, view in self._views.items()}
        self._projects.directories = {name: d for name, d in directories.items() if d is not None}
        return [name for name, view in self._views.items() if not view.is_live(numbers[name])]

    def _are_all_located(self) -> bool:
        return self._projects.directories.keys() == self._views.keys()

    # --- one process at a time, in steps --------------------------------------------------------

    def _update(self, everything: bool) -> int:
        """Publish under the lock; returns the serial."""
        self._site.claim()
        with self._catalog.read() as reader:
            marks = reader.marks()
            waiting = self._locate(marks)
            # Read before the serial: all changes of a finished scan have one by now.
            ready = [name for name in waiting if not unscanned(reader, self._spec, name)]
            # Views that are about to appear are new and sweep on their own.
            everything = everything or (not waiting and self._is_to_sweep(reader, marks))

        new = self._views.keys() - self._projects.directories.keys()
        everything = everything or bool(new) or not is_laid_out(self._spec)
        if everything:
            self._lay_out(new)

        serial = self._write_everything() if everything else self._write_changes()
        if everything:
            self._catalog.set_mark("lists", _NEVER)
            record_layout(self._site, self._spec)
        if ready:
            serial = self._show(ready)

        if (everything or ready) and self._settled() == self._spec.indexes.keys():
            self._site.sync_removals()
            self._catalog.clear_mark(SWEEP, marks.get(SWEEP, 0))
        return serial

    def _write_changes(self) -> int:
        """Publish changes since the last publication; returns the serial."""
        with self._catalog.read() as reader:
            serial, marks = reader.serial(), reader.marks()
            since = marks.get("pages", 0)
            copied = self._copy_views() if since < marks.get(TOGETHER, 0) else []
            changed, touched = reader.changed_projects(since), reader.touched(since)
            for portion in _portions(changed):
                self._projects.publish(reader, portion, touched)
            self._replace_views(reader, copied)
            self._files.withdraw(reader, since)

        if since < serial:
            self._projects.record_failures(changed, everything=False)
            self._record("pages", serial)
        return serial

    def _copy_views(self) -> list[str]:
        """Let pages be written to copies of the visible directories; returns their views."""
        visible = [
            name for name, d in self._projects.directories.items() if d == self._site.simple(name)
        ]
        for name in visible:
            self._projects.directories[name] = self._views[name].copy()
        return visible

    def _replace_views(self, reader: Reader, copied: list[str]) -> None:
        """Replace the visible pages of each view by its copy, with a project list, in one step."""
        if not copied:
            return
        serial = reader.serial()
        with self._site.batch() as batch:
            for name in copied:
                content = self._list_pages(reader, name, serial)
                write_pages(self._projects.directories[name], content, serial, batch)
        for name in copied:
            self._views[name].show()
            self._projects.directories[name] = self._site.simple(name)

    def _write_everything(self) -> int:
        """Publish every project and remove all other pages and files; returns the serial."""
        with self._catalog.read() as reader:
            serial, changed = reader.serial(), reader.changed_projects(0)

        # One read transaction per portion: a long one keeps SQLite's write-ahead log growing.
        for portion in _portions(changed):
            with self._catalog.read() as reader:
                self._projects.publish(reader, portion, None)
        self._sweep_pages()
        self._sweep_files(self._settled(), serial)

        self._projects.record_failures(changed, everything=True)
        self._record("pages", serial)
        return serial

    def _record(self, what: str, serial: int) -> None:
        """Record up to which serial pages or lists are published: those after it are published
        again, so that no loss of power does harm."""
        self._site.sync_removals()
        self._catalog.set_mark(what, serial, durable=False)

    def _show(self, names: list[str]) -> int:
        """Make views visible that are complete: pages and lists; returns the serial."""
        serial = self._write_lists(names)
        unsettled = set(self._spec.indexes) - self._settled()
        for name in names:
            self._views[name].show()
            self._projects.directories[name] = self._site.simple(name)
        self._sweep_files(unsettled & self._settled(), serial)
        return serial

    def _outdated_lists(self, marks: Mapping[str, int]) -> list[str]:
        """Return the visible views, if their project lists are outdated."""
        live = [name for name, view in self._views.items() if view.is_live(marks.get(view.mark, 0))]
        lists = [self._site.simple(name) / page for name in live for page in PAGES]
        if marks.get("lists") == marks.get("pages", 0) and all(each.exists() for each in lists):
            return []
        return live

    def _update_lists(self, published: int) -> int:
        """Write the project lists if they are outdated; returns the serial of the pages, which are
        ``published`` up to a serial."""
        with self._catalog.read() as reader:
            outdated = self._outdated_lists(reader.marks())
        if outdated:
            published = self._write_lists(outdated, published)
            self._record("lists", published)
        return published

    def _write_lists(self, names: list[str], published: int = _NEVER) -> int:
        """Write the project lists of these views; returns their serial. No page is older than its
        serial in the list."""
        with self._catalog.read() as reader:
            serial = reader.serial()
            content = {name: self._list_pages(reader, name, serial) for name in names}

        if serial != published:
            self._write_changes()
            with self._catalog.read() as reader:
                if reader.mark(TOGETHER) > serial:  # the visible list has later projects already
                    return self._write_lists(names)
        with self._site.batch() as batch:
            for name in names:
                directory = self._projects.directories[name]
                write_pages(directory, content.pop(name), serial, batch)
        return serial

    def _list_pages(self, reader: Reader, name: str, serial: int) -> dict[str, bytes]:
        """Return the files of the project list of a view."""
        projects = self._lists[name]
        projects.read(reader, reader.mark(self._views[name].mark))
        return projects.render(serial)

    # --- removal -------------------------------------------------------------------------------

    def _settled(self) -> set[str]:
        """Return the indexes whose files are on no page of another catalog."""
        others = {
            index
            for name, view in self._views.items()
            if self._projects.directories[name] != self._site.simple(name)
            for index in view.shown()
        }
        return set(self._spec.indexes) - others

    def _is_to_sweep(self, reader: Reader, marks: Mapping[str, int]) -> bool:
        """Return whether the tree may contain files of another catalog, and all packages
        directories were scanned since: an incomplete catalog would remove too much."""
        return bool(marks.get(SWEEP)) and not any(
            unscanned(reader, self._spec, index) for index in self._spec.indexes
        )

    def _sweep_pages(self) -> None:
        """Remove the pages of projects that the catalog does not have, and those in a form that the
        spec no longer asks for."""
        for view, directory in self._projects.directories.items():
            others = set(STAND_IN_PAGES).difference(page_names(self._spec, view))
            with self._catalog.read() as reader:
                known = {row.name for row in open_index(reader, self._spec, view).projects()}
            for entry in list(os.scandir(directory)):
                if not entry.is_dir(follow_symlinks=False):
                    continue
                if entry.name not in known:
                    self._site.remove_tree(entry.path)
                for page in others:
                    self._site.remove(f"{entry.path}/{page}")

    def _sweep_files(self, indexes: Iterable[str], serial: int) -> None:
        for index in indexes:
            with self._catalog.read() as reader:
                self._files.sweep(reader, index, serial)

    # --- the tree ------------------------------------------------------------------------------

    def _lay_out(self, new: Iterable[str]) -> None:
        """Prepare the tree for being rewritten, with empty directories for the views ``new``, and
        remove the pages of indexes that are no longer in the spec."""
        delete_layout(self._spec)
        self._site.remove_others()
        for name in new:
            view = self._views[name]
            view.withdraw()
            self._catalog.set_mark(view.mark, view.stage())
            self._projects.directories[name] = self._site.staged(name)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock of all publishing processes, which ends with the process."""
        self._site.check()
        make_directory(self._spec.state)
        with (self._spec.state / "publish.lock").open("a+") as file:
            self._wait(file)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _wait(self, file: IO[str]) -> None:
        """Wait for the lock on ``file``, with a warning after a while and an error in the end."""
        start, is_logged = time.monotonic(), False
        while not try_lock(file):
            waited = time.monotonic() - start
            if waited > _GIVE_UP_SECONDS:
                raise self._timeout(file)
            if waited > _WARN_SECONDS and not is_logged:
                log.warning("waiting for process %s, which is publishing", _holder(file))
                is_logged = True
            time.sleep(min(_POLL_SECONDS, 0.001 + waited / 4))  # most publications are short

    def _timeout(self, file: IO[str]) -> PyindexError:
        with self._catalog.read() as reader:
            serial = reader.serial()
        return PyindexError(
            f"{file.name}: process {_holder(file)} has been publishing for more than"
            f" {_GIVE_UP_SECONDS:.0f} seconds; changes up to serial {serial} are recorded and will"
            " be published later; if the process hangs, kill it"
        )


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return file.read(20) or "?"


def _portions(changed: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(changed), _PROJECTS_IN_BATCH):
        yield changed[start : start + _PROJECTS_IN_BATCH]
