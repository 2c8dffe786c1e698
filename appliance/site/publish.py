"""From the journal to what can be read: markers, metadata files and pages under ``<state>/www``.

Publishing brings the site up to the catalog's serial. It can be repeated at any time: what it
writes is a function of the catalog alone, so that after a crash the next run repairs the last.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from appliance import atomic
from appliance.atomic import Batch
from appliance.catalog.database import Catalog
from appliance.catalog.reader import Reader
from appliance.catalog.readiness import unscanned
from appliance.catalog.writer import SWEEP
from appliance.errors import PyindexError, Refused
from appliance.incoming import examine
from appliance.incoming.directory import Folder
from appliance.index.model import File, Project
from appliance.index.names import METADATA, SIGNATURE
from appliance.site import pages, tree
from appliance.site.tree import Site, page_time
from appliance.site.views import View
from appliance.spec import Spec

log = logging.getLogger(__name__)

# Raise it when the tree changes its form, so that all of it is written again.
_FORM = 2
_PROJECTS_IN_BATCH = 250
_NEVER = -1
_WARN_SECONDS = 2.0
_GIVE_UP_SECONDS = 60.0
_POLL_SECONDS = 0.02
_OF_A_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EILSEQ)

Row = tuple[str, str, int]  # of a project list: name, display name, serial
Touched = tuple[dict[tuple[str, str], str], set[tuple[str, str]]]


class Unscanned(PyindexError):
    """What an index has is not known yet: whoever asks is to ask again."""

    retry_seconds = 5


def resolve(reader: Reader, spec: Spec, index: str, name: str) -> Project | None:
    """The project that ``index`` shows under ``name``: the first of its lineage that has it.

    Never a merger of two: that one index answers for a name is what keeps a stranger's upload to
    a base from mixing with a team's own project (dependency confusion). Raises :class:`Unscanned`
    while one of the lineage may have more than is known of it.
    """
    lineage = spec.lineage(index)
    if missing := unscanned(reader, spec, index):
        raise Unscanned(f"index {missing[0]} is being scanned for the first time; retry")
    serials = reader.last_serials(lineage, [name]) if len(lineage) > 1 else {}
    return _first((reader.project(each, name) for each in lineage), serials)


def _first(projects: Iterable[Project | None], serials: Mapping[str, int]) -> Project | None:
    """The first that is there, with the last of the ``serials`` that its name has had in the
    lineage: what readers see never runs backwards."""
    found = next((project for project in projects if project is not None), None)
    if found is None or found.name not in serials:
        return found
    return replace(found, serial=serials[found.name])


def shown(reader: Reader, spec: Spec, view: str, names: Sequence[str]) -> dict[str, Project | None]:
    """As :func:`resolve`, for each of ``names``, by what is known now."""
    lineage = spec.lineage(view)
    known = [reader.named(index, names) for index in lineage]
    serials = reader.last_serials(lineage, names) if len(lineage) > 1 else {}
    return {name: _first((each.get(name) for each in known), serials) for name in names}


def visible(reader: Reader, spec: Spec, view: str) -> list[Row]:
    """Name, display name and serial of every project that ``view`` shows."""
    lineage = spec.lineage(view)
    if len(lineage) == 1:
        return list(reader.projects(view))
    found: dict[str, Row] = {}
    for index in lineage:
        for row in reader.projects(index):
            found.setdefault(row[0], row)
    serials = reader.last_serials(lineage)
    return sorted((name, display, serials[name]) for name, display, _ in found.values())


def packages_url(spec: Spec, view: str, index: str) -> str:
    """The URL of an index's files as a project page of ``view`` refers to it."""
    if view == index:
        return "../../packages/"
    return f"{spec.path}/{spec.prefix(index)}packages/"


def is_laid_out(spec: Spec) -> bool:
    """Whether ``www`` was made for this spec, and in full once."""
    try:
        return (spec.www / ".layout").read_bytes() == _layout(spec)
    except FileNotFoundError:
        return False


def _layout(spec: Spec) -> bytes:
    """What the whole tree depends on beside the catalog."""
    has_bases = any(index.bases for index in spec.indexes.values())
    parts = [str(_FORM), spec.path if has_bases else ""]  # see packages_url
    for name, index in spec.indexes.items():
        parts += [name, str(index.packages.resolve()), *index.bases]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest().encode()


def described(spec: Spec) -> dict[str, str]:
    """The same in words, by what each part is."""
    has_bases = any(index.bases for index in spec.indexes.values())
    parts = {"form of pages": str(_FORM), "order of indexes": ", ".join(spec.indexes)}
    if has_bases:
        parts["path of the url"] = spec.path or "/"
    for name, index in spec.indexes.items():
        parts[f"packages directory of {name}"] = str(index.packages)
        parts[f"bases of {name}"] = ", ".join(index.bases) or "none"
    return parts


def unpublished(spec: Spec) -> dict[str, str]:
    """Why projects, as ``INDEX/NAME``, keep the pages that they had: they cannot be rendered."""
    try:
        found: dict[str, str] = json.loads((spec.www / ".unpublished").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found


class Publisher:
    """Publishes all indexes of ``spec``; any number of processes may have one.

    One of them writes at a time, and reads under the lock what it writes: no page is ever replaced
    by an older one. The four forms of a page are replaced one after the other: a reader may find
    one form of the next serial and another of the last, each whole and with its own serial, for
    as long as four renames take, or, when the process was killed between them, until the next
    publication writes all four again.
    """

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._spec, self._catalog = spec, catalog
        self._site = Site(spec)
        self._folders = {name: Folder(index.packages) for name, index in spec.indexes.items()}
        self._views = {name: View(spec, self._site, name) for name in spec.indexes}
        self._directories: dict[str, Path] = {}
        self._failed: dict[str, str] = {}

    def publish(self, everything: bool = False) -> int:
        """Bring markers and project pages up to the last serial, which is returned.

        With ``everything``, or when the tree is missing or was made for another spec, all of it
        is written again. Where there is nothing to do it costs one look into the catalog. Raises
        ``OSError`` if the state directory cannot be written; :class:`PyindexError` if it is not
        ours, if another process publishes for too long, and, when all else is published, for
        projects that cannot be.
        """
        serial = None if everything else self._published()
        if serial is None:
            with self._lock():
                serial = self._bring_up(everything)
            self._raise_failures()
        return serial

    def publish_lists(self) -> bool:
        """Write the project lists if they are behind. They cost the most, and may lag a second."""
        self.publish()
        with self._catalog.read() as reader:
            marks = reader.marks()
        live = [name for name, view in self._views.items() if view.is_live(marks.get(view.mark, 0))]
        if marks.get("lists") == marks.get("pages", 0) and all(
            (self._site.simple(name) / page).exists() for name in live for page in tree.PAGES
        ):
            return False
        with self._lock():
            self._catalog.set_mark("lists", self._write_lists(live))
        self._raise_failures()
        return True

    def mend(self, lacking: Collection[tuple[str, str]]) -> None:
        """Write pages and markers of projects, given as index and name, once more."""
        self.publish()
        with self._lock(), self._catalog.read() as reader:
            self._locate(reader.marks())
            if len(self._directories) == len(self._views):
                self._publish(reader, sorted(lacking), None)
        self._raise_failures()

    def _published(self) -> int | None:
        """The last serial, if everything is published up to it."""
        if not is_laid_out(self._spec):
            return None
        with self._catalog.read() as reader:
            serial, marks = reader.serial(), reader.marks()
            waiting = self._locate(marks)
            ready = any(not unscanned(reader, self._spec, name) for name in waiting)
            ready = ready or self._is_to_sweep(reader)
        is_here = len(self._directories) == len(self._views)
        return serial if is_here and not ready and marks.get("pages", 0) == serial else None

    def _locate(self, marks: Mapping[str, int]) -> list[str]:
        """Find out where the pages of each view are; returns those that no reader sees yet."""
        numbers = {name: marks.get(view.mark, 0) for name, view in self._views.items()}
        places = {name: view.directory(numbers[name]) for name, view in self._views.items()}
        self._directories = {name: place for name, place in places.items() if place is not None}
        return [name for name, view in self._views.items() if not view.is_live(numbers[name])]

    # --- one process at a time, in steps --------------------------------------------------------

    def _bring_up(self, everything: bool) -> int:
        self._site.claim()
        with self._catalog.read() as reader:
            marks = reader.marks()
            waiting = self._locate(marks)
            # Read before the serial: whatever a finished scan found has one by now.
            ready = [name for name in waiting if not unscanned(reader, self._spec, name)]
            # Views that are about to appear are new, and sweep for themselves.
            everything = everything or (not waiting and self._is_to_sweep(reader))
        anew = self._views.keys() - self._directories.keys()
        everything = everything or bool(anew) or not is_laid_out(self._spec)
        if everything:
            self._lay_out(anew)
        serial = self._catch_up(everything)
        if everything:
            self._catalog.set_mark("lists", _NEVER)
            self._note_layout()
        if ready:
            serial = self._show(ready)
        if (everything or ready) and self._settled() == self._spec.indexes.keys():
            self._catalog.clear_mark(SWEEP, marks.get(SWEEP, 0))
        return serial

    def _catch_up(self, everything: bool = False) -> int:
        """Bring pages up to the last serial, which is returned; a reader holds one state of the
        catalog, unless that would be for too long."""
        with self._catalog.read() as reader:
            serial, since = reader.serial(), 0 if everything else reader.mark("pages")
            changed = reader.changed_projects(since)
            portions = [
                changed[start : start + _PROJECTS_IN_BATCH]
                for start in range(0, len(changed), _PROJECTS_IN_BATCH)
            ]
            if not everything:
                touched = reader.touched(since)
                for portion in portions:
                    self._publish(reader, portion, touched)
                self._withdraw(reader, since)
        if everything:
            for portion in portions:
                with self._catalog.read() as reader:
                    self._publish(reader, portion, None)
            self._sweep_pages()
            self._sweep_files(self._settled(), serial)
        if everything or since < serial:
            self._note_failures(changed, everything)
            self._catalog.set_mark("pages", serial)
        return serial

    def _show(self, names: list[str]) -> int:
        """Let views appear that are whole by now: pages, list and all."""
        serial = self._write_lists(names)
        unsettled = set(self._spec.indexes) - self._settled()
        for name in names:
            self._views[name].show()
            self._directories[name] = self._site.simple(name)
        self._sweep_files(unsettled & self._settled(), serial)
        return serial

    def _write_lists(self, names: list[str]) -> int:
        """Write the project lists of these views; returns the serial that they show. No page is
        older than what the list says of it."""
        with self._catalog.read() as reader:
            serial = reader.serial()
            rows = {name: visible(reader, self._spec, name) for name in names}
        self._catch_up()
        with self._site.batch() as batch:
            for name in names:
                content = _list_pages(rows.pop(name), serial)
                self._write(self._directories[name], content, serial, batch)
        return serial

    # --- a batch of projects -------------------------------------------------------------------

    def _publish(
        self, reader: Reader, changed: list[tuple[str, str]], touched: Touched | None
    ) -> None:
        """Publish projects; one that cannot be rendered keeps its pages, and stops no other."""
        try:
            self._publish_all(reader, changed, touched)
        except Exception as error:
            if _is_of_all(error, reader):
                raise
            if len(changed) > 1:
                middle = len(changed) // 2
                self._publish(reader, changed[:middle], touched)
                self._publish(reader, changed[middle:], touched)
                return
            log.exception("%s/%s cannot be published", *changed[0])
            self._failed["/".join(changed[0])] = f"{type(error).__name__}: {error}"

    def _publish_all(
        self, reader: Reader, changed: list[tuple[str, str]], touched: Touched | None
    ) -> None:
        own, shown = self._load(reader, changed)
        with self._site.batch() as batch:
            for project in own:
                self._offer_all(project, batch, touched)
            for (view, name), seen in shown.items():
                if seen is not None:
                    content = pages.project_pages(seen, packages_url(self._spec, view, seen.index))
                    self._write(self._directories[view] / name, content, seen.serial, batch)
        for (view, name), seen in shown.items():
            if seen is None:
                self._site.remove_tree(self._directories[view] / name)
        for project in own:
            if not project.offered:
                for file in project.files:
                    self._withhold(project.index, file.path)
                    self._put_away(project.index, file.path)

    def _load(
        self, reader: Reader, changed: list[tuple[str, str]]
    ) -> tuple[list[Project], dict[tuple[str, str], Project | None]]:
        """The changed projects that are there, and what each index shows under each name now."""
        names = sorted({name for _, name in changed})
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

    def _offer_all(self, project: Project, batch: Batch, touched: Touched | None) -> None:
        """Offer the files of a project that the journal names, or all of them."""
        index, files = project.index, project.offered
        if touched is None or (index, project.name) in touched[1]:
            for file in files:
                self._offer(index, file, batch, check=touched is None)
            return
        for file in files:
            moved_from = touched[0].get((index, file.path))
            if moved_from is not None:
                if moved_from:
                    self._move_metadata(index, moved_from, file, batch)
                self._offer(index, file, batch)

    def _offer(self, index: str, file: File, batch: Batch, check: bool = False) -> None:
        """Mark what may be fetched, and see that the metadata that the page promises is there;
        with ``check`` that it is what the page promises."""
        is_new = batch.mark(self._site.marker(index, file.path))
        if file.signature:
            batch.mark(self._site.marker(index, file.path + SIGNATURE))
        elif not is_new:
            atomic.unlink(self._site.marker(index, file.path + SIGNATURE))
        place = self._site.metadata(index, file.path)
        if (
            _digest(place) != file.core_metadata
            if check
            else (file.core_metadata is not None) != os.path.lexists(place)
        ):
            atomic.unlink(place)
            self._restore_metadata(index, place, file, batch)

    def _move_metadata(self, index: str, old: str, file: File, batch: Batch) -> None:
        """Publish the metadata of a file that has moved, without opening it again."""
        source = self._site.metadata(index, old)
        if file.core_metadata is not None and _digest(source) == file.core_metadata:
            batch.write_unseen(self._site.metadata(index, file.path), Path(source).read_bytes())

    def _restore_metadata(self, index: str, place: str, file: File, batch: Batch) -> None:
        if file.core_metadata is None:
            return
        aside = self._site.unpublished_metadata(index, file.path)
        if _digest(aside) == file.core_metadata:
            batch.write(place, Path(aside).read_bytes())
            atomic.unlink(aside)
            return
        target = self._folders[index].root / file.path
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

    def _raise_failures(self) -> None:
        failed, self._failed = self._failed, {}
        if failed:
            raise PyindexError(
                "everything is published but these projects, which keep the pages that they had: "
                + "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            )

    def _note_failures(self, changed: list[tuple[str, str]], everything: bool) -> None:
        before = unpublished(self._spec)
        kept = () if everything else before.keys() - {"/".join(each) for each in changed}
        after = {name: before[name] for name in kept} | self._failed
        if after != before:
            with self._site.batch() as batch:
                batch.write(self._site.www / ".unpublished", json.dumps(after).encode())

    # --- what is no longer there ---------------------------------------------------------------

    def _withdraw(self, reader: Reader, since: int) -> None:
        """Unpublish the files that the journal says went after ``since``."""
        gone = [
            (index, path)
            for index, path in reader.left(since)
            if index in self._folders and reader.file_at(index, path) is None
        ]
        for index, path in gone:
            self._withhold(index, path)
            metadata = self._site.metadata(index, path)
            atomic.unlink(metadata)
            atomic.unlink(self._site.unpublished_metadata(index, path))
            top = self._site.metadata(index, "").rpartition("/")[0]
            atomic.remove_empty(metadata.rpartition("/")[0], top)

    def _withhold(self, index: str, path: str) -> None:
        """See that neither the file at ``path`` nor its signature can be fetched."""
        marker = self._site.marker(index, path)
        atomic.unlink(marker)
        atomic.unlink(marker + SIGNATURE)
        atomic.remove_empty(marker.rpartition("/")[0], self._site.marker(index, "").rstrip("/"))

    def _put_away(self, index: str, path: str) -> None:
        """Keep the metadata of a file whose page promises none any more where no reader sees it."""
        place, aside = (
            self._site.metadata(index, path),
            self._site.unpublished_metadata(index, path),
        )
        if os.path.lexists(place):
            atomic.make_directory(aside.rpartition("/")[0])
            Path(place).replace(aside)

    def _settled(self) -> set[str]:
        """The indexes whose files are on no page that this catalog did not make."""
        others = {
            index
            for name, view in self._views.items()
            if self._directories[name] != self._site.simple(name)
            for index in view.shown()
        }
        return set(self._spec.indexes) - others

    def _sweep_pages(self) -> None:
        """Remove the pages of projects that the catalog does not account for."""
        for view, directory in self._directories.items():
            with self._catalog.read() as reader:
                names = {row[0] for row in visible(reader, self._spec, view)}
            for entry in list(os.scandir(directory)):
                if entry.is_dir(follow_symlinks=False) and entry.name not in names:
                    self._site.remove_tree(entry.path)

    def _sweep_files(self, indexes: Iterable[str], serial: int) -> None:
        """Remove markers and metadata that the catalog does not account for. What went after
        ``serial`` stays: there may be pages that show it, until it is withdrawn in its turn."""
        for index in indexes:
            with self._catalog.read() as reader:
                left = {path for each, path in reader.left(serial) if each == index}
                known = {path: (signed, told) for path, signed, told in reader.accepted(index)}
            known.update(dict.fromkeys(left, (True, True)))
            for path in atomic.files_below(self._site.marker(index, "")):
                signed = known.get(path.removesuffix(SIGNATURE), (False, False))[0]
                if path not in known and not (signed and path.endswith(SIGNATURE)):
                    atomic.unlink(self._site.marker(index, path))
            top = self._site.metadata(index, "").removesuffix(METADATA)
            for path in atomic.files_below(top):
                told = known.get(path.removesuffix(METADATA), (False, False))[1]
                if not (told and path.endswith(METADATA)):
                    atomic.unlink(top + path)

    # --- the tree ------------------------------------------------------------------------------

    def _is_to_sweep(self, reader: Reader) -> bool:
        """Whether the tree may hold what another catalog had, and all folders were scanned since:
        not before, since until then this catalog lacks what is there."""
        return bool(reader.mark(SWEEP)) and not any(
            unscanned(reader, self._spec, index) for index in self._spec.indexes
        )

    def _lay_out(self, anew: Iterable[str]) -> None:
        """Make the tree ready to be written in full, with the views ``anew`` from nothing; remove
        what belongs to indexes that are no more."""
        www = self._site.www
        atomic.unlink(www / ".layout")  # until all is written, nothing is known to be there
        known = {"simple", "packages", *self._spec.indexes} - {self._spec.root}
        for directory, names in (
            (www, known),
            (www / ".accepted", self._spec.indexes.keys()),
            (www / ".new", self._spec.indexes.keys()),
        ):
            atomic.make_directory(directory)
            for entry in list(os.scandir(directory)):
                is_ours = entry.name.startswith(".") or entry.name in names
                if entry.is_dir(follow_symlinks=False) and not is_ours:
                    self._site.remove_tree(entry.path)
        for index in self._spec.indexes:
            for each in (self._site.simple(index), Path(self._site.metadata(index, "")).parent):
                if each.is_symlink():
                    each.unlink()  # what was the first index was served under two names once
        for name in anew:
            view = self._views[name]
            view.withdraw()
            self._catalog.set_mark(view.mark, view.stage())
            self._directories[name] = self._site.staged(name)

    def _note_layout(self) -> None:
        with self._site.batch() as batch:
            batch.write(self._site.www / ".layout", _layout(self._spec))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One publisher at a time, of all processes; the lock ends with its holder."""
        self._site.check()
        atomic.make_directory(self._spec.state)
        with (self._spec.state / "publish.lock").open("a+") as file:
            self._wait(file)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _wait(self, file: IO[str]) -> None:
        """Wait for the lock on ``file``, neither without a word nor for ever."""
        start, told = time.monotonic(), False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = time.monotonic() - start
            else:
                return
            if waited > _GIVE_UP_SECONDS:
                with self._catalog.read() as reader:
                    serial = reader.serial()
                raise PyindexError(
                    f"process {_holder(file)} has been publishing for more than"
                    f" {_GIVE_UP_SECONDS:.0f} seconds ({file.name}); all changes up to serial"
                    f" {serial} are recorded, and will be published by it or, once it has ended,"
                    " by any other; end it if it hangs"
                )
            if waited > _WARN_SECONDS and not told:
                log.warning("waiting for process %s, which is publishing", _holder(file))
                told = True
            time.sleep(_POLL_SECONDS)


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return file.read(20) or "?"


def _is_of_all(error: Exception, reader: Reader) -> bool:
    """Whether an error is not one project's: the disk is full, say, or the catalog damaged."""
    if isinstance(error, sa.exc.DatabaseError):
        try:
            reader.serial()
        except sa.exc.DatabaseError:
            return True
    return isinstance(error, OSError) and error.errno not in _OF_A_PATH


def _digest(place: str) -> str | None:
    try:
        return hashlib.sha256(Path(place).read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _list_pages(rows: list[Row], serial: int) -> dict[str, bytes]:
    """The pages of a project list; without rows that cannot be rendered, if there are any."""
    try:
        return pages.list_pages(rows, serial)
    except Exception:
        log.exception("projects are left out of the list that cannot be written")
        return pages.list_pages([row for row in rows if _can_be_listed(row)], serial)


def _can_be_listed(row: Row) -> bool:
    try:
        return bool(pages.list_pages([row], 0))
    except Exception:
        return False
