"""A packages directory, or a part of it, compared with the catalog: what is new, what is gone."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from appliance.catalog.database import Catalog
from appliance.catalog.queries import Stat
from appliance.catalog.reader import Reader
from appliance.catalog.readiness import FULLY, PARTLY, scan_mark, vanished_mark
from appliance.errors import PyindexError
from appliance.incoming.directory import PARTIAL, Entry, Folder, FolderGone, Tally, whole
from appliance.incoming.examine import KILLED
from appliance.incoming.intake import Intake, log_refusal
from appliance.incoming.mounts import Places
from appliance.index.model import Refusal
from appliance.index.names import ENDINGS, SIGNATURE
from appliance.site.tree import Site
from appliance.spec import Spec

log = logging.getLogger(__name__)

# A file is taken in when nobody has written to it for this long ...
QUIET_SECONDS = 0.25
# ... which its mtime shows at a first look, unless that is so near that the clocks may differ.
_RECENT_SECONDS = 2.0

EVERYTHING = frozenset({""})

# So many entries are compared at a time; what else there is to do waits no longer.
_SLICE = 500
# New files are taken in together up to so many, since to begin costs something.
_TOGETHER = 20_000
# As many files as these, and more than half of an index, are not deleted at once by intention.
_MANY = 10
_LONGEST_PUT_OFF_SECONDS = 86_400.0


class Scanner:
    """Brings the catalog up to what is in one index's folder.

    ``confirmed`` says that whatever is gone was deleted, however much it is.
    """

    def __init__(self, spec: Spec, catalog: Catalog, index: str, confirmed: bool = False) -> None:
        self.index, self._spec = index, spec
        self.folder = Folder(spec.indexes[index].packages)
        self.tally = Tally()  # of the last scan that came to its end
        self.seen = 0  # entries, of the scan that runs or of the last
        self.troubles: list[str] = []  # what was not taken for deletions, of the last scan
        self._catalog = catalog
        self._site = Site(spec)
        self._intake = Intake(catalog, self._site, index, self.folder, self._may_be_there)
        self._places = Places(spec, index, self.folder)
        self._waiting: dict[str, tuple[Stat, float]] = {}
        self._put_off: dict[str, tuple[float, float]] = {}  # until when, and how long after that
        self._held: set[str] = set()  # gone, and waiting for somebody to confirm it
        self._missing: list[str] = []  # places without their disk, of the last look
        self._hiding: list[str] = []  # places with another disk over what was there, likewise
        self._confirmed = confirmed
        self.pauses = False  # a scan: that something moved may be heard, before it is let go
        self._is_partial = False  # the last scan could not see all there may be
        self.is_noted = False  # that the folder was scanned in full

    @property
    def waiting(self) -> frozenset[str]:
        """Paths of files that somebody may still be writing to; look at them again soon."""
        return frozenset(self._waiting)

    def missing(self) -> list[str]:
        """The directories whose disk is away, see :meth:`Places.missing`."""
        return self._places.missing()

    def look(
        self,
        under: Set[str] = EVERYTHING,
        heard: bool = False,
        again: bool = False,
        lets_go: bool = True,
    ) -> Generator[None, None, None]:
        """Compare the folder at and below the paths ``under`` with the catalog.

        ``heard`` says that an event named these paths, so that their files may be half written;
        ``again`` reads every file again; unless it ``lets_go``, what is gone is left for a scan,
        as it may have moved to where nothing is heard from. Yields after each transaction. Raises
        :class:`FolderGone` if the folder is not there, and then changes nothing.
        """
        if "" in under:
            yield from (None for _ in self.scan(again))
            return
        under = under | {whole(path) for path in under}
        under = under | {path + SIGNATURE for path in under if _is_package(path)}
        found = {entry.path: entry for path in sorted(under) for entry in self.folder.look(path)}
        known = self._known_under(under, found)
        part = _Part(found, known, lambda path: _covers(under, path))
        held = len(self._held)
        new, gone = self._compare(part, again)
        if len(self._held) < held:  # some are back
            self._let_back()
        gone = {path for path in gone - self._held if lets_go and self._is_gone(path)}
        settled = [entry for entry in new if again or self._settled(entry, heard)]
        if gone:
            yield from self._forget(gone, [entry.path for entry in settled], whole=False)
        yield from self._take_in(settled)
        if lets_go:
            yield from self._replace_held()
        with self._catalog.read() as reader:
            files = {path for path in under if _is_package(path)}
            signed = reader.signed_at(self.index, sorted(files))
            signed |= reader.signed(self.index, {_signed_by(path) for path in under} - files)
        self._match_signatures(part, signed)
        yield

    def scan(self, again: bool = False) -> Generator[bool, None, None]:
        """Compare the whole folder with the catalog, in the order of its paths and in slices.

        Yields after each slice, ``True`` if files were taken in or let go. What is gone is let go
        at the end: it may have moved to where the scan comes later. Otherwise as :meth:`look`.
        """
        self.pauses = False
        self._recognise()
        unmounted = self._places.notice(self._has_files)
        tally, gone, new, parts = Tally(), set[str](), list[Entry](), list[_Part]()
        self.seen, after, failure, is_shut = 0, "", None, False
        for found, upto in _slices(self.folder.walk(tally)):
            try:
                part = self._part(found, after, upto, tally)
                some, missing = self._compare(part, again)
                some = [each for each in some if again or not self._is_put_off(each, part)]
                settled = [entry for entry in some if again or self._settled(entry, heard=False)]
                gone |= missing
                new += settled
                parts.append(part)
                if not settled or upto is None or len(new) >= _TOGETHER:
                    together, new = new, []
                    yield from (True for _ in self._take_in(together))
                    for each in parts:
                        self._match_signatures(each, each.signed)
                    parts = []
            except (OSError, PyindexError):
                raise
            except Exception as error:  # a bug of ours that something in this slice brings out
                failure, new, parts = failure or error, [], []
            is_shut = is_shut or any(each.shut and each.path.endswith("/") for each in found)
            self.seen += len(found)
            after = upto or after
            yield False
        if failure is not None:
            raise failure
        if gone := {path for path in gone if self._is_gone(path)}:
            self.pauses = True
            yield False
            self.pauses = False
        self.troubles = []
        self._missing = []
        yield from (True for _ in self._forget(gone, [], whole=True))
        away = self._away()
        missing = {*self._missing, *away}
        self._places.remember(missing, unmounted - missing, self._hiding)
        self._is_partial = is_shut or bool(away)
        with self._catalog.read() as reader:
            is_missed = bool(reader.pageless(self.index))
        if is_missed:
            with self._catalog.change() as change:
                change.miss(self.index)
            yield True
        self.tally = tally

    def note_scan(self) -> bool:
        """Note in the catalog that the folder was scanned, in full or in part. What was known in
        full once stays so: files in what cannot be read now stay listed. Returns whether the
        catalog did not know it yet."""
        mark = scan_mark(self._spec, self.index)
        with self._catalog.read() as reader:
            before = reader.mark(mark)
            waiting = sorted(self._waiting) if before != FULLY else []
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

    def _away(self) -> list[str]:
        """Places whose disk is away before the catalog knows what is on it."""
        with self._catalog.read() as reader:
            is_known = reader.mark(scan_mark(self._spec, self.index)) == FULLY
        if is_known or self._confirmed:
            return []
        away = self._places.missing()
        self.troubles += [
            f"no disk is mounted at {self.folder.root / place}, as there was, and what is on it is"
            " not known: mount it, or run"
            f" `pyindex confirm-deletions --index {self.index}` if it is meant to be gone"
            for place in away
            if place not in self._missing
        ]
        return away

    def _part(self, found: list[Entry], after: str, upto: str | None, tally: Tally) -> "_Part":
        with self._catalog.read() as reader:
            known = reader.stats_between(self.index, after, upto)
            signed = reader.signed_between(self.index, after, upto)
        covers = _between(after, upto)
        entries = {entry.path: entry for entry in found}
        return _Part(entries, known, covers, signed, tally.unfinished)

    # --- what differs --------------------------------------------------------------------------

    def _compare(self, part: "_Part", again: bool) -> tuple[list[Entry], set[str]]:
        """What is new or changed in a part of the folder, once moves were followed, and the paths
        of what seems to be gone."""
        files = part.files()
        new = [
            entry
            for path, entry in files.items()
            if again
            or (part.known.get(path) != _stat(entry) and not (entry.shut and path in part.known))
        ]
        if not again:
            new = self._renumber(new, part)
        new = [_unfinished(entry) if self._is_fetched(entry, part) else entry for entry in new]
        moved = self._follow_moves(new)
        self._held.difference_update(moved, part.found)
        if not again:
            places = set(moved.values())
            new = [entry for entry in new if entry.path not in places]
        names = {entry.path for entry in new}
        for path in self.waiting - names:
            if part.covers(path):
                del self._waiting[path]
        return new, part.known.keys() - part.found.keys() - moved.keys()

    def _known_under(self, under: Set[str], found: Mapping[str, Entry]) -> dict[str, Stat]:
        """What is known at and below the paths ``under``. What is nowhere is looked for once more
        after every change that has begun: a file that was just deleted may be about to come in."""
        files = [path for path in under if _is_package(_signed_by(path))]
        others = under - set(files)
        with self._catalog.read() as reader:
            known = reader.stats_at(self.index, files) | reader.stats(self.index, others)
        if all(path in found or path in known or path.endswith(SIGNATURE) for path in under):
            return known
        with self._catalog.change() as change:
            return change.stats_at(self.index, files) | change.stats(self.index, others)

    def _is_gone(self, path: str) -> bool:
        """Whether there is nothing now at a path at which nothing was found."""
        if path.endswith("/"):  # a directory that could not be read
            return True
        first = next(self.folder.look(path), None)
        return first is None or not (
            first.path == path or (first.shut and path.startswith(first.path.rstrip("/") + "/"))
        )

    def _renumber(self, new: list[Entry], part: "_Part") -> list[Entry]:
        """Where most inodes changed and nothing else, the file system numbers its files anew (sshfs
        at each mount): what is known of them stays. Returns the entries that this is not true of.
        """
        numbers = {
            entry.path: entry.inode
            for entry in new
            if entry.problem is None and _is_other_number(part.known.get(entry.path), entry)
        }
        if len(numbers) < _MANY or 2 * len(numbers) <= len(part.known.keys() & part.found.keys()):
            return new
        with self._catalog.change() as change:
            change.renumber(self.index, numbers)
        return [entry for entry in new if entry.path not in numbers]

    def _follow_moves(self, new: list[Entry]) -> dict[str, str]:
        """Recognise files that only changed their directory; returns their new paths by old."""
        names = {_name(entry.path): entry for entry in new if entry.problem is None}
        if not names:
            return {}
        with self._catalog.read() as reader:
            places = reader.places(self.index, list(names))
        moves = {
            old: names[name].path
            for name, (old, stat) in places.items()
            if old != names[name].path and stat == _stat(names[name]) and self._is_gone(old)
        }
        if not moves:
            return {}
        with self._catalog.change() as change:
            moved = change.move(self.index, moves)
        return {old: place for old, place in moves.items() if place in moved}

    def _is_fetched(self, entry: Entry, part: "_Part") -> bool:
        """Whether somebody is still fetching a file: whoever does has another beside it meanwhile,
        whatever the first one looks like (aria2 gives it its full size at once)."""
        if entry.problem is not None or part.unfinished is not None:
            return entry.problem is None and entry.path in (part.unfinished or ())
        place = f"{self.folder.root}/{entry.path}"
        return any(os.path.lexists(place + ending) for ending in PARTIAL)

    def _is_put_off(self, entry: Entry, part: "_Part") -> bool:
        """Whether a file at which processes were killed waits for another scan: what takes all the
        memory of the system shall not do so every minute."""
        if part.known.get(entry.path) != (entry.size, entry.mtime_ns, KILLED):
            self._put_off.pop(entry.path, None)
            return False
        now, pause = time.monotonic(), self._spec.server.reconcile.total_seconds()
        due, pause = self._put_off.get(entry.path, (now, pause))
        if now >= due:
            self._put_off[entry.path] = now + pause, min(2 * pause, _LONGEST_PUT_OFF_SECONDS)
        return now < due

    def _settled(self, entry: Entry, heard: bool) -> bool:
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

    # --- what comes in and goes ----------------------------------------------------------------

    def _take_in(
        self, entries: list[Entry], instead_of: Sequence[str] = (), coming: Sequence[str] = ()
    ) -> Iterator[None]:
        if not entries:
            return
        self._places.notice(self._has_files)  # none comes in from a disk that is not remembered
        for changing in self._intake.take_in(entries, instead_of, coming):
            for path in changing:
                self._waiting[path] = ((0, 0, 0), 0.0)
            yield

    def _forget(self, gone: set[str], coming: Sequence[str], whole: bool) -> Iterator[None]:
        """Let go of what is no longer in the folder. A file that was refused as a duplicate of one
        of these takes its place in the same transaction; what is ``coming``, or is still being
        written, keeps the projects meanwhile."""
        gone, duplicates = self._deleted(gone, whole)
        coming = sorted({*coming, *self._waiting} - gone)
        if duplicates:
            yield from self._take_in(duplicates, sorted(gone), coming)
        elif gone:
            with self._catalog.change() as change:
                change.remove(self.index, sorted(gone))
                change.remember(self.index, coming)
            yield

    def _deleted(self, gone: set[str], whole: bool) -> tuple[set[str], list[Entry]]:
        """Those of the paths ``gone`` whose files somebody deleted, by all that we can tell, or
        that others take the place of; and these others."""
        self._missing, self._hiding = [], []
        if self._confirmed or self._is_said_to_be_empty():
            self._hold(set(), 0)
            return gone, self._duplicates(gone)
        gone = self._without_hidden(self._without_unmounted(gone))
        duplicates = self._duplicates(gone)
        names = {_name(entry.path) for entry in duplicates}
        replaced = {path for path in gone if _name(path) in names}
        rest = self._without_linked(gone - replaced)
        return replaced | self._without_many(rest, whole), duplicates

    def _replace_held(self) -> Iterator[None]:
        """Let files that came elsewhere take the place of such as are held."""
        if duplicates := self._duplicates(self._held):
            names = {_name(entry.path) for entry in duplicates}
            replaced = {path for path in self._held if _name(path) in names}
            yield from self._take_in(duplicates, sorted(replaced))
            self._held.difference_update(replaced)
            self._let_back()

    def _duplicates(self, gone: set[str]) -> list[Entry]:
        """What was refused only for one of the paths ``gone``."""
        with self._catalog.read() as reader:
            duplicates = reader.duplicates(self.index) if gone else []
            doubled = {_name(refusal.path) for refusal in duplicates}
            paths = [path for path in gone if _name(path) in doubled] if doubled else []
            there = reader.accepted_at(self.index, paths) | reader.unseen_at(self.index, paths)
        names = {_name(path) for path in there}
        return [
            entry
            for refusal in duplicates
            if _name(refusal.path) in names and refusal.path not in gone
            if (entry := self.folder.entry(refusal.path))
            if self.folder.link_before(entry.path) is None
        ]

    def _match_signatures(self, part: "_Part", signed: Set[str]) -> None:
        """Note which files have a signature beside them, and refuse those that sign nothing."""
        found = part.signatures()
        new = {
            _signed_by(path): entry
            for path, entry in found.items()
            if _signed_by(path) not in signed or path in part.known
        }
        old = [
            path
            for path in signed
            if path + SIGNATURE not in found and self.folder.entry(path + SIGNATURE) is None
        ]
        with self._catalog.read() as reader:
            accepted = reader.accepted_at(self.index, list(new))
            refused = reader.stats_at(self.index, list(new)).keys() - accepted
        orphans = [
            _orphan(entry)
            for path, entry in new.items()
            if path not in accepted and part.known.get(entry.path) != _stat(entry)
            if path in refused or self.folder.entry(path) is None  # else it is about to come in
        ]
        if not accepted and not old and not orphans:
            return
        with self._catalog.change() as change:
            for path in sorted(accepted):
                change.sign(self.index, path, True)
            for path in sorted(old):
                change.sign(self.index, path, False)
            change.remove(self.index, [new[path].path for path in sorted(accepted)])
            change.refuse(self.index, orphans)
        for refusal in orphans:
            log_refusal(self.index, refusal)

    def _without_linked(self, gone: set[str]) -> set[str]:
        """Those of the paths ``gone`` that are not behind a link, which a directory gave way to.
        Files that are cannot be fetched, but nobody deleted them: they are remembered, with their
        projects."""
        directories = {path.rpartition("/")[0] for path in gone}
        links = {each: self.folder.link_before(f"{each}/") for each in directories}
        linked = {path: link for path in gone if (link := links[path.rpartition("/")[0]])}
        if not linked:
            return gone
        with self._catalog.read() as reader:
            kept = reader.unseen_at(self.index, list(linked))
        if new := sorted(linked.keys() - kept):
            with self._catalog.change() as change:
                kept |= change.lose_sight(self.index, new)
        for link, count in Counter(linked[path] for path in kept).items():
            self._be_in_trouble(
                f"{count:,} files are behind {self.folder.root / link}, which is a symbolic link"
                " now and is not followed: put a directory in its place, or remove it"
            )
        return gone - linked.keys()

    def _be_in_trouble(self, text: str) -> None:
        if text not in self.troubles:
            self.troubles.append(text)

    # --- what is not taken for a deletion ------------------------------------------------------

    def _recognise(self) -> None:
        """A directory that is not the one of last time, and has nothing in it where there were
        files, is the place where a disk was mounted. Nothing is taken down for that."""
        self.folder.identity()
        if self._confirmed or "" not in self._places.missing() or not self.folder.is_bare():
            return
        with self._catalog.read() as reader:
            is_known = reader.mark(scan_mark(self._spec, self.index)) == FULLY
            if not is_known or reader.counts(self.index)[1] or reader.refused_count(self.index):
                raise FolderGone(
                    f"packages directory {self.folder.root} is empty, and not the one it was: mount"
                    " the disk; if it is meant to be empty, make a file .empty in it"
                )

    def _may_be_there(self, path: str) -> bool:
        """Whether a file that nobody has looked at may be at ``path``."""
        if _covers(self._places.missing(), path):
            return True
        return not self._is_gone(path) and self.folder.link_before(path) is None

    def _without_many(self, gone: set[str], whole: bool) -> set[str]:
        """Nothing of the paths ``gone`` if they are most of the index, and nobody confirmed it."""
        with self._catalog.read() as reader:
            files = len(reader.accepted_at(self.index, list(gone)))
            files += len(reader.unseen_at(self.index, list(gone)))
            waiting = reader.mark(vanished_mark(self.index))
            listed = reader.counts(self.index)[1] + reader.unseen(self.index)
        if (files >= _MANY and 2 * files > listed) or (whole and files and waiting):
            self._hold(gone if whole else gone | self._held, files)
            return set()
        if whole:
            self._hold(set(), 0)
        return gone

    def _let_back(self) -> None:
        """Fewer files are held, unless somebody has confirmed meanwhile that all are deleted."""
        with self._catalog.read() as reader:
            if not reader.mark(vanished_mark(self.index)):
                self._held.clear()
        self._hold(self._held, len(self._held))

    def _hold(self, gone: set[str], files: int) -> None:
        """Keep what is gone listed until somebody confirms it or it is back."""
        self._held = gone
        with self._catalog.read() as reader:
            before = reader.mark(vanished_mark(self.index))
            text = vanished(reader, self.index, files)
        if before != files:
            self._catalog.set_mark(vanished_mark(self.index), files)
        if files and not before:
            log.error("%s: %s", self.index, text)

    def _without_unmounted(self, gone: set[str]) -> set[str]:
        """Those of the paths ``gone`` that are not below a place where a disk was mounted."""
        if not gone:
            return gone
        for place in self._places.missing():
            kept = {path for path in gone if _covers((place,), path)}
            if kept:
                self._missing.append(place)
                self._be_in_trouble(
                    f"no disk is mounted at {self.folder.root / place}, as there was;"
                    f" {len(kept):,} files stay listed: mount it, or run"
                    f" `pyindex confirm-deletions --index {self.index}` if it is meant to be gone"
                )
            gone = gone - kept
        return gone

    def _without_hidden(self, gone: set[str]) -> set[str]:
        """Those of the paths ``gone`` over which nothing has been mounted."""
        for place in self._places.covered() if gone else ():
            kept = {path for path in gone if _covers((place,), path)}
            if kept:
                self._hiding.append(place)
                self._be_in_trouble(
                    f"what is mounted at {self.folder.root / place} hides {len(kept):,} files,"
                    " which stay listed: unmount it, or run `pyindex confirm-deletions --index"
                    f" {self.index}` if they are meant to be gone"
                )
            gone = gone - kept
        return gone

    def _has_files(self, place: str) -> bool:
        """Whether files are known at or below a path."""
        below = f"{place}/" if place else ""
        with self._catalog.read() as reader:
            return any(
                file.path.startswith(below) for file in reader.files_after(self.index, below, 1)
            )

    def _is_said_to_be_empty(self) -> bool:
        return (self.folder.root / ".empty").exists() and next(self.folder.walk(), None) is None


def vanished(reader: Reader, index: str, files: int) -> str:
    """What people are told of files that are gone all at once."""
    return (
        f"{files:,} of {reader.counts(index)[1] + reader.unseen(index):,} files vanished at once,"
        " and stay listed; if they were deleted on purpose:"
        f" pyindex confirm-deletions --index {index}"
    )


@dataclass(frozen=True)
class _Part:
    """A part of the folder, and what the catalog knows of it; ``signed`` are the paths of its
    files that had a signature, ``unfinished`` of those that are being fetched, if that is known."""

    found: Mapping[str, Entry]
    known: Mapping[str, Stat]
    covers: Callable[[str], bool]
    signed: Set[str] = frozenset()
    unfinished: Set[str] | None = None

    def files(self) -> dict[str, Entry]:
        """What is found, without what may be signatures of something."""
        return {path: entry for path, entry in self.found.items() if not _is_signature(entry)}

    def signatures(self) -> dict[str, Entry]:
        return {path: entry for path, entry in self.found.items() if _is_signature(entry)}


def _slices(entries: Iterator[Entry]) -> Iterator[tuple[list[Entry], str | None]]:
    """Entries in portions, each with the path that it reaches up to, the last with ``None``.

    A file and its signature are in one.
    """
    part, signable = list[Entry](), ""
    for entry in entries:
        signs = signable and entry.path.startswith(signable)
        if len(part) >= _SLICE and not signs:
            yield part, part[-1].path
            part = []
        if not signs:
            signable = entry.path if _is_package(entry.path) else ""
        part.append(entry)
    yield part, None


def _stat(entry: Entry) -> Stat:
    return entry.size, entry.mtime_ns, entry.inode


def _is_other_number(known: Stat | None, entry: Entry) -> bool:
    return known is not None and known[2] >= 0 and known[:2] == _stat(entry)[:2]


def _is_package(path: str) -> bool:
    """Whether a path is named like a package file, which nothing is below."""
    return path.lower().endswith(ENDINGS)


def _is_signature(entry: Entry) -> bool:
    return entry.problem is None and entry.path.endswith(SIGNATURE)


def _signed_by(path: str) -> str:
    return path.removesuffix(SIGNATURE)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _unfinished(entry: Entry) -> Entry:
    problem = "its download is not finished: the file that says so is beside it"
    return Entry(entry.path, 0, 0, 0, problem)


def _orphan(entry: Entry) -> Refusal:
    reason = f"a signature without {_name(_signed_by(entry.path))} beside it"
    return Refusal(entry.path, reason, *_stat(entry))


def _covers(under: Iterable[str], path: str) -> bool:
    return any(not top or path == top or path.startswith(f"{top}/") for top in under)


def _between(after: str, upto: str | None) -> Callable[[str], bool]:
    return lambda path: path > after and (upto is None or path <= upto)
