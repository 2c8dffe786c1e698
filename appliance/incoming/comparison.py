"""A packages directory, or a part of it, compared with the catalog: what is new or changed, what
moved, what seems to be gone."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from appliance.catalog.database import Catalog
from appliance.incoming.directory import PackagesDirectory, Walked
from appliance.incoming.entries import PARTIAL_ENDINGS, Entry, unfinished
from appliance.index.model import Stat
from appliance.index.names import ENDINGS, SIGNATURE

# So many entries are compared at a time; what else there is to do waits no longer.
_SLICE = 500
# Where so many inodes changed, and nothing else, the file system has numbered its files anew.
_MANY = 10


@dataclass(frozen=True)
class Part:
    """A part of a packages directory, and what the catalog knows of it.

    Attributes:
        entries: What is there, by path.
        known: What the catalog has, by path, see :meth:`Reader.stats`.
        covers: Whether a path is in this part.
        signed: The paths of files that had a signature.
        unfinished: The paths of files that are being downloaded, if a walk has told them.
    """

    entries: Mapping[str, Entry]
    known: Mapping[str, Stat | None]
    covers: Callable[[str], bool]
    signed: Set[str] = frozenset()
    unfinished: Set[str] | None = None

    def signatures(self) -> dict[str, Entry]:
        """What may be the signatures of something, by path."""
        return {path: entry for path, entry in self.entries.items() if _is_signature(entry)}

    def is_new(self, entry: Entry) -> bool:
        """Whether the catalog does not know a file as it is now."""
        if entry.is_unreadable and entry.path in self.known:
            return False
        return self.known.get(entry.path) != entry.stat


@dataclass(frozen=True)
class Difference:
    """What is new or changed in a part of a packages directory, and not only elsewhere; the paths
    that files moved ``away`` from; the paths of what seems to be ``gone``."""

    new: list[Entry]
    away: Set[str]
    gone: Set[str]


class Comparison:
    """Compares parts of the packages directory of one index with the catalog."""

    def __init__(self, catalog: Catalog, index: str, directory: PackagesDirectory) -> None:
        self._catalog, self._index, self._directory = catalog, index, directory

    # --- parts ---------------------------------------------------------------------------------

    def slices(self, walked: Walked) -> Iterator[tuple[list[Entry], str | None]]:
        """All entries in portions, each with the path that it reaches up to, the last with
        ``None``. A file and its signature are in one."""
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

    def part_between(
        self, entries: Sequence[Entry], after: str, upto: str | None, walked: Walked
    ) -> Part:
        """The part of paths after ``after``, up to and with ``upto`` or to the end."""
        with self._catalog.read() as reader:
            known = reader.stats_between(self._index, after, upto)
            signed = reader.signed_between(self._index, after, upto)
        by_path = {entry.path: entry for entry in entries}
        return Part(by_path, known, _between(after, upto), signed, walked.unfinished)

    def part_at(self, paths: Set[str]) -> Part:
        """The part at and below ``paths``. Its ``signed`` is not asked for, see
        :meth:`signed_at`."""
        entries = {
            entry.path: entry for path in sorted(paths) for entry in self._directory.entries(path)
        }
        return Part(entries, self._known(paths, entries), lambda path: covers(paths, path))

    def _known(self, paths: Set[str], entries: Mapping[str, Entry]) -> dict[str, Stat | None]:
        """What is known at and below ``paths``. What is nowhere is looked for once more after every
        change that has begun: a file that was just deleted may be about to be accepted."""
        files = [path for path in paths if is_package(signed_by(path))]
        others = paths - set(files)
        with self._catalog.read() as reader:
            known = reader.stats_at(self._index, files) | reader.stats(self._index, others)
        if all(path in entries or path in known or path.endswith(SIGNATURE) for path in paths):
            return known
        with self._catalog.change() as change:
            return change.stats_at(self._index, files) | change.stats(self._index, others)

    def signed_at(self, paths: Set[str]) -> set[str]:
        """The paths of files with a signature, at and below ``paths``."""
        files = {path for path in paths if is_package(path)}
        directories = {signed_by(path) for path in paths} - files
        with self._catalog.read() as reader:
            signed = reader.signed_at(self._index, sorted(files))
            return signed | reader.signed(self._index, directories)

    # --- what differs --------------------------------------------------------------------------

    def compare(self, part: Part, again: bool) -> Difference:
        """What is new in a part, once moves were followed in the catalog; with ``again`` everything
        is new."""
        files = [entry for entry in part.entries.values() if not _is_signature(entry)]
        new = [entry for entry in files if again or part.is_new(entry)]
        if not again:
            new = self._renumber(new, part)

        new = [unfinished(each.path) if self._is_unfinished(each, part) else each for each in new]
        moves = self._follow_moves(new)
        arrived = set() if again else set(moves.values())
        return Difference(
            new=[entry for entry in new if entry.path not in arrived],
            away=moves.keys(),
            gone=part.known.keys() - part.entries.keys() - moves.keys(),
        )

    def is_gone(self, path: str) -> bool:
        """Whether there is nothing now at a path at which nothing was found."""
        if path.endswith("/"):  # a directory that could not be read
            return True
        first = next(self._directory.entries(path), None)
        if first is None or first.path == path:
            return first is None
        return not (first.is_unreadable and path.startswith(first.path.rstrip("/") + "/"))

    def _renumber(self, new: list[Entry], part: Part) -> list[Entry]:
        """Where most inodes changed and nothing else, the file system numbers its files anew (sshfs
        at each mount): what is known of them stays. Returns the entries that this is not true of.
        """
        numbers = {
            entry.path: entry.inode
            for entry in new
            if entry.problem is None and _has_other_inode(entry, part.known.get(entry.path))
        }
        if len(numbers) < _MANY or 2 * len(numbers) <= len(part.known.keys() & part.entries.keys()):
            return new
        with self._catalog.change() as change:
            change.renumber(self._index, numbers)
        return [entry for entry in new if entry.path not in numbers]

    def _follow_moves(self, new: Sequence[Entry]) -> dict[str, str]:
        """Recognise files that only changed their directory; returns their new paths by old."""
        by_name = {filename(entry.path): entry for entry in new if entry.problem is None}
        if not by_name:
            return {}

        with self._catalog.read() as reader:
            places = reader.places(self._index, list(by_name))
        moves = {
            old: by_name[name].path
            for name, (old, stat) in places.items()
            if old != by_name[name].path and stat == by_name[name].stat and self.is_gone(old)
        }
        if not moves:
            return {}
        with self._catalog.change() as change:
            moved = change.move(self._index, moves)
        return {old: new_path for old, new_path in moves.items() if new_path in moved}

    def _is_unfinished(self, entry: Entry, part: Part) -> bool:
        """Whether somebody is still downloading a file: whoever does has another beside it
        meanwhile, whatever the first one looks like (aria2 gives it its full size at once)."""
        if entry.problem is not None:
            return False
        if part.unfinished is not None:
            return entry.path in part.unfinished
        path = f"{self._directory.root}/{entry.path}"
        return any(os.path.lexists(path + ending) for ending in PARTIAL_ENDINGS)


def _is_signature(entry: Entry) -> bool:
    return entry.problem is None and entry.path.endswith(SIGNATURE)


def _has_other_inode(entry: Entry, known: Stat | None) -> bool:
    return known is not None and known[:2] == entry.stat[:2]


def _between(after: str, upto: str | None) -> Callable[[str], bool]:
    return lambda path: path > after and (upto is None or path <= upto)


# --- paths ---------------------------------------------------------------------------------------


def filename(path: str) -> str:
    """The last component of a path."""
    return path.rpartition("/")[2]


def is_package(path: str) -> bool:
    """Whether a path is named like a package file, which nothing is below."""
    return path.lower().endswith(ENDINGS)


def signed_by(path: str) -> str:
    """The path of the file that a signature at ``path`` would sign."""
    return path.removesuffix(SIGNATURE)


def covers(tops: Iterable[str], path: str) -> bool:
    """Whether ``path`` is one of the paths ``tops``, or below one; all is below ``""``."""
    return any(not top or path == top or path.startswith(f"{top}/") for top in tops)
