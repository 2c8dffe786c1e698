"""Catalog and pages brought up to the packages directories: what the watcher does all the time, and
other operations once."""

import logging
import time
from collections.abc import Collection, Generator
from contextlib import closing

from appliance.catalog.database import Catalog
from appliance.incoming.directory import DirectoryMissing
from appliance.incoming.postponed import QUIET_SECONDS
from appliance.incoming.scan import Scanner
from appliance.operations.opening import open_catalog
from appliance.site.publish import Publisher
from appliance.site.tree import Site
from appliance.spec import Spec

log = logging.getLogger(__name__)

LISTS_SECONDS = 1.0
"""How often project lists are written while there are changes."""
_PATIENCE_SECONDS = 10.0  # with files that are being written, where no watcher goes on


class Update:
    """Publishes as changes are made: pages at once, project lists once a second."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._catalog = catalog
        self._publisher = Publisher(spec, catalog)
        self._lists_at = 0.0

    @property
    def is_list_due(self) -> bool:
        """Whether the project lists were written a second ago, or earlier."""
        return time.monotonic() - self._lists_at >= LISTS_SECONDS

    def expect_lists(self) -> None:
        """Write the lists at the next publication, however soon that is."""
        self._lists_at = 0.0

    def publish(self, again: bool = False) -> None:
        """Publish what has changed, if anything has, or ``again``; lists if they are due. Raises as
        :meth:`Publisher.publish` does."""
        with self._catalog.read() as reader:
            is_behind = reader.serial() != reader.mark("pages")
        if is_behind or again:
            self._publisher.publish()
        if self.is_list_due:
            self._lists_at = time.monotonic()
            self._publisher.publish_lists()

    def publish_pages(self) -> None:
        """Publish what has changed, without lists."""
        self._publisher.publish()

    def publish_steps(self, scan: Generator[bool | None, None, None]) -> None:
        """Take the steps of a scan, and publish after each that changed something. A scan that
        cannot be published is closed at once: it has processes."""
        with closing(scan) as steps:
            for has_changed in steps:
                if has_changed is not False:
                    self.publish()

    def finish(self, everything: bool = False) -> None:
        """Publish all that has changed, lists too; with ``everything`` every page."""
        self._publisher.publish(everything)
        self._publisher.publish_lists()

    def write_again(self, projects: Collection[tuple[str, str]]) -> None:
        """Write pages and markers of projects, given as index and name, once more."""
        self._publisher.mend(projects)

    def scan(self, scanner: Scanner, reread: bool = False) -> None:
        """Scan a packages directory in full, and wait for files that are being written; those that
        are not finished in some seconds are left out.

        With ``reread`` every file is examined again. Raises :class:`DirectoryMissing`.
        """
        self.publish_steps(scanner.scan(reread))
        end = time.monotonic() + _PATIENCE_SECONDS
        while scanner.waiting and time.monotonic() < end:
            time.sleep(QUIET_SECONDS)
            self.publish_steps(scanner.scan_paths(scanner.waiting, is_event=True))

        for path in sorted(scanner.waiting):
            log.warning("%s: skipped %s: still being written to", scanner.index, path)
        for text in scanner.troubles:
            log.error("%s: %s", scanner.index, text)
        scanner.note_scan()


def prepare(spec: Spec) -> Catalog:
    """The catalog, made if it is missing, once it is known that the published tree is ours. Raises
    :class:`PyindexError`."""
    site = Site(spec)
    site.check()
    catalog = open_catalog(spec, create=True)
    site.tidy()
    return catalog


def update(spec: Spec, reread: bool = False, rewrite: bool = False) -> None:
    """Scan all packages directories once, and publish.

    With ``reread`` every file is examined again; with it or ``rewrite`` every page is written
    again. Raises :class:`DirectoryMissing` at the end if a packages directory is not there.
    """
    catalog = prepare(spec)
    job = Update(spec, catalog)
    job.publish_pages()

    missing: list[DirectoryMissing] = []
    for index in spec.indexes:
        try:
            job.scan(Scanner(spec, catalog, index), reread)
        except DirectoryMissing as error:
            missing.append(error)

    job.finish(everything=reread or rewrite)
    if missing:
        raise missing[0]


def confirm_deletions(spec: Spec, index: str) -> int:
    """Take for deleted what is gone from the packages directory of ``index``, however much it is,
    and publish that; returns how many files."""
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        since, unseen = reader.serial(), reader.unseen(index)

    job = Update(spec, catalog)
    job.publish_steps(Scanner(spec, catalog, index, confirmed=True).scan())
    job.finish()

    with catalog.read() as reader:
        removed = reader.left(since)
        return sum(1 for each, _ in removed if each == index) + unseen - reader.unseen(index)
