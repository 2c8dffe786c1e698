"""A packages directory, or a part of it, compared with the catalog: what is new, what is gone."""

import time
from collections.abc import Iterable, Iterator, Set
from pathlib import PurePosixPath

from appliance.index.catalog import Catalog
from appliance.index.folder import Entry, Folder, FolderGone
from appliance.index.intake import Intake, log_refusal
from appliance.index.model import Refusal
from appliance.index.names import SIGNATURE
from appliance.index.reader import Stat
from appliance.index.readiness import scan_mark
from appliance.index.store import Site
from appliance.spec import Spec

# A file is taken in when nobody has written to it for this long ...
QUIET_SECONDS = 0.25
# ... which its mtime shows at a first look, unless that is so near that the clocks may differ.
_RECENT_SECONDS = 2.0

EVERYTHING = frozenset({""})


class Scanner:
    """Brings the catalog up to what is in one index's folder."""

    def __init__(self, spec: Spec, catalog: Catalog, index: str) -> None:
        self.index = index
        self._scanned = scan_mark(spec, index)
        self.folder = Folder(spec.indexes[index].packages)
        self._catalog = catalog
        self._intake = Intake(catalog, Site(spec), index, self.folder)
        self._waiting: dict[str, tuple[Stat, float]] = {}

    @property
    def waiting(self) -> frozenset[str]:
        """Paths of files that somebody may still be writing to; look at them again soon."""
        return frozenset(self._waiting)

    def look(
        self, under: Set[str] = EVERYTHING, heard: bool = False, again: bool = False
    ) -> Iterator[None]:
        """Compare the folder at and below the paths ``under`` with the catalog.

        ``heard`` says that an event named these paths, so that their files may be half written;
        ``again`` reads every file again. Yields whenever there is something to publish. Raises
        :class:`FolderGone` if the folder is not there, and then changes nothing.
        """
        found = {entry.path: entry for path in sorted(under) for entry in self.folder.look(path)}
        with self._catalog.read() as reader:
            known = reader.stats(self.index, under)
            inode = reader.mark(f"folder:{self.index}")
        if "" in under:
            self._recognise(inode, is_empty=bool(known) and not found)
        signatures = {
            path: found.pop(path)
            for path in list(found)
            if path.endswith(SIGNATURE) and found[path].problem is None
        }
        gone = _missing(known.keys() - found.keys() - signatures.keys(), found.values())
        new = [entry for path, entry in found.items() if again or known.get(path) != _stat(entry)]
        new = self._follow_moves(new, gone, known)
        for path in self.waiting - {entry.path for entry in new}:
            if _covers(under, path):
                del self._waiting[path]
        if self._forget(gone):
            yield
        settled = [entry for entry in new if again or self._is_settled(entry, heard)]
        for changing in self._intake.take_in(settled) if settled else ():
            for path in changing:
                self._waiting[path] = ((0, 0, 0), 0.0)
            yield
        if self._match_signatures(signatures, under):
            yield
        with self._catalog.read() as reader:
            is_known = reader.mark(self._scanned)
        if "" in under and not is_known:
            self._catalog.set_mark(self._scanned, 1)
            yield

    def _recognise(self, inode: int, is_empty: bool) -> None:
        """A directory that is not the one of last time, and has nothing in it where there were
        files, is the place where a disk was mounted. Nothing is taken down for that."""
        now = self.folder.inode()
        if is_empty and inode not in (0, now) and self.folder.is_bare():
            raise FolderGone(
                f"packages directory {self.folder.root} is empty, and not the one it was: mount the"
                " disk; if it is meant to be empty, make a file .empty in it"
            )
        if inode != now:
            self._catalog.set_mark(f"folder:{self.index}", now)

    def _is_settled(self, entry: Entry, heard: bool) -> bool:
        """Whether nobody seems to be writing to a file, judged by two looks at it."""
        now, stat = time.monotonic(), _stat(entry)
        before = self._waiting.get(entry.path)
        if entry.problem is not None:
            settled = True
        elif before is None and not heard:
            settled = abs(time.time() - entry.mtime_ns / 1e9) > _RECENT_SECONDS
        else:
            settled = before is not None and before[0] == stat and now - before[1] >= QUIET_SECONDS
        if settled:
            self._waiting.pop(entry.path, None)
        elif before is None or before[0] != stat:
            self._waiting[entry.path] = (stat, now)
        return settled

    def _follow_moves(
        self, new: list[Entry], gone: set[str], known: dict[str, Stat]
    ) -> list[Entry]:
        """Recognise files that only changed their directory; returns the entries that did not."""
        places = {(PurePosixPath(path).name, known[path]): path for path in gone}
        moves = {
            entry.path: places[key]
            for entry in new
            if (key := (PurePosixPath(entry.path).name, _stat(entry))) in places
        }
        if not moves:
            return new
        with self._catalog.change() as change:
            moved = {path for path, old in moves.items() if change.move(self.index, old, path)}
        gone.difference_update(moves[path] for path in moved)
        return [entry for entry in new if entry.path not in moved]

    def _forget(self, gone: set[str]) -> bool:
        """Remove what is no longer in the folder; files that were refused as its duplicates are
        then as good as new."""
        if not gone:
            return False
        with self._catalog.change() as change:
            removed = {file.filename for file in change.remove(self.index, sorted(gone))}
            duplicates = change.free(self.index, removed)
        for path in duplicates:
            self._waiting[path] = ((0, 0, 0), 0.0)
        return bool(removed)

    def _match_signatures(self, found: dict[str, Entry], under: Set[str]) -> bool:
        """Note which files have a signature beside them, and refuse those that sign nothing."""
        with self._catalog.read() as reader:
            signed = {
                path
                for path in reader.signed(self.index, map(_signed_by, under))
                if _covers(under, path + SIGNATURE)
            }
            loose = [p for p in found if not reader.file_at(self.index, _signed_by(p))]
            known = reader.stats(self.index, under)
        new = {_signed_by(path) for path in found if path not in loose} - signed
        old = signed - {_signed_by(path) for path in found}
        orphans = [_orphan(found[path]) for path in loose if known.get(path) != _stat(found[path])]
        if not new and not old and not orphans:
            return False
        with self._catalog.change() as change:
            for path in sorted(new):
                change.sign(self.index, path, True)
            for path in sorted(old):
                change.sign(self.index, path, False)
            change.remove(self.index, [path + SIGNATURE for path in new])
            change.refuse(self.index, orphans)
        for refusal in orphans:
            log_refusal(self.index, refusal)
        return bool(new or old)


def _stat(entry: Entry) -> Stat:
    return entry.size, entry.mtime_ns, entry.inode


def _signed_by(path: str) -> str:
    return path.removesuffix(SIGNATURE)


def _orphan(entry: Entry) -> Refusal:
    reason = f"a signature without {PurePosixPath(_signed_by(entry.path)).name} beside it"
    return Refusal(entry.path, reason, *_stat(entry))


def _covers(under: Iterable[str], path: str) -> bool:
    return any(not top or path == top or path.startswith(f"{top}/") for top in under)


def _missing(paths: Iterable[str], found: Iterable[Entry]) -> set[str]:
    """Those of ``paths`` that are gone, and not just below a directory that cannot be read."""
    shut = [f"{entry.path}/" for entry in found if entry.problem is not None]
    return {path for path in paths if not any(path.startswith(top) for top in shut)}
