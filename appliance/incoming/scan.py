"""Brings the catalog up to a packages directory, or to a part of it: what is new comes in, what was
deleted goes."""

from collections.abc import Generator, Iterator, Sequence, Set
from dataclasses import dataclass, field

from appliance.catalog.database import Catalog
from appliance.catalog.readiness import FULLY, PARTLY, scan_mark
from appliance.errors import PyindexError
from appliance.incoming.comparison import Comparison, Part, is_package
from appliance.incoming.deletions import Deletions
from appliance.incoming.directory import PackagesDirectory, Walked
from appliance.incoming.entries import Entry, complete_name
from appliance.incoming.intake import Intake
from appliance.incoming.postponed import Postponed
from appliance.incoming.signatures import Signatures
from appliance.index.names import SIGNATURE
from appliance.spec import Spec

EVERYTHING = frozenset({""})

# New files are accepted together up to so many, since to begin costs something.
_TOGETHER = 20_000


@dataclass
class _Progress:
    """How far a scan has come.

    Attributes:
        new: Files that are to be accepted next.
        parts: The parts that they were found in.
        gone: Paths of what seems to be gone.
        has_unreadable: Whether there are directories that cannot be read.
    """

    new: list[Entry] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    has_unreadable: bool = False

    def drop(self) -> None:
        """Leave what is not accepted yet to the next scan."""
        self.new, self.parts = [], []


class Scanner:
    """Brings the catalog up to what is in one index's packages directory.

    ``confirmed`` says that whatever is gone was deleted, however much it is.

    Attributes:
        walked: What the last scan met that came to its end.
        seen: How many entries, of the scan that runs or of the last.
        pauses: Whether a scan is about to take something for a deletion: that it moved may be told
            by the system until it goes on.
        is_noted: Whether the catalog knows that the packages directory was scanned in full.
    """

    def __init__(self, spec: Spec, catalog: Catalog, index: str, confirmed: bool = False) -> None:
        self.index, self._spec, self._catalog = index, spec, catalog
        self.directory = PackagesDirectory(spec.indexes[index].packages)
        self.walked = Walked()
        self.seen = 0
        self.pauses = False
        self.is_noted = False
        self._is_partial = False  # the last scan could not see all there may be

        self._comparison = Comparison(catalog, index, self.directory)
        self._deletions = Deletions(spec, catalog, index, self.directory, confirmed)
        self._intake = Intake(spec, catalog, index, self.directory, self._may_be_there)
        self._postponed = Postponed(catalog, index, spec.server.reconcile.total_seconds())
        self._signatures = Signatures(catalog, index, self.directory)

    @property
    def waiting(self) -> frozenset[str]:
        """Paths of files that somebody may still be writing to; scan them again soon."""
        return self._postponed.written

    @property
    def troubles(self) -> list[str]:
        """What the last scan did not take for deletions, in words."""
        return self._deletions.troubles

    def missing(self) -> list[str]:
        """The directories whose disk is away, see :meth:`Mounts.missing`."""
        return self._deletions.mounts.missing()

    # --- a part of the directory ---------------------------------------------------------------

    def scan_paths(
        self,
        paths: Set[str] = EVERYTHING,
        is_event: bool = False,
        again: bool = False,
        removes: bool = True,
    ) -> Generator[None, None, None]:
        """Compare the packages directory at and below ``paths`` with the catalog.

        ``is_event`` says that the system told of these paths, so that their files may be half
        written; ``again`` examines every file again; unless it ``removes``, what is gone is left
        for a scan, as it may have moved to where no event comes from. Yields after each
        transaction. Raises :class:`DirectoryMissing` if the directory is not there, and then
        changes nothing.
        """
        if "" in paths:
            yield from (None for _ in self.scan(again))
            return

        paths = paths | {complete_name(path) for path in paths}
        paths = paths | {path + SIGNATURE for path in paths if is_package(path)}
        part = self._comparison.part_at(paths)
        new, gone = self._compare(part, again)
        settled = [each for each in new if again or self._postponed.is_settled(each, is_event)]

        gone = gone - self._deletions.pending if removes else set()
        if gone := {path for path in gone if self._comparison.is_gone(path)}:
            yield from self._remove(gone, [entry.path for entry in settled], is_full_scan=False)
        yield from self._accept(settled)
        if removes:
            yield from self._replace_pending()
        self._signatures.match(part, self._comparison.signed_at(paths))
        yield

    # --- all of it -----------------------------------------------------------------------------

    def scan(self, again: bool = False) -> Generator[bool, None, None]:
        """Compare the whole packages directory with the catalog, in the order of its paths and in
        slices.

        Yields after each slice, ``True`` if the catalog has changed. What is gone is removed at the
        end: it may have moved to where the scan comes later. Otherwise as :meth:`scan_paths`.
        """
        self.pauses = False
        self._deletions.check_mounted()
        unmounted = self._deletions.mounts.note(self._deletions.has_files)

        walked, progress = Walked(), _Progress()
        yield from self._scan_slices(walked, progress, again)
        if gone := {path for path in progress.gone if self._comparison.is_gone(path)}:
            self.pauses = True
            yield False
            self.pauses = False

        self._deletions.begin()
        yield from (True for _ in self._remove(gone, [], is_full_scan=True))
        has_unknown = self._deletions.remember_mounts(unmounted)
        self._is_partial = progress.has_unreadable or has_unknown
        yield from self._journal_missed()
        self.walked = walked

    def _scan_slices(
        self, walked: Walked, progress: _Progress, again: bool
    ) -> Generator[bool, None, None]:
        self.seen, after, failure = 0, "", None
        for entries, upto in self._comparison.slices(walked):
            try:
                part = self._comparison.part_between(entries, after, upto, walked)
                is_last = self._add(progress, part, again) or upto is None
                if is_last or len(progress.new) >= _TOGETHER:
                    yield from self._accept_progress(progress)
            except (OSError, PyindexError):
                raise
            except Exception as error:  # a bug of ours that something in this slice brings out
                failure = failure or error
                progress.drop()

            progress.has_unreadable |= any(_is_unreadable_directory(each) for each in entries)
            self.seen += len(entries)
            after = upto or after
            yield False
        if failure is not None:
            raise failure

    def _add(self, progress: _Progress, part: Part, again: bool) -> bool:
        """Add what differs in a part; returns whether nothing in it is to be accepted now."""
        new, gone = self._compare(part, again)
        if not again:
            new = self._postponed.without_paused(new, part.known)
        settled = [each for each in new if again or self._postponed.is_settled(each, False)]
        progress.gone |= gone
        progress.new += settled
        progress.parts.append(part)
        return not settled

    def _accept_progress(self, progress: _Progress) -> Iterator[bool]:
        new, progress.new = progress.new, []
        yield from (True for _ in self._accept(new))
        for part in progress.parts:
            self._signatures.match(part, part.signed)
        progress.parts = []

    def _journal_missed(self) -> Iterator[bool]:
        """Let projects have pages of which the scan saw nothing but what is remembered."""
        with self._catalog.read() as reader:
            is_missed = bool(reader.pageless(self.index))
        if is_missed:
            with self._catalog.change() as change:
                change.miss(self.index)
            yield True

    def note_scan(self) -> bool:
        """Note in the catalog that the packages directory was scanned, in full or in part. What was
        known in full once stays so: files in what cannot be read now stay listed. Returns whether
        the catalog did not know it yet."""
        mark = scan_mark(self._spec, self.index)
        with self._catalog.read() as reader:
            before = reader.mark(mark)
        waiting = sorted(self.waiting) if before != FULLY else []
        if waiting:  # what is being copied keeps its name from the bases, too
            with self._catalog.change() as change:
                change.remember(self.index, waiting)
                change.count()
                change.miss(self.index)

        now = FULLY if before == FULLY or not self._is_partial else PARTLY
        self.is_noted = now == FULLY
        if now != before:
            self._catalog.set_mark(mark, now)
        return now != before

    # --- what comes in and goes ----------------------------------------------------------------

    def _compare(self, part: Part, again: bool) -> tuple[list[Entry], Set[str]]:
        """What is new or changed in a part, and the paths of what seems to be gone."""
        difference = self._comparison.compare(part, again)
        self._deletions.restore(difference.away | part.entries.keys())
        self._postponed.forget(difference.new, part.covers)
        return difference.new, difference.gone

    def _accept(
        self, entries: list[Entry], replaced: Sequence[str] = (), expected: Sequence[str] = ()
    ) -> Iterator[None]:
        if not entries:
            return
        # No file comes in from a disk that is not remembered.
        self._deletions.mounts.note(self._deletions.has_files)
        for changing in self._intake.accept(entries, replaced, expected):
            for path in changing:
                self._postponed.add(path)
            yield

    def _remove(
        self, gone: Set[str], expected: Sequence[str], is_full_scan: bool
    ) -> Iterator[None]:
        """Remove what is no longer there. A file that was rejected as a duplicate of one of these
        takes its place in the same transaction; what is ``expected``, or is still being written,
        keeps the projects meanwhile."""
        deletion = self._deletions.judge(gone, is_full_scan)
        expected = sorted({*expected, *self.waiting} - deletion.paths)
        if deletion.successors:
            yield from self._accept(deletion.successors, sorted(deletion.paths), expected)
        elif deletion.paths:
            with self._catalog.change() as change:
                change.remove(self.index, sorted(deletion.paths))
                change.remember(self.index, expected)
            yield

    def _replace_pending(self) -> Iterator[None]:
        """Let files that came elsewhere take the place of pending deletions."""
        deletion = self._deletions.pending_successors()
        if deletion.successors:
            yield from self._accept(deletion.successors, sorted(deletion.paths))
            self._deletions.restore(deletion.paths)

    def _may_be_there(self, path: str) -> bool:
        """Whether a file that nobody has examined may be at ``path``."""
        if self._deletions.may_be_there(path):
            return True
        return not self._comparison.is_gone(path) and self.directory.link_above(path) is None


def _is_unreadable_directory(entry: Entry) -> bool:
    return entry.is_unreadable and entry.path.endswith("/")
