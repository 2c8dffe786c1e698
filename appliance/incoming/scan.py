"""Scans: updating the catalog from a packages directory, or from paths in it. New files are
accepted or rejected, deleted files are removed."""

from collections.abc import Generator, Iterator, Sequence, Set
from dataclasses import dataclass, field

from appliance.catalog.database import Catalog
from appliance.catalog.readiness import FULLY, PARTLY, scan_mark
from appliance.errors import PyindexError
from appliance.incoming.ahead import Ahead
from appliance.incoming.arriving import Arriving
from appliance.incoming.comparison import Comparison, Section, is_package
from appliance.incoming.deletions import Deletions
from appliance.incoming.directory import PackagesDirectory, Walked
from appliance.incoming.entries import Entry, complete_name
from appliance.incoming.intake import Intake
from appliance.incoming.postponed import Postponed
from appliance.incoming.signatures import Signatures
from appliance.index.names import SIGNATURE
from appliance.spec import Spec

EVERYTHING = frozenset({""})

# New files that are accepted together: each beginning has a cost.
_TOGETHER = 20_000


@dataclass
class _Progress:
    """Progress of a scan.

    Attributes:
        new: Files to accept next.
        sections: The sections of these files.
        missing: The paths of missing files.
        has_unreadable: Whether there are directories that cannot be read.
    """

    new: list[Entry] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    has_unreadable: bool = False

    def drop(self) -> None:
        """Leave files that are not accepted yet to the next scan."""
        self.new, self.sections = [], []


class Scanner:
    """Updates the catalog from one index's packages directory.

    With ``confirmed`` all missing files were deleted, however many they are; ``ahead`` has answers
    for new files.

    Attributes:
        walked: The walk of the last complete scan.
        seen: The number of entries of the current or the last scan.
        pauses: Whether a scan is about to remove files: events may show before its next step that
            they were moved.
        is_recorded: Whether the catalog knows that the packages directory was scanned in full.
    """

    def __init__(
        self,
        spec: Spec,
        catalog: Catalog,
        index: str,
        confirmed: bool = False,
        ahead: Ahead | None = None,
    ) -> None:
        self.index, self._spec, self._catalog = index, spec, catalog
        self.directory = PackagesDirectory(spec.indexes[index].packages)
        self.walked = Walked()
        self.seen = 0
        self.pauses = False
        self.is_recorded = False
        self._is_partial = False  # the last scan could not read all directories

        arriving = Arriving(spec.state, index, self.directory.root)
        self._comparison = Comparison(catalog, index, self.directory, arriving)
        self._deletions = Deletions(spec, catalog, index, self.directory, confirmed)
        self._intake = Intake(spec, catalog, index, self.directory, self._may_exist, ahead)
        self._postponed = Postponed(catalog, index, spec.server.reconcile.total_seconds())
        self._signatures = Signatures(catalog, index, self.directory)

    @property
    def waiting(self) -> frozenset[str]:
        """Paths of files that are still being written; scan them again soon."""
        return self._postponed.written

    @property
    def problems(self) -> list[str]:
        """Messages about missing files that the last scan did not remove."""
        return self._deletions.problems

    def missing_mounts(self) -> list[str]:
        """Return the paths of missing disks, see :meth:`Mounts.missing`."""
        return self._deletions.mounts.missing()

    # --- paths in the directory ----------------------------------------------------------------

    def scan_paths(
        self,
        paths: Set[str] = EVERYTHING,
        is_event: bool = False,
        reread: bool = False,
        removes: bool = True,
    ) -> Generator[None, None, None]:
        """Compare the packages directory at and below ``paths`` with the catalog, and update that.

        With ``is_event`` the system has reported events of these paths, so that their files may be
        incomplete; with ``reread`` every file is examined again; unless it ``removes``, missing
        files remain until a full scan, as they may have moved to a directory that is not watched.
        Yields after each transaction. Raises :class:`DirectoryMissing` before any change.
        """
        if "" in paths:
            yield from (None for _ in self.scan(reread))
            return

        paths = paths | {complete_name(path) for path in paths}
        paths = paths | {path + SIGNATURE for path in paths if is_package(path)}
        section = self._comparison.section_at(paths)
        new, missing = self._compare(section, reread)
        settled = [each for each in new if reread or self._postponed.is_settled(each, is_event)]

        missing = missing - self._deletions.pending if removes else set()
        if missing := {path for path in missing if self._comparison.is_missing(path)}:
            yield from self._remove(missing, [entry.path for entry in settled], is_full_scan=False)
        yield from self._accept(settled)
        if removes:
            yield from self._replace_pending()
        self._signatures.match(section, self._comparison.signed_at(paths))
        yield

    # --- the whole directory -------------------------------------------------------------------

    def scan(self, reread: bool = False) -> Generator[bool, None, None]:
        """Compare the whole packages directory with the catalog, in slices in the order of paths,
        and update the catalog.

        Yields after each slice, ``True`` if the catalog has changed. Missing files are removed at
        the end, as they may have moved to a later path. Otherwise as :meth:`scan_paths`.
        """
        self.pauses = False
        self._deletions.check_mounted()
        unmounted = self._deletions.mounts.record_new(self._deletions.has_files)

        walked, progress = Walked(), _Progress()
        yield from self._scan_slices(walked, progress, reread)
        if missing := {path for path in progress.missing if self._comparison.is_missing(path)}:
            self.pauses = True
            yield False
            self.pauses = False

        self._deletions.begin()
        yield from (True for _ in self._remove(missing, [], is_full_scan=True))
        has_unknown = self._deletions.record_mounts(unmounted)
        self._is_partial = progress.has_unreadable or has_unknown
        yield from self._record_missing()
        self.walked = walked

    def _scan_slices(
        self, walked: Walked, progress: _Progress, reread: bool
    ) -> Generator[bool, None, None]:
        self.seen, after, failure = 0, "", None
        for entries, upto in self._comparison.slices(walked):
            try:
                section = self._comparison.section_between(entries, after, upto, walked)
                is_last = self._add(progress, section, reread) or upto is None
                if is_last or len(progress.new) >= _TOGETHER:
                    yield from self._accept_progress(progress)
            except (OSError, PyindexError):
                raise
            except Exception as error:  # a bug that shows in this slice
                failure = failure or error
                progress.drop()

            progress.has_unreadable |= any(_is_unreadable_directory(each) for each in entries)
            self.seen += len(entries)
            after = upto or after
            yield False
        if failure is not None:
            raise failure

    def _add(self, progress: _Progress, section: Section, reread: bool) -> bool:
        """Add the differences of a section; return whether it has no file to accept now."""
        new, missing = self._compare(section, reread)
        if not reread:
            new = self._postponed.without_paused(new, section.known)
        settled = [each for each in new if reread or self._postponed.is_settled(each, False)]

        progress.missing |= missing
        progress.new += settled
        progress.sections.append(section)
        return not settled

    def _accept_progress(self, progress: _Progress) -> Iterator[bool]:
        new, progress.new = progress.new, []
        yield from (True for _ in self._accept(new))
        for section in progress.sections:
            self._signatures.match(section, section.signed)
        progress.sections = []

    def _record_missing(self) -> Iterator[bool]:
        """Record projects in the journal that have unreachable files only, to publish pages."""
        with self._catalog.read() as reader:
            has_pageless = bool(reader.projects_without_page(self.index))
        if has_pageless:
            with self._catalog.change() as change:
                change.record_pageless(self.index)
            yield True

    def record_scan(self) -> bool:
        """Record in the catalog that the packages directory was scanned, in full or in part; return
        whether that is new.

        A directory that was scanned in full stays so: known files in unreadable directories remain
        listed.
        """
        mark = scan_mark(self._spec, self.index)
        with self._catalog.read() as reader:
            before = reader.mark(mark)
        waiting = sorted(self.waiting) if before != FULLY else []
        if waiting:  # a file that is being copied claims its project, too
            with self._catalog.change() as change:
                change.record_unreachable(self.index, waiting)
                change.update_counts()
                change.record_pageless(self.index)

        now = FULLY if before == FULLY or not self._is_partial else PARTLY
        self.is_recorded = now == FULLY
        if now != before:
            self._catalog.set_mark(mark, now)
        return now != before

    # --- changes -------------------------------------------------------------------------------

    def _compare(self, section: Section, reread: bool) -> tuple[list[Entry], Set[str]]:
        """Return new and changed entries of a section, and the paths of missing files."""
        difference = self._comparison.compare(section, reread)
        self._deletions.restore(difference.moved | section.entries.keys())
        self._postponed.forget(difference.new, section.covers)
        return difference.new, difference.missing

    def _accept(
        self, entries: list[Entry], replaced: Sequence[str] = (), expected: Sequence[str] = ()
    ) -> Iterator[None]:
        if not entries:
            return
        # The mount point of a file is recorded before the file is accepted.
        self._deletions.mounts.record_new(self._deletions.has_files)
        for changing in self._intake.accept(entries, replaced, expected):
            for path in changing:
                self._postponed.add(path)
            yield

    def _remove(
        self, missing: Set[str], expected: Sequence[str], is_full_scan: bool
    ) -> Iterator[None]:
        """Remove deleted files. A duplicate that was rejected because of one of them replaces it in
        the same transaction; files that are ``expected`` or being written claim their projects
        meanwhile."""
        deletion = self._deletions.judge(missing, is_full_scan)
        expected = sorted({*expected, *self.waiting} - deletion.paths)
        if deletion.successors:
            yield from self._accept(deletion.successors, sorted(deletion.paths), expected)
        elif deletion.paths:
            with self._catalog.change() as change:
                change.remove(self.index, sorted(deletion.paths))
                change.record_unreachable(self.index, expected)
            yield

    def _replace_pending(self) -> Iterator[None]:
        """Accept duplicates that replace pending deletions."""
        deletion = self._deletions.pending_successors()
        if deletion.successors:
            yield from self._accept(deletion.successors, sorted(deletion.paths))
            self._deletions.restore(deletion.paths)

    def _may_exist(self, path: str) -> bool:
        """Return whether there may be a file at ``path`` that was not examined yet."""
        if self._deletions.may_exist(path):
            return True
        return not self._comparison.is_missing(path) and self.directory.link_above(path) is None


def _is_unreadable_directory(entry: Entry) -> bool:
    return entry.is_unreadable and entry.path.endswith("/")
