"""Missing files of a packages directory, and which of them were deleted: not those on an unmounted
or hidden disk, in a directory that became a symbolic link, or most of an index at once."""

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
from appliance.text import counted

log = logging.getLogger(__name__)

# At least so many files, and more than half of an index, are not deleted without confirmation.
_MANY = 10


@dataclass(frozen=True)
class Deletion:
    """Paths of deleted files, and entries of rejected duplicates that replace some of them."""

    paths: Set[str] = frozenset()
    successors: list[Entry] = field(default_factory=list)


class Deletions:
    """Decides which missing files of one index were deleted.

    With ``confirmed`` all missing files were deleted, however many they are.

    Attributes:
        mounts: The mount points of the packages directory.
        pending: The paths of missing files that remain listed until an operator confirms their
            deletion.
        problems: Messages about missing files that were not deleted, since :meth:`begin`.
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
        self.problems: list[str] = []
        self._unmounted: set[str] = set()  # missing disks with files
        self._covering: set[str] = set()  # mount points that hide files

    def begin(self) -> None:
        """Forget the problems of the last scan."""
        self.problems = []
        self._unmounted = set()

    def judge(self, missing: Set[str], is_full_scan: bool) -> Deletion:
        """Return which of the paths ``missing`` were deleted or are replaced by duplicates."""
        self._unmounted, self._covering = set(), set()
        if self._confirmed or self._is_declared_empty():
            self._set_pending(set(), 0)
            return Deletion(missing, self._successors(missing))

        missing = self._without_covered(self._without_unmounted(missing))
        successors = self._successors(missing)
        replaced = _named_like(successors, missing)
        remaining = self._without_linked(missing - replaced)
        return Deletion(replaced | self._without_many(remaining, is_full_scan), successors)

    def _successors(self, missing: Set[str]) -> list[Entry]:
        """Return entries of duplicates that were rejected because of files at these paths."""
        if not missing:
            return []
        with self._catalog.read() as reader:
            duplicates = reader.duplicates(self._index)
            names = {filename(each.path) for each in duplicates}
            paths = [path for path in missing if filename(path) in names] if names else []
            known = reader.accepted_at(self._index, paths) | reader.unreachable_at(
                self._index, paths
            )

        names = {filename(path) for path in known}
        return [
            entry
            for each in duplicates
            if filename(each.path) in names and each.path not in missing
            if (entry := self._directory.entry(each.path))
            if self._directory.link_above(entry.path) is None
        ]

    # --- unmounted and hidden disks ------------------------------------------------------------

    def check_mounted(self) -> None:
        """Raise :class:`DirectoryMissing` for an empty directory that is not the one of the last
        scan, and had files: a disk was mounted there."""
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

    def may_exist(self, path: str) -> bool:
        """Return whether a path may have a file on a disk that is not mounted now."""
        return covers(self.mounts.missing(), path)

    def record_mounts(self, unmounted: Set[str]) -> bool:
        """Record the mount points at the end of a scan; ``unmounted`` are the paths of disks that
        were missing at its beginning. Return whether there are missing disks with unknown files."""
        unknown = self._unknown_disks()
        missing = self._unmounted | unknown
        self.mounts.record_all(missing, unmounted - missing, sorted(self._covering))
        return bool(unknown)

    def has_files(self, path: str) -> bool:
        """Return whether the catalog has files at or below a path."""
        below = f"{path}/" if path else ""
        with self._catalog.read() as reader:
            files = reader.files_after(self._index, below, 1)
        return any(file.path.startswith(below) for file in files)

    def _unknown_disks(self) -> set[str]:
        """Return the paths of missing disks if the catalog may not know their files."""
        with self._catalog.read() as reader:
            is_known = reader.mark(scan_mark(self._spec, self._index)) == FULLY
        if is_known or self._confirmed:
            return set()

        missing = set(self.mounts.missing())
        for path in sorted(missing - self._unmounted):
            self._add_problem(
                f"{self._directory.root / path}: disk not mounted, and its files are not known;"
                f" mount it, or run {self._confirmation} if it was removed permanently"
            )
        return missing

    def _without_unmounted(self, missing: Set[str]) -> Set[str]:
        """Return the paths that are not on a disk that is missing."""
        for top in self.mounts.missing() if missing else ():
            kept = {path for path in missing if covers((top,), path)}
            if kept:
                self._unmounted.add(top)
                self._add_problem(
                    f"{self._directory.root / top}: disk not mounted, with"
                    f" {counted(len(kept), 'listed file')}; mount it, or run {self._confirmation}"
                    " if it was removed permanently"
                )
            missing = missing - kept
        return missing

    def _without_covered(self, missing: Set[str]) -> Set[str]:
        """Return the paths that no mounted file system hides."""
        for top in self.mounts.covered() if missing else ():
            kept = {path for path in missing if covers((top,), path)}
            if kept:
                self._covering.add(top)
                self._add_problem(
                    f"{self._directory.root / top}: the file system mounted there hides"
                    f" {counted(len(kept), 'listed file')}; unmount it, or run"
                    f" {self._confirmation} if they were deleted"
                )
            missing = missing - kept
        return missing

    # --- links ---------------------------------------------------------------------------------

    def _without_linked(self, missing: Set[str]) -> Set[str]:
        """Return the paths that are not behind a symbolic link which replaced a directory. The
        files behind it cannot be served, but were not deleted: they are recorded as unreachable,
        and claim their projects."""
        directories = {path.rpartition("/")[0] for path in missing}
        links = {each: self._directory.link_above(f"{each}/") for each in directories}
        linked = {path: link for path in missing if (link := links[path.rpartition("/")[0]])}
        if not linked:
            return missing

        with self._catalog.read() as reader:
            kept = reader.unreachable_at(self._index, list(linked))
        if new := sorted(linked.keys() - kept):
            with self._catalog.change() as change:
                kept |= change.mark_unreachable(self._index, new)
        for link, count in Counter(linked[path] for path in kept).items():
            self._add_problem(
                f"{self._directory.root / link}: now a symbolic link, which is not followed;"
                f" {counted(count, 'file')} unreachable; replace it with a directory, or remove it"
            )
        return missing - linked.keys()

    # --- most of an index at once --------------------------------------------------------------

    def _without_many(self, missing: Set[str], is_full_scan: bool) -> Set[str]:
        """Return the paths, or none if they are most of the index and not confirmed."""
        with self._catalog.read() as reader:
            paths = list(missing)
            files = len(reader.accepted_at(self._index, paths))
            files += len(reader.unreachable_at(self._index, paths))
            has_pending = reader.mark(vanished_mark(self._index)) > 0
            listed = reader.counts(self._index)[1] + reader.unreachable_count(self._index)

        is_most = files >= _MANY and 2 * files > listed
        if is_most or (is_full_scan and files and has_pending):
            self._set_pending(set(missing) if is_full_scan else missing | self.pending, files)
            return set()
        if is_full_scan:
            self._set_pending(set(), 0)
        return missing

    def pending_successors(self) -> Deletion:
        """Return the duplicates that replace pending deletions, and the paths of these."""
        successors = self._successors(self.pending)
        return Deletion(_named_like(successors, self.pending), successors)

    def restore(self, paths: Set[str]) -> None:
        """Remove paths from the pending deletions: their files are back, or were replaced."""
        if self.pending.isdisjoint(paths):
            return
        self.pending -= paths
        with self._catalog.read() as reader:
            is_confirmed = not reader.mark(vanished_mark(self._index))
        if is_confirmed:  # all of them, by another process
            self.pending = set()
        self._set_pending(self.pending, len(self.pending))

    def _set_pending(self, missing: Set[str], files: int) -> None:
        """Make deletions pending until an operator confirms them or the files are back."""
        self.pending = set(missing)
        with self._catalog.read() as reader:
            before = reader.mark(vanished_mark(self._index))
            text = pending_text(reader, self._index, files)
        if before != files:
            self._catalog.set_mark(vanished_mark(self._index), files)
        if files and not before:
            log.error("%s: %s", self._index, text)

    # --- confirmation and reports --------------------------------------------------------------

    @property
    def _confirmation(self) -> str:
        return f"`pyindex confirm-deletions --index {self._index}`"

    def _is_declared_empty(self) -> bool:
        has_marker = (self._directory.root / ".empty").exists()
        return has_marker and next(self._directory.walk(), None) is None

    def _add_problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)


def pending_text(reader: Reader, index: str, files: int) -> str:
    """Format a message about ``files`` pending deletions."""
    listed = reader.counts(index).files + reader.unreachable_count(index)
    return (
        f"{files:,} of {listed:,} files vanished in bulk,"
        " and remain listed as pending deletions; if they were deleted intentionally, run"
        f" `pyindex confirm-deletions --index {index}`"
    )


def _named_like(entries: Sequence[Entry], paths: Set[str]) -> set[str]:
    """Return the paths that have the file name of one of ``entries``."""
    names = {filename(entry.path) for entry in entries}
    return {path for path in paths if filename(path) in names}
