"""The watcher: scans changed paths of packages directories, and publishes changes."""

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
from appliance.operations import housekeeping
from appliance.operations.repair import Repair
from appliance.operations.report import Reporter, notify
from appliance.operations.update import Update, prepare
from appliance.operations.watched import RETRY_SECONDS, TICK_SECONDS, WatchedIndex
from appliance.operations.watcher_problems import Problems
from appliance.operations.watchlock import watching
from appliance.spec import Spec
from appliance.text import counted

log = logging.getLogger(__name__)

_MOUNTS_SECONDS = 1.0


class Watcher:
    """Watcher of all packages directories of a spec, for ``pyindex serve`` and ``watch``."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._stopping = threading.Event()
        self._problems = Problems(spec.state)
        self._reporter = Reporter(spec)
        self._watched: int | None = None  # number of directories
        self._unwatched = 0
        self._is_ready = False
        self._indexes: list[WatchedIndex] = []
        # Workers need a catalog from the start; :meth:`run` reports errors.
        with contextlib.suppress(OSError, PyindexError):
            prepare(spec)

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._stopping.set()

    def run(self) -> None:
        """Watch the packages directories until :meth:`stop`. After an error, which is logged once,
        published pages stay, and the watcher retries."""
        while not self._stopping.is_set():
            with self._problems.catching("watch"):
                self._open()
                roots = [each.scanner.directory.root for each in self._indexes]
                with watching(self._spec), Events(roots) as events:
                    self._watch(events)
            if "watch" in self._problems:
                self._stopping.wait(RETRY_SECONDS)

    def _open(self) -> None:
        """Open catalog and directories again: they may have been replaced."""
        self._catalog = prepare(self._spec)
        housekeeping.begin(self._spec)
        self._update = Update(self._spec, self._catalog)
        self._repair = Repair(self._spec, self._catalog, self._update)
        self._indexes = [self._open_index(index) for index in self._spec.indexes]

    def _open_index(self, index: str) -> WatchedIndex:
        scanner = Scanner(self._spec, self._catalog, index)
        seconds = self._spec.server.reconcile.total_seconds()
        return WatchedIndex(scanner, self._update, self._problems, seconds, self._stopping)

    def _watch(self, events: Events) -> None:
        """Run until the catalog, a directory or a mount point was replaced."""
        self._problems.clear()
        identities = Identities(self._spec, [each.scanner for each in self._indexes])
        if not identities.are_as_opened():
            return

        while not self._stopping.is_set() and identities.are_unchanged():
            is_urgent = events.is_watched and any(each.is_urgent for each in self._indexes)
            self._read_events(events, 0.0 if is_urgent else TICK_SECONDS)
            if events.is_watched:
                for index in self._indexes:
                    index.step(self._watches_all)
                self._count_watched()

            if not is_urgent and self._repair.is_due:
                with self._problems.catching("repair"):
                    self._repair.step()
            if self._update.is_list_due:
                with self._problems.catching("publish"):
                    self._update.publish()
            with self._problems.catching("report"):
                self._report()

    # --- events --------------------------------------------------------------------------------

    @property
    def _watches_all(self) -> bool:
        """Whether all directories are watched, so that both paths of a moved file have events."""
        return self._watched is not None and self._unwatched <= 0

    def _read_events(self, events: Events, seconds: float) -> None:
        """Wait for events, and give them to the indexes."""
        paths, is_scan_needed = events.take(seconds)
        self._watched = events.watched
        if events.problem is None:
            self._problems.end("events")
        else:
            text = f"file system events: {events.problem}; scanning packages directories instead"
            self._problems.set("events", text)

        for index in self._indexes:
            if is_scan_needed:
                index.request_scan()
            if not self._watches_all or index.scanner.problems:
                index.expect_scan(RETRY_SECONDS)
            index.add_events(paths)

    def _count_watched(self) -> None:
        """Report that directories are not watched, if that is true after two successive scans: the
        watches of new directories are set with a delay."""
        ended = [each.pop_ended() for each in self._indexes]
        if not any(ended) or not all(each.is_scanned for each in self._indexes):
            return

        directories = sum(each.scanner.walked.directories for each in self._indexes)
        missing = 0 if self._watched is None else directories - self._watched
        if missing <= 0:
            self._problems.end("unwatched")
        elif self._unwatched > 0:
            self._problems.set(
                "unwatched",
                f"{missing} of {directories} directories cannot be watched, so that changes in"
                " them are published late, by the next scan; raise fs.inotify.max_user_watches"
                " with sysctl, and restart",
            )
        self._unwatched = missing

    # --- reports -------------------------------------------------------------------------------

    def _report(self) -> None:
        """Report the progress of the scans, and when all indexes have been scanned."""
        progress = {each.index: each.progress for each in self._indexes}
        self._reporter.beat(progress, self._problems.current)
        if self._is_ready:
            return

        if not all(each.is_recorded or each.has_failed for each in self._indexes):
            seen = sum(each.seen for each in progress.values())
            # The first scan may take longer than the start timeout of the service.
            notify(f"STATUS=scanning: {seen} names so far", "EXTEND_TIMEOUT_USEC=60000000")
            return

        with self._catalog.read() as reader:
            counts = [reader.counts(each.index) for each in self._indexes]
        projects, files = (sum(each) for each in zip(*counts, strict=True))
        text = f"ready: {counted(projects, 'project')}, {counted(files, 'file')}"
        log.info("%s", text)
        notify("READY=1", f"STATUS={text}")
        self._is_ready = True


class Identities:
    """Identities of the catalog file, the packages directories and their mount points.

    When one changes, the watcher starts again: watches belong to a directory, not to its path, and
    cover no file system that is mounted later; connections belong to a file."""

    def __init__(self, spec: Spec, scanners: list[Scanner]) -> None:
        self._spec, self._scanners = spec, scanners
        self._mounts_at = 0.0
        self._mounts: object = None
        self._before = self._now()

    def are_as_opened(self) -> bool:
        """Return whether the catalog exists and the packages directories have their real paths."""
        directories = [scanner.directory for scanner in self._scanners]
        return self._spec.catalog.exists() and all(
            os.path.realpath(each.spec_path) == str(each.root) for each in directories
        )

    def are_unchanged(self) -> bool:
        """Return whether the identities have not changed since the construction."""
        return self._now() == self._before

    def _now(self) -> list[object]:
        catalog = None
        with contextlib.suppress(OSError):
            catalog = self._spec.catalog.stat().st_ino
        if time.monotonic() - self._mounts_at >= _MOUNTS_SECONDS:
            self._mounts = [_mounts(scanner) for scanner in self._scanners]
            self._mounts_at = time.monotonic()
        return [catalog, self._mounts, *(_identity(each.directory) for each in self._scanners)]


def _identity(directory: PackagesDirectory) -> object:
    try:
        return os.path.realpath(directory.spec_path), directory.identity()
    except (OSError, PyindexError):
        return None


def _mounts(scanner: Scanner) -> object:
    """Return the mount points, and the missing disks: one may have been mounted meanwhile."""
    try:
        return mounts_below(scanner.directory.root), scanner.missing_mounts()
    except (OSError, PyindexError):
        return None
