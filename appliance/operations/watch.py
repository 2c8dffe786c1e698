"""The watcher: scans what the system says has changed in packages directories, and publishes."""

import contextlib
import logging
import os
import threading
import time

from appliance.errors import PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.events import Events
from appliance.incoming.mounts import mounts_below
from appliance.incoming.scan import Scanner
from appliance.operations.problems import Problems
from appliance.operations.repair import Repair
from appliance.operations.report import Reporter, notify
from appliance.operations.update import Update, prepare
from appliance.operations.watched import RETRY_SECONDS, TICK_SECONDS, WatchedIndex
from appliance.operations.watchlock import watching
from appliance.spec import Spec

log = logging.getLogger(__name__)

_MOUNTS_SECONDS = 1.0


class Watcher:
    """Watches all packages directories of a spec; what ``pyindex serve`` and ``watch`` run."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._stopping = threading.Event()
        self._problems = Problems(spec.state)
        self._reporter = Reporter(spec)
        self._watched: int | None = None  # directories
        self._unwatched = 0
        self._is_ready = False
        self._indexes: list[WatchedIndex] = []
        # Readers have a catalog from here on; what is wrong is logged when it is needed.
        with contextlib.suppress(OSError, PyindexError):
            prepare(spec)

    def stop(self) -> None:
        """Let :meth:`run` come to its end soon."""
        self._stopping.set()

    def run(self) -> None:
        """Watch the packages directories until :meth:`stop`. Whatever goes wrong on the way is
        logged once, leaves what was published as it is, and is tried again."""
        while not self._stopping.is_set():
            with self._problems.catching("watch"):
                self._open()
                roots = [each.scanner.directory.root for each in self._indexes]
                with watching(self._spec), Events(roots) as events:
                    self._watch(events)
            if "watch" in self._problems:
                self._stopping.wait(RETRY_SECONDS)

    def _open(self) -> None:
        """Begin with what is there now: directories may be others under the same names."""
        self._catalog = prepare(self._spec)
        self._update = Update(self._spec, self._catalog)
        self._repair = Repair(self._spec, self._catalog, self._update)
        seconds = self._spec.server.reconcile.total_seconds()
        self._indexes = [
            WatchedIndex(
                Scanner(self._spec, self._catalog, index),
                self._update,
                self._problems,
                seconds,
                self._stopping,
            )
            for index in self._spec.indexes
        ]

    def _watch(self, events: Events) -> None:
        """Go on until something is another under the same name."""
        self._problems.clear()
        identities = Identities(self._spec, [each.scanner for each in self._indexes])
        if not identities.are_as_opened():
            return

        while not self._stopping.is_set() and identities.are_unchanged():
            is_urgent = events.is_heard and any(each.is_urgent for each in self._indexes)
            self._read_events(events, 0.0 if is_urgent else TICK_SECONDS)
            if events.is_heard:
                for index in self._indexes:
                    index.step(self._watches_all)
                self._count_watched()

            if not is_urgent and self._repair.is_due:
                with self._problems.catching("tend"):
                    self._repair.step()
            if self._update.is_list_due:
                with self._problems.catching("publish"):
                    self._update.publish()
            with self._problems.catching("report"):
                self._report()

    # --- events --------------------------------------------------------------------------------

    @property
    def _watches_all(self) -> bool:
        """Whether the system tells of all directories, so that what goes here and comes there is
        heard of together."""
        return self._watched is not None and self._unwatched <= 0

    def _read_events(self, events: Events, seconds: float) -> None:
        """Wait for events and share them out."""
        paths, is_everything = events.take(seconds)
        self._watched = events.followed
        if events.trouble is None:
            self._problems.end("events")
        else:
            text = f"file system events: {events.trouble}; scanning packages directories instead"
            self._problems.set("events", text)

        for index in self._indexes:
            if is_everything:
                index.request_scan()
            if not self._watches_all or index.scanner.troubles:
                index.expect_scan(RETRY_SECONDS)
            index.add_events(paths)

    def _count_watched(self) -> None:
        """Report when the system watches fewer directories than there are, after two scans in
        turn: it may just be about to."""
        ended = [each.take_ended() for each in self._indexes]
        if not any(ended) or not all(each.is_scanned for each in self._indexes):
            return

        directories = sum(each.scanner.walked.directories for each in self._indexes)
        missing = 0 if self._watched is None else directories - self._watched
        if missing <= 0:
            self._problems.end("unheard")
        elif self._unwatched > 0:
            self._problems.set(
                "unheard",
                f"{missing} of {directories} directories cannot be watched, so that changes in"
                " them are published late, by the next scan; raise fs.inotify.max_user_watches"
                " with sysctl, and restart",
            )
        self._unwatched = missing

    # --- reports -------------------------------------------------------------------------------

    def _report(self) -> None:
        """Report how far the scans are, and when all is known."""
        progress = {each.index: each.progress for each in self._indexes}
        self._reporter.beat(progress, self._problems.current)
        if self._is_ready:
            return

        if not all(each.is_marked or each.has_failed for each in self._indexes):
            seen = sum(each.seen for each in progress.values())
            # The first scan may take longer than a start may.
            notify(f"STATUS=scanning: {seen} names so far", "EXTEND_TIMEOUT_USEC=60000000")
            return

        with self._catalog.read() as reader:
            counts = [reader.counts(each.index) for each in self._indexes]
        projects, files = (sum(each) for each in zip(*counts, strict=True))
        text = f"ready: {projects} projects, {files} files"
        log.info("%s", text)
        notify("READY=1", f"STATUS={text}")
        self._is_ready = True


class Identities:
    """What must stay as it is for a watcher to go on: watches belong to a directory, not to its
    name, and are not set on what is mounted later; connections belong to a file."""

    def __init__(self, spec: Spec, scanners: list[Scanner]) -> None:
        self._spec, self._scanners = spec, scanners
        self._mounts_at = 0.0
        self._mounts: object = None
        self._before = self._now()

    def are_as_opened(self) -> bool:
        """Whether neither the catalog was lost nor a link was turned since they were opened."""
        directories = [scanner.directory for scanner in self._scanners]
        return self._spec.catalog.exists() and all(
            os.path.realpath(each.given) == str(each.root) for each in directories
        )

    def are_unchanged(self) -> bool:
        """Whether they are as when this was made."""
        return self._now() == self._before

    def _now(self) -> list[object]:
        catalog = None
        with contextlib.suppress(OSError):
            catalog = self._spec.catalog.stat().st_ino
        if time.monotonic() - self._mounts_at >= _MOUNTS_SECONDS:
            self._mounts = [_disks(scanner) for scanner in self._scanners]
            self._mounts_at = time.monotonic()
        return [catalog, self._mounts, *(_identity(each.directory) for each in self._scanners)]


def _identity(directory: PackagesDirectory) -> object:
    try:
        return os.path.realpath(directory.given), directory.identity()
    except (OSError, PyindexError):
        return None


def _disks(scanner: Scanner) -> object:
    """What is mounted, and where a disk is away: one that came and went between two looks, too."""
    try:
        return mounts_below(scanner.directory.root), scanner.missing()
    except (OSError, PyindexError):
        return None
