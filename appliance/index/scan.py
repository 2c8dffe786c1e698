"""What happens in the packages directories, to intake, catalog and pages.

:class:`Scanner` compares one folder, or a part of it, with the catalog. :func:`watch` lets the
system tell which part to look at, and looks at all of it now and then, since network file systems
tell nothing.
"""

import contextlib
import errno
import fcntl
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Set
from pathlib import Path, PurePosixPath

import watchfiles

from appliance.errors import PyindexError
from appliance.index.catalog import Catalog, Stat
from appliance.index.intake import Intake, log_refusal
from appliance.index.model import Refusal
from appliance.index.names import SIGNATURE
from appliance.index.publish import Publisher
from appliance.index.store import Entry, Folder, Site, make_directory
from appliance.spec import Spec

log = logging.getLogger(__name__)

# A file is taken in when nobody has written to it for this long ...
_QUIET_SECONDS = 0.25
# ... which its mtime shows at a first look, unless that is so near that the clocks may differ.
_RECENT_SECONDS = 2.0
# More events than this, and looking at everything is cheaper, and sees what may have been lost.
_MANY_EVENTS = 200
_LISTS_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_TICK_MILLISECONDS = 100


EVERYTHING = frozenset({""})


class Scanner:
    """Brings the catalog up to what is in one index's folder."""

    def __init__(self, spec: Spec, catalog: Catalog, index: str) -> None:
        self.index = index
        self.folder = Folder(spec.indexes[index].packages)
        self._catalog = catalog
        self._intake = Intake(catalog, Site(spec), index, self.folder)
        self._waiting: dict[str, tuple[Stat, float]] = {}

    @property
    def waiting(self) -> frozenset[str]:
        """Paths of files that somebody may still be writing to; look at them again soon."""
        return frozenset(self._waiting)

    def look(
        self, under: Set[str] = EVERYTHING, heard: bool = False, again: bool = False
    ) -> Iterator[None]:
        """Compare the folder at and below the paths ``under`` with the catalog.

        ``heard`` says that an event named these paths, so that their files may be half written;
        ``again`` reads every file again. Yields whenever there is something to publish. Raises
        :class:`FolderGone` if the folder is not there, and then changes nothing.
        """
        found = {entry.path: entry for path in sorted(under) for entry in self.folder.look(path)}
        with self._catalog.read() as reader:
            known = reader.stats(self.index, under)
        signatures = {path: found.pop(path) for path in list(found) if path.endswith(SIGNATURE)}
        gone = _missing(known.keys() - found.keys() - signatures.keys(), found.values())
        new = [entry for path, entry in found.items() if again or known.get(path) != _stat(entry)]
        new = self._follow_moves(new, gone, known)
        for path in self.waiting - {entry.path for entry in new}:
            if _covers(under, path):
                del self._waiting[path]
        if self._forget(gone):
            yield
        settled = [entry for entry in new if again or self._is_settled(entry, heard)]
        for changing in self._intake.take_in(settled) if settled else ():
            for path in changing:
                self._waiting[path] = ((0, 0, 0), 0.0)
            yield
        if self._match_signatures(signatures, under):
            yield

    def _is_settled(self, entry: Entry, heard: bool) -> bool:
        """Whether nobody seems to be writing to a file, judged by two looks at it."""
        now, stat = time.monotonic(), _stat(entry)
        before = self._waiting.get(entry.path)
        if entry.problem is not None:
            settled = True
        elif before is None and not heard:
            settled = abs(time.time() - entry.mtime_ns / 1e9) > _RECENT_SECONDS
        else:
            settled = before is not None and before[0] == stat and now - before[1] >= _QUIET_SECONDS
        if settled:
            self._waiting.pop(entry.path, None)
        elif before is None or before[0] != stat:
            self._waiting[entry.path] = (stat, now)
        return settled

    def _follow_moves(
        self, new: list[Entry], gone: set[str], known: dict[str, Stat]
    ) -> list[Entry]:
        """Recognise files that only changed their directory; returns the entries that did not."""
        places = {(PurePosixPath(path).name, known[path]): path for path in gone}
        moves = {
            entry.path: places[key]
            for entry in new
            if (key := (PurePosixPath(entry.path).name, _stat(entry))) in places
        }
        if not moves:
            return new
        with self._catalog.change() as change:
            moved = {path for path, old in moves.items() if change.move(self.index, old, path)}
        gone.difference_update(moves[path] for path in moved)
        return [entry for entry in new if entry.path not in moved]

    def _forget(self, gone: set[str]) -> bool:
        """Remove what is no longer in the folder; files that were refused as its duplicates are
        then as good as new."""
        if not gone:
            return False
        with self._catalog.change() as change:
            removed = {file.filename for file in change.remove(self.index, sorted(gone))}
            duplicates = [
                refusal.path
                for refusal in change.refusals(self.index)
                if refusal.is_duplicate and PurePosixPath(refusal.path).name in removed
            ]
            change.remove(self.index, duplicates)
        for path in duplicates:
            self._waiting[path] = ((0, 0, 0), 0.0)
        return bool(removed)

    def _match_signatures(self, found: dict[str, Entry], under: Set[str]) -> bool:
        """Note which files have a signature beside them, and refuse those that sign nothing."""
        with self._catalog.read() as reader:
            signed = {
                path
                for path in reader.signed(self.index, map(_signed_by, under))
                if _covers(under, path + SIGNATURE)
            }
            loose = [p for p in found if not reader.file_at(self.index, _signed_by(p))]
            known = reader.stats(self.index, under)
        new = {_signed_by(path) for path in found if path not in loose} - signed
        old = signed - {_signed_by(path) for path in found}
        orphans = [_orphan(found[path]) for path in loose if known.get(path) != _stat(found[path])]
        if not new and not old and not orphans:
            return False
        with self._catalog.change() as change:
            for path in sorted(new):
                change.sign(self.index, path, True)
            for path in sorted(old):
                change.sign(self.index, path, False)
            change.remove(self.index, [path + SIGNATURE for path in new])
            change.refuse(self.index, orphans)
        for refusal in orphans:
            log_refusal(self.index, refusal)
        return bool(new or old)


def _stat(entry: Entry) -> Stat:
    return entry.size, entry.mtime_ns, entry.inode


def _signed_by(path: str) -> str:
    return path.removesuffix(SIGNATURE)


def _orphan(entry: Entry) -> Refusal:
    reason = f"a signature without {PurePosixPath(_signed_by(entry.path)).name} beside it"
    return Refusal(entry.path, reason, *_stat(entry))


def _covers(under: Iterable[str], path: str) -> bool:
    return any(not top or path == top or path.startswith(f"{top}/") for top in under)


def _missing(paths: Iterable[str], found: Iterable[Entry]) -> set[str]:
    """Those of ``paths`` that are gone, and not just below a directory that cannot be read."""
    shut = [f"{entry.path}/" for entry in found if entry.problem is not None]
    return {path for path in paths if not any(path.startswith(top) for top in shut)}


class Watch:
    """Follows all folders of a spec, and publishes; what ``pyindex serve`` and ``watch`` run."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._catalog = Catalog(spec.catalog, create=True)
        self._publisher = Publisher(spec, self._catalog)
        Site(spec).tidy()
        self._scanners = [Scanner(spec, self._catalog, index) for index in spec.indexes]
        self._lists_at = self._reconcile_at = self._rest_until = 0.0
        self._troubles: set[str] = set()
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let :meth:`run` come to its end soon."""
        self._stop.set()

    def run(self) -> None:
        """Follow the folders until :meth:`stop`. What goes wrong on the way is logged once,
        leaves what was published as it is, and is tried again."""
        with alive(self._spec):
            while not self._stop.is_set():
                roots = [s.folder.root for s in self._scanners if s.folder.root.is_dir()]
                for heard in _events(roots, self._stop):
                    self._tick([path for _, path in heard])
                    if any(
                        s.folder.root.is_dir() != (s.folder.root in roots) for s in self._scanners
                    ):
                        self._reconcile_at = 0.0
                        break  # watches belong to a directory, not to its name

    def once(self, again: bool = False) -> None:
        """Bring catalog and pages up to the folders; ``again`` reads every file again, and writes
        every page."""
        self._publisher.publish()
        for scanner in self._scanners:
            self._look(scanner, EVERYTHING, again=again)
            while scanner.waiting:
                time.sleep(_QUIET_SECONDS)
                self._look(scanner, scanner.waiting, heard=True)
        self._publisher.publish(everything=again)
        self._publisher.publish_lists()

    def _tick(self, heard: list[str]) -> None:
        now = time.monotonic()
        if now < self._rest_until:
            return
        everything = now >= self._reconcile_at or len(heard) > _MANY_EVENTS
        try:
            if everything:
                self._publisher.publish()
            for scanner in self._scanners:
                if everything:
                    self._look(scanner, EVERYTHING)
                else:
                    self._hear(scanner, heard)
            if everything:
                self._reconcile_at = now + self._spec.server.reconcile.total_seconds()
            self._publish_lists()
        except (OSError, PyindexError) as error:
            self._report(error)
        else:
            self._troubles.clear()

    def _hear(self, scanner: Scanner, heard: list[str]) -> None:
        paths = {path for each in heard if (path := scanner.folder.relative(each)) is not None}
        if paths:
            self._look(scanner, paths, heard=True)
        if scanner.waiting:
            self._look(scanner, scanner.waiting, heard=True)

    def _look(
        self, scanner: Scanner, under: Set[str], heard: bool = False, again: bool = False
    ) -> None:
        for _ in scanner.look(under, heard, again):
            self._publish()
            if self._stop.is_set():
                return  # what is left is found at the next start

    def _publish(self) -> None:
        self._publisher.publish()
        self._publish_lists()

    def _publish_lists(self) -> None:
        if time.monotonic() - self._lists_at >= _LISTS_SECONDS:
            self._publisher.publish_lists()
            self._lists_at = time.monotonic()

    def _report(self, error: Exception) -> None:
        """Log a trouble when it begins; look at everything again after a pause."""
        text = str(error)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            text = f"the disk of {self._spec.state} is full: free some space"
        if text not in self._troubles:
            log.error("%s; what was published stays, and this is tried again", text)
            self._troubles.add(text)
        self._reconcile_at = 0.0
        self._rest_until = time.monotonic() + _RETRY_SECONDS


def _events(
    roots: list[Path], stop: threading.Event
) -> Iterator[set[tuple[watchfiles.Change, str]]]:
    """Sets of changes as they come, and empty ones between them."""
    if not roots:
        stop.wait(_RETRY_SECONDS)
        yield set()
        return
    yield from watchfiles.watch(
        *roots,
        watch_filter=None,
        debounce=_TICK_MILLISECONDS * 2,
        step=_TICK_MILLISECONDS // 4,
        rust_timeout=_TICK_MILLISECONDS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
        ignore_permission_denied=True,
    )


@contextlib.contextmanager
def alive(spec: Spec) -> Iterator[None]:
    """Hold the sign that a watch is running; it goes with the process, however that ends."""
    make_directory(spec.state)
    with (spec.state / "watch.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def is_alive(spec: Spec) -> bool:
    """Whether some process follows the folders of ``spec``."""
    try:
        with (spec.state / "watch.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
