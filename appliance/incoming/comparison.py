"""Comparison of a packages directory, or a section of it, with the catalog: new and changed files,
moved files, missing files."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from appliance.catalog.database import Catalog
from appliance.incoming.arriving import Arrivals, Arriving
from appliance.incoming.directory import PackagesDirectory, Walked
from appliance.incoming.entries import PARTIAL_ENDINGS, Entry, unfinished
from appliance.index.model import Stat
from appliance.index.names import ENDINGS, SIGNATURE

# Entries that are compared at a time; other work need not wait longer than for these.
_SLICE = 500
# If at least so many inodes changed, and nothing else, the file system has renumbered its files.
_MANY = 10


@dataclass(frozen=True)
class Section:
    """Section of a packages directory, with the files that the catalog has in it.

    Attributes:
        entries: The entries of the directory by path.
        known: The files in the catalog by path, see :meth:`Reader.stats`.
        covers: A function that returns whether a path is in this section.
        signed: The paths of files that had a signature.
        unfinished: The paths of files that are being downloaded, if a walk has recorded them.
    """

    entries: Mapping[str, Entry]
    known: Mapping[str, Stat | None]
    covers: Callable[[str], bool]
    signed: Set[str] = frozenset()
    unfinished: Set[str] | None = None

    def signatures(self) -> dict[str, Entry]:
        """Return the entries that are named like signatures, by path."""
        return {path: entry for path, entry in self.entries.items() if _is_signature(entry)}

    def is_new(self, entry: Entry) -> bool:
        """Return whether the catalog lacks a file, or has it with another size, mtime or inode."""
        if entry.is_unreadable and entry.path in self.known:
            return False
        return self.known.get(entry.path) != entry.stat


@dataclass(frozen=True)
class Difference:
    """Entries of a section that are new or changed, except moved ones; the former paths of
    ``moved`` files; the paths of ``missing`` files."""

    new: list[Entry]
    moved: Set[str]
    missing: Set[str]


class Comparison:
    """Compares sections of the packages directory of one index with the catalog."""

    def __init__(
        self, catalog: Catalog, index: str, directory: PackagesDirectory, arriving: Arriving
    ) -> None:
        self._catalog, self._index, self._directory = catalog, index, directory
        self._arriving = arriving

    # --- sections ------------------------------------------------------------------------------

    def slices(self, walked: Walked) -> Iterator[tuple[list[Entry], str | None]]:
        """Yield all entries in portions, each with its last path, the last portion with ``None``. A
        file and its signature are in the same portion."""
        portion, signable = list[Entry](), ""
        for entry in self._directory.walk(walked):
            is_signature = signable and entry.path.startswith(signable)
            if len(portion) >= _SLICE and not is_signature:
                yield portion, portion[-1].path
                portion = []
            if not is_signature:
                signable = entry.path if is_package(entry.path) else ""
            portion.append(entry)
        yield portion, None

    def section_between(
        self, entries: Sequence[Entry], after: str, upto: str | None, walked: Walked
    ) -> Section:
        """Return the section of paths after ``after``, up to and including ``upto``, or to the end
        for ``None``."""
        arriving = self._arriving.read()
        with self._catalog.read() as reader:
            known = reader.stats_between(self._index, after, upto)
            signed = reader.signed_between(self._index, after, upto)
        by_path = _without_arriving(entries, arriving, known)
        return Section(by_path, known, _between(after, upto), signed, walked.unfinished)

    def section_at(self, paths: Set[str]) -> Section:
        """Return the section at and below ``paths``, without ``signed``: see :meth:`signed_at`."""
        entries = {
            entry.path: entry for path in sorted(paths) for entry in self._directory.entries(path)
        }
        arriving = self._arriving.read()
        known = self._known(paths, entries)
        entries = _without_arriving(entries.values(), arriving, known)
        return Section(entries, known, lambda path: covers(paths, path))

    def _known(self, paths: Set[str], entries: Mapping[str, Entry]) -> dict[str, Stat | None]:
        """Return the files that the catalog has at and below ``paths``.

        For a path without file in directory and catalog, wait for transactions that have begun: one
        may be about to accept a file that was just deleted.
        """
        files = [path for path in paths if is_package(signed_by(path))]
        others = paths - set(files)
        with self._catalog.read() as reader:
            known = reader.stats_at(self._index, files) | reader.stats(self._index, others)
        if all(path in entries or path in known or path.endswith(SIGNATURE) for path in paths):
            return known

        with self._catalog.change() as change:
            return change.stats_at(self._index, files) | change.stats(self._index, others)

    def signed_at(self, paths: Set[str]) -> set[str]:
        """Return the paths of files with a signature in the catalog, at and below ``paths``."""
        files = {path for path in paths if is_package(path)}
        directories = {signed_by(path) for path in paths} - files
        with self._catalog.read() as reader:
            signed = reader.signed_at(self._index, sorted(files))
            return signed | reader.signed(self._index, directories)

    # --- differences ---------------------------------------------------------------------------

    def compare(self, section: Section, reread: bool) -> Difference:
        """Return the difference of a section, after applying moves to the catalog; with ``reread``
        all files are new."""
        files = [entry for entry in section.entries.values() if not _is_signature(entry)]
        new = [entry for entry in files if reread or section.is_new(entry)]
        if not reread:
            new = self._renumber(new, section)

        new = [self._checked(entry, section) for entry in new]
        moves = self._apply_moves(new)
        targets = set() if reread else set(moves.values())
        return Difference(
            new=[entry for entry in new if entry.path not in targets],
            moved=moves.keys(),
            missing=section.known.keys() - section.entries.keys() - moves.keys(),
        )

    def is_missing(self, path: str) -> bool:
        """Return whether a path that had no entry before has none now either."""
        if path.endswith("/"):  # a directory that could not be read
            return True
        first = next(self._directory.entries(path), None)
        if first is None or first.path == path:
            return first is None
        return not (first.is_unreadable and path.startswith(first.path.rstrip("/") + "/"))

    def _renumber(self, new: list[Entry], section: Section) -> list[Entry]:
        """Update the catalog if most inodes changed, and nothing else; return the remaining
        entries. Some file systems renumber their files (sshfs at each mount)."""
        numbers = {
            entry.path: entry.inode
            for entry in new
            if entry.problem is None and _has_other_inode(entry, section.known.get(entry.path))
        }
        known = section.known.keys() & section.entries.keys()
        if len(numbers) < _MANY or 2 * len(numbers) <= len(known):
            return new

        with self._catalog.change() as change:
            change.renumber(self._index, numbers)
        return [entry for entry in new if entry.path not in numbers]

    def _apply_moves(self, new: Sequence[Entry]) -> dict[str, str]:
        """Move files in the catalog that changed only their directory; return their new paths by
        old path."""
        by_name = {filename(entry.path): entry for entry in new if entry.problem is None}
        if not by_name:
            return {}

        with self._catalog.read() as reader:
            known = reader.paths_of(self._index, list(by_name))
        moves = {
            old: by_name[name].path
            for name, (old, stat) in known.items()
            if old != by_name[name].path and stat == by_name[name].stat and self.is_missing(old)
        }
        if not moves:
            return {}

        with self._catalog.change() as change:
            moved = change.move(self._index, moves)
        return {old: new_path for old, new_path in moves.items() if new_path in moved}

    def _checked(self, entry: Entry, section: Section) -> Entry:
        return unfinished(entry.path) if self._is_unfinished(entry, section) else entry

    def _is_unfinished(self, entry: Entry, section: Section) -> bool:
        """Return whether a file is still being downloaded: the tool has a file with another ending
        beside it, even if the first has its full size at once (aria2)."""
        if entry.problem is not None:
            return False
        if section.unfinished is not None:
            return entry.path in section.unfinished
        path = f"{self._directory.root}/{entry.path}"
        return any(os.path.lexists(path + ending) for ending in PARTIAL_ENDINGS)


def _without_arriving(
    entries: Iterable[Entry], arriving: Arrivals, known: Mapping[str, Stat | None]
) -> dict[str, Entry]:
    """Return by path the entries that are not ``arriving``, or that the catalog has since. The
    arguments were read in their order: a file that has arrived meanwhile is known."""
    return {
        entry.path: entry
        for entry in entries
        if not arriving.has(entry) or signed_by(entry.path) in known
    }


def _is_signature(entry: Entry) -> bool:
    return entry.problem is None and entry.path.endswith(SIGNATURE)


def _has_other_inode(entry: Entry, known: Stat | None) -> bool:
    return known is not None and known[:2] == entry.stat[:2]


def _between(after: str, upto: str | None) -> Callable[[str], bool]:
    return lambda path: path > after and (upto is None or path <= upto)


# --- paths ---------------------------------------------------------------------------------------


def filename(path: str) -> str:
    """Return the last component of a path."""
    return path.rpartition("/")[2]


def is_package(path: str) -> bool:
    """Return whether a path is named like a package file, so that no path is below it."""
    return path.lower().endswith(ENDINGS)


def signed_by(path: str) -> str:
    """Return the path of the file that a signature at ``path`` signs."""
    return path.removesuffix(SIGNATURE)


def covers(tops: Iterable[str], path: str) -> bool:
    """Return whether ``path`` is one of ``tops`` or below one; all paths are below ``""``."""
    return any(not top or path == top or path.startswith(f"{top}/") for top in tops)
