"""What is gone from a packages directory, and what of that is not taken for a deletion: a disk that
is away or hidden, a directory that became a link, most of an index at once."""

import logging
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from appliance.catalog.database import Catalog
from appliance.catalog.reader import Reader
from appliance.catalog.readiness import FULLY, scan_mark, vanished_mark
from appliance.incoming.comparison import covers, filename
from appliance.incoming.directory import DirectoryMissing, PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.mounts import Mounts
from appliance.spec import Spec

log = logging.getLogger(__name__)

# As many files as these, and more than half of an index, are not deleted at once by intention.
_MANY = 10


@dataclass(frozen=True)
class Deletion:
    """The paths of files that are to be forgotten, and rejected files that take the place of some
    of them."""

    paths: Set[str] = frozenset()
    successors: list[Entry] = field(default_factory=list)


class Deletions:
    """Decides what of one index was deleted.

    ``confirmed`` says that whatever is gone was deleted, however much it is.

    Attributes:
        mounts: The file systems that the packages directory was on.
        pending: Paths that are gone, and stay listed until somebody confirms their deletion.
        troubles: What was not taken for a deletion, in words, since :meth:`begin`.
    """

    def __init__(
        self,
        spec: Spec,
        catalog: Catalog,
        index: str,
        directory: PackagesDirectory,
        confirmed: bool,
    ) -> None:
        self._spec, self._catalog, self._index = spec, catalog, index
        self._directory, self._confirmed = directory, confirmed
        self.mounts = Mounts(spec, index, directory)
        self.pending: set[str] = set()
        self.troubles: list[str] = []
        self._unmounted: set[str] = set()  # without their disk, where there were files
        self._covering: set[str] = set()  # with another disk over what was there

    def begin(self) -> None:
        """Forget the troubles of the last scan."""
        self.troubles = []
        self._unmounted = set()

    def judge(self, gone: Set[str], is_full_scan: bool) -> Deletion:
        """What of the paths ``gone`` somebody deleted, by all that we can tell, or is replaced."""
        self._unmounted, self._covering = set(), set()
        if self._confirmed or self._is_said_to_be_empty():
            self._set_pending(set(), 0)
            return Deletion(gone, self._successors(gone))

        gone = self._without_covered(self._without_unmounted(gone))
        successors = self._successors(gone)
        replaced = _named_like(successors, gone)
        rest = self._without_linked(gone - replaced)
        return Deletion(replaced | self._without_many(rest, is_full_scan), successors)

    def _successors(self, gone: Set[str]) -> list[Entry]:
        """What was rejected only for a file at one of the paths ``gone``."""
        if not gone:
            return []
        with self._catalog.read() as reader:
            duplicates = reader.duplicates(self._index)
            names = {filename(each.path) for each in duplicates}
            paths = [path for path in gone if filename(path) in names] if names else []
            known = reader.accepted_at(self._index, paths) | reader.unseen_at(self._index, paths)

        names = {filename(path) for path in known}
        return [
            entry
            for each in duplicates
            if filename(each.path) in names and each.path not in gone
            if (entry := self._directory.entry(each.path))
            if self._directory.link_above(entry.path) is None
        ]

    # --- disks that are away or hidden ---------------------------------------------------------

    def check_mounted(self) -> None:
        """Raise :class:`DirectoryMissing` for a directory that is not the one of last time, and has
        nothing in it where there were files: it is where a disk was mounted."""
        self._directory.identity()
        if self._confirmed or "" not in self.mounts.missing() or not self._directory.is_empty():
            return
        with self._catalog.read() as reader:
            is_known = reader.mark(scan_mark(self._spec, self._index)) == FULLY
            has_files = reader.counts(self._index)[1] or reader.rejected_count(self._index)
        if not is_known or has_files:
            raise DirectoryMissing(
                f"packages directory {self._directory.root}: empty, and a different directory than"
                " before (disk not mounted?); mount the disk, or create a file named .empty in it"
                " if it is meant to be empty"
            )

    def may_be_there(self, path: str) -> bool:
        """Whether a path may have a file that cannot be seen now: its disk is away."""
        return covers(self.mounts.missing(), path)

    def remember_mounts(self, unmounted: Set[str]) -> bool:
        """Remember what is mounted at the end of a scan, at whose beginning the file systems at the
        paths ``unmounted`` were away. Returns whether some are of which nothing is known."""
        away = self._unknown()
        missing = self._unmounted | away
        self.mounts.remember(missing, unmounted - missing, sorted(self._covering))
        return bool(away)

    def has_files(self, path: str) -> bool:
        """Whether files are known at or below a path."""
        below = f"{path}/" if path else ""
        with self._catalog.read() as reader:
            files = reader.files_after(self._index, below, 1)
        return any(file.path.startswith(below) for file in files)

    def _unknown(self) -> set[str]:
        """Where a disk is away before the catalog knows what is on it."""
        with self._catalog.read() as reader:
            is_known = reader.mark(scan_mark(self._spec, self._index)) == FULLY
        if is_known or self._confirmed:
            return set()

        away = set(self.mounts.missing())
        for path in sorted(away - self._unmounted):
            self._add_trouble(
                f"{self._directory.root / path}: disk not mounted, and its files are not known;"
                f" mount it, or run {self._confirmation} if it was removed permanently"
            )
        return away

    def _without_unmounted(self, gone: Set[str]) -> Set[str]:
        """Those of the paths ``gone`` that are not below a directory whose disk is away."""
        for top in self.mounts.missing() if gone else ():
            kept = {path for path in gone if covers((top,), path)}
            if kept:
                self._unmounted.add(top)
                self._add_trouble(
                    f"{self._directory.root / top}: disk not mounted, its {len(kept):,} files"
                    f" remain listed; mount it, or run {self._confirmation} if it was removed"
                    " permanently"
                )
            gone = gone - kept
        return gone

    def _without_covered(self, gone: Set[str]) -> Set[str]:
        """Those of the paths ``gone`` over which nothing has been mounted."""
        for top in self.mounts.covered() if gone else ():
            kept = {path for path in gone if covers((top,), path)}
            if kept:
                self._covering.add(top)
                self._add_trouble(
                    f"{self._directory.root / top}: the file system mounted there hides"
                    f" {len(kept):,} files, which remain listed; unmount it, or run"
                    f" {self._confirmation} if they were deleted"
                )
            gone = gone - kept
        return gone

    # --- links ---------------------------------------------------------------------------------

    def _without_linked(self, gone: Set[str]) -> Set[str]:
        """Those of the paths ``gone`` that are not behind a link, which a directory gave way to.
        Files that are cannot be fetched, but nobody deleted them: they are remembered, with their
        projects."""
        directories = {path.rpartition("/")[0] for path in gone}
        links = {each: self._directory.link_above(f"{each}/") for each in directories}
        linked = {path: link for path in gone if (link := links[path.rpartition("/")[0]])}
        if not linked:
            return gone

        with self._catalog.read() as reader:
            kept = reader.unseen_at(self._index, list(linked))
        if new := sorted(linked.keys() - kept):
            with self._catalog.change() as change:
                kept |= change.lose_sight(self._index, new)
        for link, count in Counter(linked[path] for path in kept).items():
            self._add_trouble(
                f"{self._directory.root / link}: now a symbolic link, which is not followed, so"
                f" that {count:,} files are unreachable; replace it with a directory, or remove it"
            )
        return gone - linked.keys()

    # --- most of an index at once --------------------------------------------------------------

    def _without_many(self, gone: Set[str], is_full_scan: bool) -> Set[str]:
        """Nothing of the paths ``gone`` if they are most of the index, and nobody confirmed it."""
        with self._catalog.read() as reader:
            paths = list(gone)
            files = len(reader.accepted_at(self._index, paths))
            files += len(reader.unseen_at(self._index, paths))
            has_pending = reader.mark(vanished_mark(self._index)) > 0
            listed = reader.counts(self._index)[1] + reader.unseen(self._index)

        is_most = files >= _MANY and 2 * files > listed
        if is_most or (is_full_scan and files and has_pending):
            self._set_pending(set(gone) if is_full_scan else gone | self.pending, files)
            return set()
        if is_full_scan:
            self._set_pending(set(), 0)
        return gone

    def pending_successors(self) -> Deletion:
        """What takes the place of pending deletions, and of which."""
        successors = self._successors(self.pending)
        return Deletion(_named_like(successors, self.pending), successors)

    def restore(self, paths: Set[str]) -> None:
        """Let these paths be pending no longer: their files are back, or were replaced."""
        if self.pending.isdisjoint(paths):
            return
        self.pending -= paths
        with self._catalog.read() as reader:
            is_confirmed = not reader.mark(vanished_mark(self._index))
        if is_confirmed:  # by another process, all of them
            self.pending = set()
        self._set_pending(self.pending, len(self.pending))

    def _set_pending(self, gone: Set[str], files: int) -> None:
        """Keep what is gone listed until its deletion is confirmed, or it is back."""
        self.pending = set(gone)
        with self._catalog.read() as reader:
            before = reader.mark(vanished_mark(self._index))
            text = vanished(reader, self._index, files)
        if before != files:
            self._catalog.set_mark(vanished_mark(self._index), files)
        if files and not before:
            log.error("%s: %s", self._index, text)

    # --- what people say, and are told ---------------------------------------------------------

    @property
    def _confirmation(self) -> str:
        return f"`pyindex confirm-deletions --index {self._index}`"

    def _is_said_to_be_empty(self) -> bool:
        has_mark = (self._directory.root / ".empty").exists()
        return has_mark and next(self._directory.walk(), None) is None

    def _add_trouble(self, text: str) -> None:
        if text not in self.troubles:
            self.troubles.append(text)


def vanished(reader: Reader, index: str, files: int) -> str:
    """What people are told of files that are gone all at once."""
    return (
        f"{files:,} of {reader.counts(index)[1] + reader.unseen(index):,} files vanished in bulk,"
        " and remain listed as pending deletions; if they were deleted intentionally, run"
        f" `pyindex confirm-deletions --index {index}`"
    )


def _named_like(entries: Sequence[Entry], paths: Set[str]) -> set[str]:
    """Those of ``paths`` that have the file name of one of ``entries``."""
    names = {filename(entry.path) for entry in entries}
    return {path for path in paths if filename(path) in names}
