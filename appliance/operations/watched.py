"""One index in the watcher: events of its packages directory, and its scans, in steps."""

import contextlib
import threading
import time
from collections.abc import Generator, Set
from contextlib import closing

from appliance.errors import PyindexError
from appliance.incoming.scan import Scanner
from appliance.operations.report import Progress
from appliance.operations.update import Update
from appliance.operations.watcher_problems import Problems

RETRY_SECONDS = 1.0
TICK_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 8.0
# A scan at full speed yields to other indexes after this time.
_TURN_SECONDS = 0.05
# Other scans use a hundredth of a core.
_REST = 99
# A file that is being written delays the end of the first scan by up to this time.
_SETTLE_SECONDS = 2.0
# Within this time the events of moved files are read, and their paths scanned.
_MOVE_SECONDS = 3 * TICK_SECONDS


class WatchedIndex:
    """Scans the paths of events, and periodically the whole directory, as network file systems
    report no events.

    ``update`` publishes each change; ``seconds`` is the time between two full scans. Steps end
    early when ``stopping`` is set.

    Attributes:
        is_recorded: Whether the catalog knows that the index was scanned.
        has_failed: Whether the last scan failed.
    """

    def __init__(
        self,
        scanner: Scanner,
        update: Update,
        problems: Problems,
        seconds: float,
        stopping: threading.Event,
    ) -> None:
        self.scanner = scanner
        self.is_recorded = self.has_failed = False
        self._update, self._problems, self._stopping = update, problems, stopping
        self._seconds = seconds
        self._paths: set[str] = set()  # of events
        self._paths_at = 0.0
        self._scan: Generator[bool, None, None] | None = None
        self._is_requested, self._at_full_speed = True, True
        self._scan_at = self._due = 0.0
        self._failures = 0
        self._scanned_at: float | None = None  # when the first scan ended
        self._has_ended = False  # a scan, since the last call of pop_ended

    @property
    def index(self) -> str:
        return self.scanner.index

    @property
    def is_urgent(self) -> bool:
        """Whether a scan is running at full speed, or requested."""
        return (self._scan is not None and self._at_full_speed) or self._is_requested

    @property
    def is_scanned(self) -> bool:
        """Whether a scan has ended."""
        return self._scanned_at is not None

    @property
    def progress(self) -> Progress:
        return Progress(self.is_recorded, self.scanner.seen)

    def pop_ended(self) -> bool:
        """Return whether a scan has ended since the last call."""
        has_ended, self._has_ended = self._has_ended, False
        return has_ended

    def request_scan(self) -> None:
        """Request a full scan at full speed."""
        self._is_requested = True

    def expect_scan(self, seconds: float = 0.0) -> None:
        """Begin a slow full scan within ``seconds``."""
        self._due = min(self._due, time.monotonic() + seconds)

    def add_events(self, paths: Set[str]) -> None:
        """Add absolute paths of events, of this or another packages directory."""
        directory = self.scanner.directory
        relative = {path for each in paths if (path := directory.relative(each)) is not None}
        if "" in relative:  # the directory itself, perhaps often
            relative.discard("")
            self.expect_scan()
        self._paths |= relative

    def step(self, watches_all: bool) -> None:
        """Scan the paths of events, then a slice of the full scan. ``watches_all`` means that both
        paths of a moved file have events."""
        now = time.monotonic()
        if now >= self._paths_at and (self._paths or self.scanner.waiting):
            self._paths_at = now + TICK_SECONDS
            if not self._scan_events(watches_all):
                self._paths_at = now + RETRY_SECONDS

        if now >= self._scan_at:
            with self._problems.catching("scan", self.index, is_ended=False) as raised:
                self._continue_scan()
            if raised:
                self._abandon_scan(raised[0])

        with self._problems.catching("mark", self.index):
            self._record_scan()

    # --- paths of events -----------------------------------------------------------------------

    def _scan_events(self, watches_all: bool) -> bool:
        """Scan the paths of events and of unfinished files; return whether that succeeded."""
        # After a failure all of them are scanned again.
        self._paths |= self.scanner.waiting
        paths = frozenset(self._paths)
        with self._problems.catching("paths", self.index) as raised:
            self._scan_paths(paths, watches_all)
            self._paths -= paths

        # The problem is logged. Other paths must not wait for the one that causes it.
        for path in paths if raised and len(paths) > 1 else ():
            with contextlib.suppress(Exception):
                self._scan_paths(frozenset({path}), watches_all)
                self._paths.discard(path)
        return not raised

    def _scan_paths(self, paths: frozenset[str], watches_all: bool) -> None:
        if not paths:
            return
        scan = self.scanner.scan_paths(paths, is_event=True, removes=watches_all)
        with closing(scan) as steps:
            for _ in steps:
                self._publish()
                if self._stopping.is_set():
                    return  # the next start scans the remaining paths

    # --- full scans ----------------------------------------------------------------------------

    def _continue_scan(self) -> None:
        """Continue the scan, or begin one that is due."""
        now = time.monotonic()
        if self._scan is None:
            if not self.is_urgent and now < self._due:
                return
            self._begin_scan()

        while not self._stopping.is_set():
            began = time.thread_time()
            assert self._scan is not None
            has_changed = next(self._scan, None)
            if has_changed is None:
                self._end_scan()
                return
            if has_changed:
                self._publish()
                return
            if self.scanner.pauses:
                self._scan_at = time.monotonic() + _MOVE_SECONDS
                return
            if not self._at_full_speed:
                self._scan_at = time.monotonic() + _REST * (time.thread_time() - began)
                return
            if time.monotonic() - now > _TURN_SECONDS:
                return

    def _begin_scan(self) -> None:
        self._at_full_speed, self._is_requested = self._is_requested, False
        self._due = time.monotonic() + self._seconds
        self._scan = self.scanner.scan()
        self._publish(force=True)

    def _end_scan(self) -> None:
        self._scan, self._failures, self.has_failed = None, 0, False
        self.scanner.is_recorded = False  # another process may have changed that
        self._scanned_at = self._scanned_at or time.monotonic()
        self._has_ended = True
        self._problems.end(f"scan {self.index}")
        prefix = f"missing {self.index} "
        texts = {prefix + text: text for text in self.scanner.problems}
        self._problems.replace(prefix, texts, self.index)
        self._publish()

    def _abandon_scan(self, error: Exception) -> None:
        """Drop a scan that failed, and begin another after a growing pause; after a bug, not before
        the next one is due."""
        if self._scan is not None:
            self._scan.close()
            self._scan = None
        self._is_requested = isinstance(error, OSError | PyindexError)
        pause = min(RETRY_SECONDS * 2**self._failures, _LONGEST_RETRY_SECONDS)
        self._scan_at = time.monotonic() + pause
        self._failures += 1
        self.has_failed = True

    def _record_scan(self) -> None:
        """Record that the index was scanned, so that missing projects are known to be absent."""
        if self._scanned_at is None or (self.is_recorded and self.scanner.is_recorded):
            return
        now = time.monotonic()
        if self.scanner.waiting and now < self._scanned_at + _SETTLE_SECONDS:
            return

        is_new = self.scanner.record_scan()
        self.is_recorded = True
        if is_new:
            self._update.expect_lists()
            self._publish(force=True)

    def _publish(self, force: bool = False) -> None:
        """Publish changes; an error does not stop the scan."""
        with self._problems.catching("publish"):
            self._update.publish(force)
