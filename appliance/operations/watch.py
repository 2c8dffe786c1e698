"""Following the packages directories: the system tells which part to look at, and all of it is
scanned now and then, since network file systems tell nothing."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO

from appliance.atomic import make_directory
from appliance.catalog.database import Catalog
from appliance.errors import PyindexError
from appliance.incoming.directory import DirectoryMissing, PackagesDirectory
from appliance.incoming.events import Events
from appliance.incoming.mounts import mounts_below
from appliance.incoming.postponed import QUIET_SECONDS
from appliance.incoming.scan import Scanner
from appliance.operations.opening import open_catalog
from appliance.operations.report import Progress, Reporter, Trouble, notify
from appliance.site.compare import Comparison, Difference
from appliance.site.layout import described
from appliance.site.publish import Publisher
from appliance.site.tree import Site
from appliance.spec import Spec

log = logging.getLogger(__name__)

_LISTS_SECONDS = 1.0
_MOUNTS_SECONDS = 1.0
_PATIENCE_SECONDS = 10.0  # with files that somebody is writing to, where nobody goes on watching
_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 8.0
_TICK_SECONDS = 0.1
# A scan at full speed lets others have their turn after so long.
_TURN_SECONDS = 0.05
# Otherwise it takes one part in a hundred of a core.
_REST = 99
# A file that seems to be written when an index is first scanned holds it up so long.
_SETTLE_SECONDS = 2.0
# In this time what happened was heard, and looked at.
_MOVE_SECONDS = 3 * _TICK_SECONDS
# How often to look whether the lock is held for longer than a question takes, and the pause.
_ASKING, _ASKING_SECONDS = 5, 0.02


@dataclass
class _Follower:
    """One index: what was heard of its folder, and where its scan is."""

    scanner: Scanner
    heard: set[str] = field(default_factory=set)
    hear_at: float = 0.0
    scan: Generator[bool, None, None] | None = None
    wanted: bool = True  # a scan at full speed
    at_full_speed: bool = True
    scan_at: float = 0.0
    due: float = 0.0
    failures: int = 0
    scanned_at: float | None = None  # when the first scan ended
    is_marked: bool = False
    has_failed: bool = False

    @property
    def index(self) -> str:
        return self.scanner.index

    @property
    def is_urgent(self) -> bool:
        return (self.scan is not None and self.at_full_speed) or self.wanted


class Watch:
    """Follows all folders of a spec, and publishes; what ``pyindex serve`` and ``watch`` run."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._stop = threading.Event()
        self._troubles: dict[str, Trouble] = {}
        self._told: dict[str, object] = {}
        self._reporter = Reporter(spec)
        self._followed: int | None = None
        self._missing = 0
        self._mounts_at = 0.0
        self._mounts: object = None
        self._is_ready = False
        self._followers: list[_Follower] = []
        with contextlib.suppress(OSError, PyindexError):  # told when it is needed
            self._open()

    def _open(self) -> None:
        """Begin with what is there now: directories may be others under the same names."""
        Site(self._spec).check()
        self._catalog = open_catalog(self._spec, create=True)
        self._publisher = Publisher(self._spec, self._catalog)
        self._followers = [
            _Follower(Scanner(self._spec, self._catalog, index)) for index in self._spec.indexes
        ]
        self._lists_at = 0.0
        self._lacks = _compare(self._spec, self._catalog)
        self._tend_at = 0.0
        Site(self._spec).tidy()

    def stop(self) -> None:
        """Let :meth:`run` come to its end soon."""
        self._stop.set()

    def run(self) -> None:
        """Follow the folders until :meth:`stop`. Whatever goes wrong on the way is logged once,
        leaves what was published as it is, and is tried again."""
        while not self._stop.is_set():
            with self._trying("watch"):
                self._open()
                roots = [follower.scanner.directory.root for follower in self._followers]
                with alive(self._spec), Events(roots) as events:
                    self._follow(events)
            if "watch" in self._troubles:
                self._stop.wait(_RETRY_SECONDS)

    def once(self, again: bool = False) -> None:
        """Bring catalog and pages up to the folders; ``again`` reads every file again, and writes
        every page. Raises :class:`DirectoryMissing` at the end if a folder is not there."""
        self._open()
        self._publisher.publish()
        gone: list[DirectoryMissing] = []
        for follower in self._followers:
            try:
                self._scan_once(follower.scanner, again)
            except DirectoryMissing as error:
                gone.append(error)
        self._publisher.publish(everything=again)
        self._publisher.publish_lists()
        if gone:
            raise gone[0]

    def _scan_once(self, scanner: Scanner, again: bool) -> None:
        for has_changed in scanner.scan(again):
            if has_changed:
                self._publisher.publish()
                self._publish_lists()
        end = time.monotonic() + _PATIENCE_SECONDS
        while scanner.waiting and time.monotonic() < end:
            time.sleep(QUIET_SECONDS)
            for _ in scanner.scan_paths(scanner.waiting, is_event=True):
                self._publisher.publish()
                self._publish_lists()
        for path in sorted(scanner.waiting):
            log.warning("%s: %s is being written to, and was left out", scanner.index, path)
        for text in scanner.troubles:
            log.error("%s: %s", scanner.index, text)
        scanner.note_scan()

    # --- following -----------------------------------------------------------------------------

    def _follow(self, events: Events) -> None:
        """Go on until something is another under the same name."""
        self._troubles.clear()  # what was in the way may not be any more
        self._mounts_at = 0.0
        places = self._places()
        folders = [follower.scanner.directory for follower in self._followers]
        if not self._spec.catalog.exists():
            return  # it was lost since it was opened
        if any(os.path.realpath(folder.given) != str(folder.root) for folder in folders):
            return  # a link was turned since they were opened
        while not self._stop.is_set() and self._places() == places:
            urgent = events.is_heard and any(each.is_urgent for each in self._followers)
            self._hear(events, 0.0 if urgent else _TICK_SECONDS)
            if events.is_heard:
                for follower in self._followers:
                    self._serve(follower)
            if not urgent:
                self._tend()
            if time.monotonic() - self._lists_at >= _LISTS_SECONDS:
                self._publish()
            with self._trying("report"):
                self._report()

    def _places(self) -> list[object]:
        """What must stay as it is for us to go on: watches belong to a directory, not to its
        name, and are not set on what is mounted later; connections belong to a file."""
        folders = [follower.scanner.directory for follower in self._followers]
        catalog = None
        with contextlib.suppress(OSError):
            catalog = self._spec.catalog.stat().st_ino
        if time.monotonic() - self._mounts_at >= _MOUNTS_SECONDS:
            self._mounts = [_disks(follower.scanner) for follower in self._followers]
            self._mounts_at = time.monotonic()
        return [catalog, self._mounts, *map(_identity, folders)]

    @property
    def _hears_all(self) -> bool:
        """Whether the system tells of all directories, so that what goes here and comes there is
        heard of together."""
        return self._followed is not None and self._missing <= 0

    def _hear(self, events: Events, seconds: float) -> None:
        """Wait for events and share them out."""
        paths, look_at_all = events.take(seconds)
        self._followed = events.followed
        if events.trouble is None:
            self._clear("events")
        else:
            self._tell(
                "events", f"{events.trouble}; the packages directories are compared in full instead"
            )
        if look_at_all:
            for follower in self._followers:
                follower.wanted = True
        for follower in self._followers:
            # It is compared again and again.
            if not self._hears_all or follower.scanner.troubles:
                follower.due = min(follower.due, time.monotonic() + _RETRY_SECONDS)
            folder = follower.scanner.directory
            heard = {path for each in paths if (path := folder.relative(each)) is not None}
            if "" in heard:  # the folder itself, perhaps again and again
                heard.discard("")
                follower.due = min(follower.due, time.monotonic())
            follower.heard |= heard

    def _serve(self, follower: _Follower) -> None:
        """What was heard first, then a part of the scan."""
        now = time.monotonic()
        if now >= follower.hear_at and (follower.heard or follower.scanner.waiting):
            follower.hear_at = now + _TICK_SECONDS
            if not self._look(follower):
                follower.hear_at = now + _RETRY_SECONDS
        if now >= follower.scan_at:
            with self._trying("scan", follower, clears=False) as failed:
                self._scan(follower)
            if failed:
                # What only we can mend is tried again at the next scan that is due.
                if follower.scan is not None:
                    follower.scan.close()
                    follower.scan = None
                follower.wanted = isinstance(failed[0], OSError | PyindexError)
                pause = min(_RETRY_SECONDS * 2**follower.failures, _LONGEST_RETRY_SECONDS)
                follower.failures += 1
                follower.has_failed = True
                follower.scan_at = now + pause
        with self._trying("mark", follower):
            self._mark(follower)

    def _look(self, follower: _Follower) -> bool:
        """Look at what was heard, and at what waits; returns whether all went well."""
        # What waits is as good as heard: should this fail, all of it is looked at again.
        follower.heard |= follower.scanner.waiting
        heard = frozenset(follower.heard)
        with self._trying("look", follower) as failed:
            self._look_at(follower, heard)
            follower.heard -= heard
        for path in heard if failed and len(heard) > 1 else ():
            with contextlib.suppress(Exception):  # it was told: the others shall not wait for it
                self._look_at(follower, frozenset({path}))
                follower.heard.discard(path)
        return not failed

    def _look_at(self, follower: _Follower, paths: frozenset[str]) -> None:
        if not paths:
            return
        with closing(
            follower.scanner.scan_paths(paths, is_event=True, removes=self._hears_all)
        ) as looked:
            for _ in looked:
                self._publish()
                if self._stop.is_set():
                    return  # what is left is found at the next start

    def _scan(self, follower: _Follower) -> None:
        """Go on with the scan, or begin one that is due."""
        now = time.monotonic()
        if follower.scan is None:
            if not follower.is_urgent and now < follower.due:
                return
            follower.at_full_speed, follower.wanted = follower.wanted, False
            follower.due = now + self._spec.server.reconcile.total_seconds()
            follower.scan = follower.scanner.scan()
            self._publish(again=True)
        while not self._stop.is_set():
            began = time.thread_time()
            has_changed = next(follower.scan, None)
            if has_changed is None:
                self._end(follower)
                return
            if has_changed:
                self._publish()
                return
            if follower.scanner.pauses:
                follower.scan_at = time.monotonic() + _MOVE_SECONDS
                return
            if not follower.at_full_speed:
                follower.scan_at = time.monotonic() + _REST * (time.thread_time() - began)
                return
            if time.monotonic() - now > _TURN_SECONDS:
                return

    def _end(self, follower: _Follower) -> None:
        """A scan has come to its end."""
        follower.scan, follower.failures, follower.has_failed = None, 0, False
        follower.scanner.is_noted = False  # someone may have doubted it since
        follower.scanned_at = follower.scanned_at or time.monotonic()
        self._clear(f"scan {follower.index}")
        prefix = f"missing {follower.index} "
        found = {prefix + text: text for text in follower.scanner.troubles}
        for key in [key for key in self._troubles if key.startswith(prefix) and key not in found]:
            self._clear(key)
        for key, text in found.items():
            self._tell(key, text, follower.index)
        self._publish()
        self._count_followed()

    def _mark(self, follower: _Follower) -> None:
        """Note that an index was scanned in full, so that what it lacks is known to be absent."""
        if follower.scanned_at is None or (follower.is_marked and follower.scanner.is_noted):
            return
        now = time.monotonic()
        if follower.scanner.waiting and now < follower.scanned_at + _SETTLE_SECONDS:
            return
        is_news = follower.scanner.note_scan()
        follower.is_marked = True
        if is_news:
            self._lists_at = 0.0
            self._publish(again=True)

    def _publish(self, again: bool = False) -> None:
        """Publish what has changed, if anything has, or ``again``. Trouble with it holds up no
        scan."""
        with self._trying("publish"):
            with self._catalog.read() as reader:
                behind = reader.serial() != reader.mark("pages")
            if behind or again:
                self._publisher.publish()
            self._publish_lists()

    def _publish_lists(self) -> None:
        now = time.monotonic()
        if now - self._lists_at >= _LISTS_SECONDS:
            self._lists_at = now
            self._publisher.publish_lists()

    def _tend(self) -> None:
        """Go on comparing what is published with the catalog, and write again what is lacking:
        somebody may have removed it. It takes one part in a hundred of a core, as slow scans do."""
        now, began = time.monotonic(), time.thread_time()
        if now < self._tend_at:
            return
        with self._trying("tend"):
            lacks = next(self._lacks, None)
            if lacks is None:
                self._lacks = _compare(self._spec, self._catalog)
                self._tend_at = now + self._spec.server.reconcile.total_seconds()
                return
            for lack in lacks:
                log.warning("%s: %s: %s; written again", lack.index, lack.path, lack.problem)
            if lacks:
                self._publisher.mend({(lack.index, lack.project) for lack in lacks})
        self._tend_at = now + _REST * (time.thread_time() - began)

    # --- what is told --------------------------------------------------------------------------

    @contextlib.contextmanager
    def _trying(
        self, what: str, follower: _Follower | None = None, clears: bool = True
    ) -> Iterator[list[Exception]]:
        """Whatever goes wrong is told when it begins, and until ``what`` succeeds if that
        ``clears`` it; what was raised is put into the list."""
        index = follower.index if follower else None
        key, raised = f"{what} {index or ''}".rstrip(), list[Exception]()
        try:
            yield raised
        except Exception as error:  # the watcher must not die of anything
            raised.append(error)
            text = self._explained(error)
            kind = (type(error), getattr(error, "errno", None) or text)
            if key not in self._troubles or self._told.get(key) != kind:
                told = "%s; keeping what is published, retrying"
                if isinstance(error, OSError | PyindexError):
                    log.error(told, text)
                else:
                    log.exception(told, text)
            self._told[key] = kind
            self._troubles[key] = Trouble(index, isinstance(error, DirectoryMissing), text)
        else:
            if clears:
                self._clear(key)

    def _explained(self, error: Exception) -> str:
        if not isinstance(error, OSError):
            return str(error) if isinstance(error, PyindexError) else repr(error)
        if error.errno == errno.ENOSPC:
            return f"the disk of {self._spec.state} is full: free some space"
        if str(error.filename or "").startswith(f"{self._spec.state}/"):
            return f"state {self._spec.state} cannot be written: {error}"
        return str(error)

    def _tell(self, key: str, text: str, index: str | None = None) -> None:
        """Log what does not pass by itself, once as long as it is the same."""
        if self._told.get(key) != text:
            log.error("%s", text if index is None else f"{index}: {text}")
        self._told[key] = text
        self._troubles[key] = Trouble(index, False, text)

    def _clear(self, key: str) -> None:
        self._troubles.pop(key, None)

    def _report(self) -> None:
        """Tell how far we are, and when all is known."""
        progress = {
            each.index: Progress(each.is_marked, each.scanner.seen) for each in self._followers
        }
        self._reporter.beat(progress, self._troubles.values())
        if self._is_ready:
            return
        if not all(each.is_marked or each.has_failed for each in self._followers):
            seen = sum(each.seen for each in progress.values())
            # The first scan may take longer than a start may.
            notify(f"STATUS=scanning: {seen} names so far", "EXTEND_TIMEOUT_USEC=60000000")
            return
        with self._catalog.read() as reader:
            counts = [reader.counts(each.index) for each in self._followers]
        projects, files = (sum(each) for each in zip(*counts, strict=True))
        text = f"ready: {projects} projects, {files} files"
        log.info("%s", text)
        notify("READY=1", f"STATUS={text}")
        self._is_ready = True

    def _count_followed(self) -> None:
        """Tell when the system follows fewer directories than there are, twice in turn: it may
        just be about to."""
        if any(each.scanned_at is None for each in self._followers):
            return
        directories = sum(each.scanner.walked.directories for each in self._followers)
        missing = 0 if self._followed is None else directories - self._followed
        if missing <= 0:
            self._clear("unheard")
        elif self._missing > 0:
            self._tell(
                "unheard",
                f"of {directories} directories, {missing} are not followed by the system: what"
                " changes there shows when all is compared, which may take long; raise"
                " fs.inotify.max_user_watches by sysctl, and restart",
            )
        self._missing = missing


def _identity(folder: PackagesDirectory) -> object:
    try:
        return os.path.realpath(folder.given), folder.identity()
    except (OSError, PyindexError):
        return None


def _disks(scanner: Scanner) -> object:
    """What is mounted, and where a disk is away: one that came and went between two looks, too."""
    try:
        return mounts_below(scanner.directory.root), scanner.missing()
    except (OSError, PyindexError):
        return None


def _compare(spec: Spec, catalog: Catalog) -> Iterator[Sequence[Difference]]:
    """What readers lack, of all indexes. It does not hold the watch, which ends with its scans."""
    for index in spec.indexes:
        yield from Comparison(spec, catalog, index).lacking()


def confirm_deletions(spec: Spec, index: str) -> int:
    """Take for deleted what is gone from the folder of ``index``, however much it is, and publish
    that; returns how many files."""
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        since, unseen = reader.serial(), reader.unseen(index)
    for _ in Scanner(spec, catalog, index, confirmed=True).scan():
        pass  # it is published below
    publisher = Publisher(spec, catalog)
    publisher.publish()
    publisher.publish_lists()
    with catalog.read() as reader:
        removed = reader.left(since)
        return sum(1 for each, _ in removed if each == index) + unseen - reader.unseen(index)


@contextlib.contextmanager
def alive(spec: Spec) -> Iterator[None]:
    """Hold the sign that a watch is running; it goes with the process, however that ends.

    Raises :class:`PyindexError` if another publishes something else for the same state.
    """
    make_directory(spec.state)
    with (spec.state / "watch.lock").open("a+") as file:
        if _takes(file):
            file.truncate(0)
            file.write(json.dumps(described(spec)))
            file.flush()
            fcntl.flock(file, fcntl.LOCK_SH)
        else:
            _check_same(spec, file)
        yield


def check_alone(spec: Spec) -> None:
    """Raise :class:`PyindexError` if a watch is running that publishes something else for the same
    state."""
    try:
        file = (spec.state / "watch.lock").open()
    except OSError:
        return  # who may not read it learns it when the pages are asked for
    with file:
        if not _takes(file):
            _check_same(spec, file)


def _takes(file: IO[str]) -> bool:
    """Lock a file that no watch has locked. Whoever asks whether one has does it for a moment."""
    for _ in range(_ASKING):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_ASKING_SECONDS)
    return False


def _check_same(spec: Spec, file: IO[str]) -> None:
    """What whoever holds the lock on ``file`` has written there is of the same layout."""
    fcntl.flock(file, fcntl.LOCK_SH)
    file.seek(0)
    text, ours = file.read(), described(spec)
    try:
        theirs: dict[str, str] = dict(json.loads(text))
    except (ValueError, TypeError):
        return  # of an older version, which says less
    differs = [
        f"{what} is {theirs.get(what, 'another')} there and {ours.get(what, 'another')} here"
        for what in {**ours, **theirs}
        if theirs.get(what) != ours.get(what)
    ]
    if differs:
        raise PyindexError(
            f"state {spec.state} is in use by a server that publishes something else:"
            f" {'; '.join(differs)}: end that server, or choose another state"
        )


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
