"""Updates of catalog and pages from the packages directories, by the watcher continuously, by other
operations once."""

import logging
import time
from collections.abc import Callable, Collection, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import MappingProxyType

from appliance.catalog.database import Catalog
from appliance.incoming.ahead import Ahead
from appliance.incoming.directory import DirectoryMissing
from appliance.incoming.postponed import QUIET_SECONDS
from appliance.incoming.scan import Scanner
from appliance.operations.arrival import recover
from appliance.operations.opening import open_catalog
from appliance.site.publish import Publisher
from appliance.site.tree import Site
from appliance.spec import Spec

log = logging.getLogger(__name__)

LISTS_SECONDS = 1.0
"""Interval at which project lists are written while there are changes."""
_MAX_WAIT_SECONDS = 10.0  # for files that are being written


class Update:
    """Publishes changes of the catalog: pages at once, project lists once a second; if it
    ``waits``, everything at the end."""

    def __init__(self, spec: Spec, catalog: Catalog, waits: bool = False) -> None:
        self._catalog, self._waits = catalog, waits
        self._publisher = Publisher(spec, catalog)
        self._lists_at = 0.0

    @property
    def is_list_due(self) -> bool:
        """Whether the project lists are at least a second old."""
        return time.monotonic() - self._lists_at >= LISTS_SECONDS

    def expect_lists(self) -> None:
        """Write the lists at the next publication, even within a second."""
        self._lists_at = 0.0

    def publish(self, force: bool = False) -> None:
        """Publish changes, with ``force`` even if there are none; and lists if they are due.

        Raises as :meth:`Publisher.publish` does.
        """
        if self._waits:
            return
        with self._catalog.read() as reader:
            is_behind = reader.serial() != reader.mark("pages")
        if is_behind or force:
            self._publisher.publish()
        if self.is_list_due:
            self._lists_at = time.monotonic()
            self._publisher.publish(lists=True)

    def publish_pages(self) -> None:
        """Publish changes, without lists."""
        self._publisher.publish()

    def publish_steps(self, scan: Generator[bool | None, None, None]) -> None:
        """Run the steps of a scan, and publish after each that made changes. A scan whose changes
        cannot be published is closed at once, as it has processes."""
        with closing(scan) as steps:
            for has_changed in steps:
                if has_changed is not False:
                    self.publish()

    def finish(self, everything: bool = False) -> None:
        """Publish all changes and lists; with ``everything`` all pages."""
        self._publisher.publish(everything, lists=True)

    def rewrite(self, projects: Collection[tuple[str, str]]) -> None:
        """Rewrite pages and markers of projects, given as index and name."""
        self._publisher.repair(projects)

    def scan(self, scanner: Scanner, reread: bool = False) -> None:
        """Scan a packages directory in full, and wait some seconds for files that are being
        written; then skip them.

        With ``reread`` every file is examined again. Raises :class:`DirectoryMissing`.
        """
        self.publish_steps(scanner.scan(reread))
        end = time.monotonic() + _MAX_WAIT_SECONDS
        while scanner.waiting and time.monotonic() < end:
            time.sleep(QUIET_SECONDS)
            self.publish_steps(scanner.scan_paths(scanner.waiting, is_event=True))

        for path in sorted(scanner.waiting):
            log.warning("%s: skipped %s: still being written to", scanner.index, path)
        for text in scanner.problems:
            log.error("%s: %s", scanner.index, text)
        scanner.record_scan()


def prepare(spec: Spec) -> Catalog:
    """Check that the published tree belongs to pyindex, then open or create the catalog, and end a
    load that was killed. Raises :class:`PyindexError`."""
    site = Site(spec)
    site.check()
    catalog = open_catalog(spec, create=True)
    recover(spec)
    site.tidy()
    return catalog


def update(
    spec: Spec,
    reread: bool = False,
    rewrite: bool = False,
    ahead: Mapping[str, Ahead] = MappingProxyType({}),
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Scan all packages directories once, and publish.

    With ``reread`` every file is examined again; with it or ``rewrite`` every page is written
    again. ``ahead`` has answers for new files, by index. ``meanwhile`` is called when all files are
    in the catalog; pages are written beside it, and not before. Raises :class:`DirectoryMissing`
    at the end if a packages directory is not there.
    """
    catalog = prepare(spec)
    job = Update(spec, catalog, waits=meanwhile is not None)
    job.publish_pages()

    missing: list[DirectoryMissing] = []
    for index in spec.indexes:
        try:
            job.scan(Scanner(spec, catalog, index, ahead=ahead.get(index)), reread)
        except DirectoryMissing as error:
            missing.append(error)

    if meanwhile is None:
        job.finish(everything=reread or rewrite)
    else:
        with ThreadPoolExecutor(1) as thread:
            published = thread.submit(job.finish, everything=reread or rewrite)
            meanwhile()
            published.result()
    if missing:
        raise missing[0]


def confirm_deletions(spec: Spec, index: str) -> int:
    """Remove all missing files of ``index`` from the catalog, however many they are, and publish
    that; return their number."""
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        serial, unreachable = reader.serial(), reader.unreachable_count(index)

    job = Update(spec, catalog)
    job.publish_steps(Scanner(spec, catalog, index, confirmed=True).scan())
    job.finish()

    with catalog.read() as reader:
        removed = sum(1 for name, _ in reader.removed_since(serial) if name == index)
        return removed + unreachable - reader.unreachable_count(index)
