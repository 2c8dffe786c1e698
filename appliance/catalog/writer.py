"""Changes to the catalog, each with its line of the journal."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from appliance.catalog import schema
from appliance.catalog.reader import Reader, Stat, at, parts
from appliance.index.model import DUPLICATE, Change, Decisions, File, Refusal
from appliance.index.names import possible

_NANOSECONDS_PER_MICROSECOND = 1000
# The mark with the serial since which the tree of pages may hold what this catalog never heard of.
SWEEP = "sweep"
_CLAIMS = (schema.claim, schema.further_claim)
# What an index remembers of files that no page lists.
_HELD = (schema.refused, schema.unseen, *_CLAIMS)


class Writer(Reader):
    """Changes in one transaction. Each method that takes a file's ``path`` ignores unknown ones
    and says whether it changed anything.

    Attributes:
        freed: Paths of what was refused as a duplicate of files that were refused since.
    """

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__(connection)
        self._last = self.serial()
        self._time = now()
        self._changes: list[Change] = []
        self._display: dict[tuple[str, str], str] = {}
        self.freed: list[str] = []

    def add(self, index: str, files: Sequence[File]) -> list[Refusal]:
        """Put files in, in place of what was at their paths. Those whose name the index has at
        another path already are refused, and returned; so are those whose bytes changed while
        their size, mtime and inode did not, which is what damage looks like."""
        known = self._namesakes(index, files)
        expected = self._expected(index, files, known)
        by_path = {file.path: file for file in known}
        places = {file.filename: file.path for file in known}
        taken: dict[str, File] = {}
        refused = []
        for file in files:
            place = places.get(file.filename, file.path)
            if place != file.path:
                refused.append(duplicate(file, place))
                continue
            if (was := expected.get(file.path)) is not None and not was.is_met_by(file):
                refused.append(_changed(file, was.sha256))
                continue
            file = self._compare(index, by_path.get(file.path), file)
            taken[file.path] = by_path[file.path] = file
            places[file.filename] = file.path
        schema.upsert(
            self._connection, schema.file, [to_row(index, file) for file in taken.values()]
        )
        seen = self.unseen_named(index, [file.filename for file in taken.values()])
        instead = taken | {
            seen[each.filename]: each for each in taken.values() if each.filename in seen
        }
        self._forget_refusals(index, list(instead), instead)
        self.refuse(index, refused)
        self._expect(index, [file.path for file in refused], expected)
        return refused

    def _expected(
        self, index: str, files: Sequence[File], known: Sequence[File]
    ) -> dict[str, "_Expected"]:
        """What is known of files, accepted or refused before, that have the size, mtime and inode
        of then."""
        found = {
            file.path: _Expected(_stat(file), file.sha256, file.md5, file.blake2b_256)
            for file in known
        }
        for part in parts([file.path for file in files if file.path not in found]):
            query = sa.select(schema.refused).where(
                *at(schema.refused, index, part), schema.refused.c.sha256.is_not(None)
            )
            for row in self._connection.execute(query):
                found[row.path] = _Expected(_stat(row), row.sha256)
        return found

    def _expect(self, index: str, paths: Sequence[str], expected: dict[str, "_Expected"]) -> None:
        """Remember what refused files must be to come in again."""
        for path in paths:
            if path in expected:
                query = sa.update(schema.refused).where(*at(schema.refused, index, [path]))
                self._connection.execute(query.values(sha256=expected[path].sha256))

    def _compare(self, index: str, old: File | None, new: File) -> File:
        """Journal what is new about a file; its upload time is that of its first appearance."""
        if old is None or not _same_bytes(old, new):
            if old is not None and old.project != new.project:
                self._record(index, old, "removed", old.sha256)
            self._record(index, new, "added" if old is None else "replaced", new.sha256)
            return new
        new = replace(new, upload_time=old.upload_time)
        same_place = replace(old, yanked=None, mtime_ns=new.mtime_ns, inode=new.inode)
        if same_place != new:
            self._record(index, new, "reread", new.sha256)
        return new

    def remove(self, index: str, paths: Iterable[str]) -> list[File]:
        """Forget the files at ``paths``; returns those that the index had."""
        paths = list(paths)
        gone = self._take_out(index, paths)
        self._forget_refusals(index, paths)
        return gone

    def _take_out(self, index: str, paths: Sequence[str]) -> list[File]:
        gone = [
            file for part in parts(paths) for file in self._files(*at(schema.file, index, part))
        ]
        for part in parts(paths):
            self._connection.execute(sa.delete(schema.file).where(*at(schema.file, index, part)))
        for file in gone:
            self._record(index, file, "removed", file.sha256)
        return gone

    def free(self, index: str, filenames: Collection[str]) -> list[str]:
        """Forget that files were refused as duplicates of ``filenames``, which are gone; returns
        their paths, to be looked at again."""
        duplicates = self.duplicates(index) if filenames else ()
        paths = [each.path for each in duplicates if _filename(each.path) in filenames]
        self._forget_refusals(index, paths)
        return paths

    def move(self, index: str, moves: Mapping[str, str]) -> set[str]:
        """Note that files are at other paths now: ``moves`` is from old paths to new ones, with the
        same file names. Returns the new paths of those that the index had."""
        files = {file.path: file for file in self.files_at(index, sorted(moves))}
        if not files:
            return set()
        new = {old: moves[old] for old in files}
        rows = [{"old": old, "new": place} for old, place in new.items()]
        here = schema.file.c.index == index, schema.file.c.path == sa.bindparam("old")
        query = sa.update(schema.file).where(*here).values(path=sa.bindparam("new"))
        self._connection.execute(query, rows)
        self._forget_refusals(index, list(new.values()))
        for old, place in new.items():
            self._record(index, replace(files[old], path=place), "moved", old)
        return set(new.values())

    def refuse(self, index: str, refusals: Sequence[Refusal]) -> None:
        """Note files that cannot be taken in, and the projects that they may be of: by their names,
        and by what the index had at their paths, which goes. Nothing is journalled for what was
        refused before. Duplicates of what goes are to be looked at again, see :attr:`freed`."""
        paths = [refusal.path for refusal in refusals]
        gone = self._take_out(index, paths)
        unseen = self.unseen_at(index, paths)
        self._forget_refusals(index, sorted(unseen))
        free = {_filename(path) for path in unseen} | {file.filename for file in gone}
        self.freed += self.free(index, free)
        rows = [to_row(index, refusal) | {"sha256": None} for refusal in refusals]
        schema.upsert(self._connection, schema.refused, rows)
        names = {(file.path, file.project): file.name for file in gone}
        doubled = [_filename(refusal.path) for refusal in refusals if refusal.is_duplicate]
        theirs = self._projects_of(index, doubled)
        for refusal in refusals:
            own = theirs.get(_filename(refusal.path), set()) if refusal.is_duplicate else set()
            for project, name in possible(refusal.path).items():
                if project not in own:
                    names.setdefault((refusal.path, project), name)
        for path, project in self._claim(index, list(names)):
            display = self._displayed(index, project) or names[path, project]
            self._journal(index, project, display, "refused", path)

    def remember(self, index: str, paths: Sequence[str]) -> set[str]:
        """Note files that nobody could look at yet (see :data:`schema.unseen`), and the projects
        that they may be of. Nothing is journalled: these have no page before a scan has
        come to its end (see :meth:`miss`), but no base may answer for them. :meth:`count` follows.
        Returns which of ``paths`` were not known, have a name of a project, and have it first.
        """
        names = {path: _filename(path) for path in paths}
        known = self.stats_at(index, paths).keys()
        elsewhere = self.places(index, list(names.values())).keys()
        may_be_of = {path: possible(path) for path in paths}
        new = [
            path
            for path in paths
            if path not in known and names[path] not in elsewhere and may_be_of[path]
        ]
        rows = [{"index": index, "path": path, "filename": names[path]} for path in new]
        self.put(schema.unseen.name, rows)
        claims = [
            {"index": index, "path": path, "project": project}
            for path in new
            for project in may_be_of[path]
        ]
        self.put(schema.further_claim.name, claims)
        return set(new)

    def lose_sight(self, index: str, paths: Sequence[str]) -> set[str]:
        """Remember files that were known at ``paths``, where nobody can look now, in place of what
        was known; returns which of them the index has from nowhere else."""
        gone = self.remove(index, paths)
        kept = self.remember(index, paths)
        claims = [
            {"index": index, "path": file.path, "project": file.project}
            for file in gone
            if file.path in kept
        ]
        self.put(schema.further_claim.name, claims)
        return kept

    def miss(self, index: str) -> None:
        """Journal projects that a scan saw nothing of but what is remembered: they get pages."""
        for project, display in self.pageless(index).items():
            self._journal(index, project, display, "refused")

    def _claim(self, index: str, claims: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Let files claim projects, given as path and name; returns what is new."""
        known = self._claims(index, sorted({path for path, _ in claims}))
        there = {(claim.path, claim.project) for claim in known}
        first = {claim.path for claim in known}
        new = [claim for claim in claims if claim not in there]
        rows: dict[sa.Table, list[dict[str, Any]]] = {each: [] for each in _CLAIMS}
        for path, project in new:
            table = schema.further_claim if path in first else schema.claim
            rows[table].append({"index": index, "path": path, "project": project})
            first.add(path)
        for table in _CLAIMS:
            for part in parts(rows[table]):
                self._connection.execute(sa.insert(table), list(part))
        return new

    def renumber(self, index: str, inodes: Mapping[str, int]) -> None:
        """Note that the file system has other inodes for what is at these paths."""
        rows = [{"at": path, "number": inode} for path, inode in inodes.items()]
        for table in (schema.file, schema.refused):
            here = table.c.index == index, table.c.path == sa.bindparam("at")
            query = sa.update(table).where(*here).values(inode=sa.bindparam("number"))
            self._connection.execute(query, rows)

    def sign(self, index: str, path: str, signature: bool) -> bool:
        """Note whether the file at ``path`` has a detached signature beside it."""
        file = self.file_at(index, path)
        if file is None or file.signature == signature:
            return False
        query = sa.update(schema.file).where(
            schema.file.c.index == index, schema.file.c.path == path
        )
        self._connection.execute(query.values(signature=signature))
        self._record(index, file, "signed" if signature else "unsigned")
        return True

    def yank(self, index: str, filename: str, reason: str | None) -> bool:
        """Yank a file for ``reason`` (which may be empty), or undo it with ``None`` (PEP 592)."""
        file = self.file(index, filename)
        if file is None or file.yanked == reason:
            return False
        where = (schema.yank.c.index == index, schema.yank.c.filename == filename)
        self._connection.execute(sa.delete(schema.yank).where(*where))
        if reason is not None:
            row = {"index": index, "filename": filename, "reason": reason}
            self._connection.execute(sa.insert(schema.yank).values(row))
        self._record(index, file, "unyanked" if reason is None else "yanked", reason)
        return True

    def set_status(self, index: str, project: str, status: str, reason: str | None) -> bool:
        """Set a project's status (PEP 792), also of one whose files are gone."""
        here = schema.project.c.index == index, schema.project.c.name == project
        found = self._connection.execute(sa.select(schema.project).where(*here)).first()
        if found is None or (found.status, found.status_reason) == (status, reason):
            return False
        query = sa.update(schema.project).where(*here)
        self._connection.execute(query.values(status=status, status_reason=reason))
        detail = status if reason is None else f"{status}: {reason}"
        self._journal(index, project, found.display, "status", detail=detail)
        return True

    def decide(self, decisions: Decisions) -> None:
        """Let decisions hold that were made before this catalog, about files that may not be here
        yet. They have their lines elsewhere; see :meth:`note`."""
        if decisions.whole:
            self._connection.execute(sa.delete(schema.yank))
            undone = sa.update(schema.project).values(status="active", status_reason=None)
            self._connection.execute(undone)
        for index, filename in decisions.yanks:
            where = (schema.yank.c.index == index, schema.yank.c.filename == filename)
            self._connection.execute(sa.delete(schema.yank).where(*where))
        holding = decisions.holding()
        rows = [
            {"index": index, "filename": filename, "reason": reason}
            for (index, filename), reason in holding.yanks.items()
        ]
        schema.upsert(self._connection, schema.yank, rows)
        projects: list[dict[str, Any]] = [
            {
                "index": index,
                "name": name,
                "display": name,
                "serial": self._last,
                "files": 0,
                "status": status,
                "status_reason": reason,
            }
            for (index, name), (status, reason) in decisions.statuses.items()
        ]
        schema.upsert(self._connection, schema.project, projects, ("status", "status_reason"))

    def note(self, action: str, at_least: int) -> Change:
        """Journal what was done to the whole, with a serial after ``at_least`` and all before.

        Every page gets that serial, as any may be another one now. What was known of the folders
        and of the tree of pages is in doubt: they are to be compared in full, and readers go on
        with the pages that there are until others are whole.
        """
        assert not self._changes, "a transaction of its own"
        self._last = max(self._last, at_least) + 1
        note = Change(self._last, self._time, "", "", action)
        self._connection.execute(sa.insert(schema.journal), [to_row("", note)])
        self._connection.execute(sa.update(schema.project).values(serial=self._last))
        for kind in ("scanned:", "view:"):
            doubted = schema.mark.c.name.startswith(kind, autoescape=True)
            self._connection.execute(sa.delete(schema.mark).where(doubted))
        schema.upsert(self._connection, schema.mark, [{"name": SWEEP, "value": self._last}])
        return note

    def put(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows that were saved from a damaged catalog; of two with one key, the first."""
        statement = sqlite.insert(schema.metadata.tables[table]).on_conflict_do_nothing()
        for part in parts(rows):
            self._connection.execute(statement, list(part))

    def count(self) -> None:
        """Let each project that files name or claim be there, and have its count of them. Claims of
        files that are not there go: a release that was taken back knew nothing of them."""
        claim, project = schema.further_claim.c, schema.project.c
        orphaned = [
            ~sa.exists().where(table.c.index == claim.index, table.c.path == claim.path)
            for table in (schema.refused, schema.unseen)
        ]
        self._connection.execute(sa.delete(schema.further_claim).where(*orphaned))
        values = [sa.literal(value) for value in (0, 0, "active")]
        columns = ["index", "name", "display", "serial", "files", "status"]
        for table in (schema.file, *_CLAIMS):
            of, display = table.c, table.c.get("name", table.c.project)
            lacking = sa.select(of.index, of.project, sa.func.min(display), *values).where(
                ~sa.exists().where(project.index == of.index, project.name == of.project)
            )
            self._connection.execute(
                sa.insert(schema.project).from_select(
                    columns, lacking.group_by(of.index, of.project)
                )
            )
        self._count(sa.true())

    def forget(self, serial: int) -> None:
        """Remove the lines of the journal up to ``serial``."""
        line = schema.journal
        self._connection.execute(sa.delete(line).where(line.c.serial <= serial))

    def doubt(self) -> None:
        """Know no file by its size, mtime and inode any more: whatever is there is accepted."""
        self._connection.execute(sa.update(schema.file).values(inode=-1))
        self._connection.execute(sa.update(schema.refused).values(inode=-1, sha256=None))

    @property
    def replaced(self) -> list[Change]:
        """Files that came in with other bytes than those that had their name."""
        return [change for change in self._changes if change.action == "replaced"]

    def finish(self) -> None:
        """Write the journal, and give each project that it names its last serial."""
        if not self._changes:
            return
        self._connection.execute(
            sa.insert(schema.journal), [to_row(change.index, change) for change in self._changes]
        )
        serials = {(change.index, change.project): change.serial for change in self._changes}
        rows = [
            {
                "index": index,
                "name": name,
                "display": self._display[index, name],
                "serial": serial,
                "status": "active",
                "status_reason": None,
                "files": 0,
            }
            for (index, name), serial in serials.items()
        ]
        schema.upsert(self._connection, schema.project, rows, update=("display", "serial"))
        self._count(schema.project.c.serial >= self._changes[0].serial)

    def _count(self, which: sa.ColumnElement[bool]) -> None:
        """Count the files of projects."""
        taken_in, claimed, further = (
            sa.select(sa.func.count())
            .where(
                table.c.index == schema.project.c.index,
                table.c.project == schema.project.c.name,
            )
            .scalar_subquery()
            for table in (schema.file, *_CLAIMS)
        )
        changed = sa.update(schema.project).where(which)
        self._connection.execute(changed.values(files=taken_in + claimed + further))

    def _namesakes(self, index: str, files: Sequence[File]) -> list[File]:
        """Known files that share a path or a name with one of ``files``."""
        here = schema.file.c.index == index
        # One query of each: with an OR of both SQLite reads the whole index.
        return [
            known
            for part in parts(files)
            for column, values in (
                (schema.file.c.path, [file.path for file in part]),
                (schema.file.c.filename, [file.filename for file in part]),
            )
            for known in self._files(here, column.in_(values))
        ]

    def _projects_of(self, index: str, filenames: Sequence[str]) -> dict[str, set[str]]:
        """The projects that files of these names are of, or may be if they were not seen yet."""
        found = {
            name: set(possible(path)) for name, path in self.unseen_named(index, filenames).items()
        }
        for part in parts(filenames):
            here = schema.file.c.index == index, schema.file.c.filename.in_(part)
            found |= {file.filename: {file.project} for file in self._files(*here)}
        return found

    def _forget_refusals(
        self, index: str, paths: Sequence[str], instead: Mapping[str, File] = MappingProxyType({})
    ) -> None:
        """Forget what was refused or is remembered at ``paths``; the journal tells it of projects
        that get no file ``instead``."""
        held = [table for table in _HELD if self._has_any(table, index)]  # mostly none
        for claim in self._claims(index, paths) if held else ():
            if claim.path not in instead or instead[claim.path].project != claim.project:
                display = self._displayed(index, claim.project) or claim.project
                self._journal(index, claim.project, display, "cleared", claim.path)
        for part in parts(paths):
            for table in held:
                self._connection.execute(sa.delete(table).where(*at(table, index, part)))

    def _has_any(self, table: sa.Table, index: str) -> bool:
        query = sa.select(sa.literal(1)).where(table.c.index == index).limit(1)
        return self._connection.scalar(query) is not None

    def _claims(self, index: str, paths: Sequence[str]) -> list[sa.Row[Any]]:
        return [
            claim
            for part in parts(paths)
            for table in _CLAIMS
            for claim in self._connection.execute(sa.select(table).where(*at(table, index, part)))
        ]

    def _displayed(self, index: str, project: str) -> str | None:
        """How a project that was there before is written."""
        query = sa.select(schema.project.c.display).where(
            schema.project.c.index == index, schema.project.c.name == project
        )
        return self._display.get((index, project)) or self._connection.scalar(query)

    def _record(self, index: str, file: File, action: str, detail: str | None = None) -> None:
        self._journal(
            index, file.project, file.name, action, file.path, file.filename, file.version, detail
        )

    def _journal(
        self,
        index: str,
        project: str,
        display: str,
        action: str,
        path: str | None = None,
        filename: str | None = None,
        version: str | None = None,
        detail: str | None = None,
    ) -> None:
        serial = self._last + len(self._changes) + 1
        change = Change(serial, self._time, index, project, action, path, filename, version, detail)
        self._changes.append(change)
        self._display[index, project] = display


@dataclass(frozen=True, slots=True)
class _Expected:
    """What a file was that had this size, mtime and inode."""

    stat: Stat
    sha256: str
    md5: str | None = None
    blake2b_256: str | None = None

    def is_met_by(self, file: File) -> bool:
        """Whether it has those bytes, or other times than then, as an ordinary change has."""
        return _stat(file) != self.stat or _same_bytes(self, file)


def _same_bytes(old: "File | _Expected", new: File) -> bool:
    """Whether the digests agree; one that differs where two agree was damaged in the catalog."""
    return old.sha256 == new.sha256 or (old.md5, old.blake2b_256) == (new.md5, new.blake2b_256)


def _filename(path: str) -> str:
    return path.rpartition("/")[2]


def _stat(row: Any) -> Stat:
    return row.size, row.mtime_ns, row.inode


def now() -> int:
    """Whole microseconds since the epoch."""
    return time.time_ns() // _NANOSECONDS_PER_MICROSECOND


def duplicate(file: File, place: str) -> Refusal:
    """The refusal of a file whose name the index has at ``place``."""
    reason = f"{DUPLICATE}the index has this file name already, at {place}"
    return Refusal(file.path, reason, file.size, file.mtime_ns, file.inode)


def _changed(file: File, sha256: str) -> Refusal:
    reason = (
        f"its bytes changed since it was accepted (sha256 was {sha256}, is {file.sha256}): restore"
        " the file, or accept it by `pyindex rebuild --accept-changes`"
    )
    return Refusal(file.path, reason, file.size, file.mtime_ns, file.inode)


def to_row(index: str, value: File | Refusal | Change) -> dict[str, Any]:
    """A value's columns (asdict would copy deeply, at ten times the cost)."""
    names = value.__dataclass_fields__.keys() - {"yanked"}
    return {name: getattr(value, name) for name in names} | {"index": index}
