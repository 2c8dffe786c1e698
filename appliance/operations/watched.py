"""One index as the watcher has it: events of its packages directory, and its scans, in steps."""

import contextlib
import threading
import time
from collections.abc import Generator, Set
from contextlib import closing

from appliance.errors import PyindexError
from appliance.incoming.scan import Scanner
from appliance.operations.problems import Problems
from appliance.operations.report import Progress
from appliance.operations.update import Update

RETRY_SECONDS = 1.0
TICK_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 8.0
# A scan at full speed lets others have their turn after so long.
_TURN_SECONDS = 0.05
# Otherwise it takes one part in a hundred of a core.
_REST = 99
# A file that seems to be written when an index is first scanned holds it up so long.
_SETTLE_SECONDS = 2.0
# In this time events of what has moved are read, and what they name is scanned.
_MOVE_SECONDS = 3 * TICK_SECONDS


class WatchedIndex:
    """Scans what events name, and now and then all: network file systems tell nothing.

    ``update`` publishes each change; ``seconds`` is the time between two full scans. Steps end
    early when ``stopping`` is set.

    Attributes:
        is_marked: Whether the catalog knows that the index was scanned.
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
        self.is_marked = self.has_failed = False
        self._update, self._problems, self._stopping = update, problems, stopping
        self._seconds = seconds
        self._paths: set[str] = set()  # that events named
        self._paths_at = 0.0
        self._scan: Generator[bool, None, None] | None = None
        self._is_requested, self._at_full_speed = True, True
        self._scan_at = self._due = 0.0
        self._failures = 0
        self._scanned_at: float | None = None  # when the first scan ended
        self._has_ended = False  # a scan, since it was last asked

    @property
    def index(self) -> str:
        return self.scanner.index

    @property
    def is_urgent(self) -> bool:
        """Whether a scan runs at full speed, or is about to."""
        return (self._scan is not None and self._at_full_speed) or self._is_requested

    @property
    def is_scanned(self) -> bool:
        """Whether a scan has come to its end."""
        return self._scanned_at is not None

    @property
    def progress(self) -> Progress:
        return Progress(self.is_marked, self.scanner.seen)

    def take_ended(self) -> bool:
        """Whether a scan has come to its end since the last call."""
        has_ended, self._has_ended = self._has_ended, False
        return has_ended

    def request_scan(self) -> None:
        """Scan everything, at full speed."""
        self._is_requested = True

    def expect_scan(self, seconds: float = 0.0) -> None:
        """Scan everything slowly, beginning so soon or earlier."""
        self._due = min(self._due, time.monotonic() + seconds)

    def add_events(self, paths: Set[str]) -> None:
        """Note absolute paths that events named, of this packages directory or of another."""
        directory = self.scanner.directory
        relative = {path for each in paths if (path := directory.relative(each)) is not None}
        if "" in relative:  # the directory itself, perhaps again and again
            relative.discard("")
            self.expect_scan()
        self._paths |= relative

    def step(self, watches_all: bool) -> None:
        """Scan what events named first, then a part of everything; ``watches_all`` says that what
        goes here and comes there is told of together."""
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
            self._note_scan()

    # --- what events named ---------------------------------------------------------------------

    def _scan_events(self, watches_all: bool) -> bool:
        """Scan what events named and what is being written; returns whether all went well."""
        # What waits is as good as named: should this fail, all of it is scanned again.
        self._paths |= self.scanner.waiting
        paths = frozenset(self._paths)
        with self._problems.catching("look", self.index) as raised:
            self._scan_paths(paths, watches_all)
            self._paths -= paths

        # The problem is logged: the others shall not wait for the one path that brings it out.
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
                    return  # what is left is found at the next start

    # --- everything ----------------------------------------------------------------------------

    def _continue_scan(self) -> None:
        """Go on with the scan, or begin one that is due."""
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
        self._publish(again=True)

    def _end_scan(self) -> None:
        self._scan, self._failures, self.has_failed = None, 0, False
        self.scanner.is_noted = False  # someone may have doubted it since
        self._scanned_at = self._scanned_at or time.monotonic()
        self._has_ended = True
        self._problems.end(f"scan {self.index}")
        prefix = f"missing {self.index} "
        texts = {prefix + text: text for text in self.scanner.troubles}
        self._problems.replace(prefix, texts, self.index)
        self._publish()

    def _abandon_scan(self, error: Exception) -> None:
        """Begin anew after a growing pause. What only we can mend is tried again at the next scan
        that is due."""
        if self._scan is not None:
            self._scan.close()
            self._scan = None
        self._is_requested = isinstance(error, OSError | PyindexError)
        pause = min(RETRY_SECONDS * 2**self._failures, _LONGEST_RETRY_SECONDS)
        self._scan_at = time.monotonic() + pause
        self._failures += 1
        self.has_failed = True

    def _note_scan(self) -> None:
        """Note that the index was scanned in full, so that what it lacks is known to be absent."""
        if self._scanned_at is None or (self.is_marked and self.scanner.is_noted):
            return
        now = time.monotonic()
        if self.scanner.waiting and now < self._scanned_at + _SETTLE_SECONDS:
            return

        is_news = self.scanner.note_scan()
        self.is_marked = True
        if is_news:
            self._update.expect_lists()
            self._publish(again=True)

    def _publish(self, again: bool = False) -> None:
        """Publish what has changed; trouble with it holds up no scan."""
        with self._problems.catching("publish"):
            self._update.publish(again)
