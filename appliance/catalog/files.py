"""Changes to accepted files: added, replaced, moved, signed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import at_paths, portions
from appliance.catalog.recorder import to_row
from appliance.catalog.rejections import RejectionWriter, duplicate
from appliance.index.model import Change, Code, File, Rejection, Stat


class FileWriter(RejectionWriter):
    """Changes to the accepted files of an index. Each method with a file's ``path`` ignores unknown
    paths and returns whether it changed anything."""

    def add(self, index: str, files: Sequence[File]) -> list[Rejection]:
        """Insert files, replacing those at their paths. Returns the rejected ones: duplicates of a
        file at another path, and files whose content changed while size, mtime and inode did
        not, as after damage to the disk."""
        known = self._namesakes(index, files)
        expected = self._expected(index, files, known)
        known_at = {file.path: file for file in known}
        path_of = {file.filename: file.path for file in known}
        accepted: dict[str, File] = {}
        rejected: list[Rejection] = []

        # In their order: an accepted file makes later ones of its name duplicates.
        for file in files:
            first = path_of.get(file.filename, file.path)
            before = expected.get(file.path)
            if first != file.path:
                rejected.append(duplicate(file, first))
            elif before is not None and not before.is_met_by(file):
                rejected.append(_altered(file, before.sha256))
            else:
                file = self._compare(index, known_at.get(file.path), file)
                accepted[file.path] = known_at[file.path] = file
                path_of[file.filename] = file.path

        rows = [to_row(index, file) | {"doubted": None} for file in accepted.values()]
        schema.upsert(self._connection, schema.file, rows)
        self._forget_predecessors(index, accepted)
        self.reject(index, rejected)
        self._expect(index, [file.path for file in rejected], expected)
        return rejected

    def _forget_predecessors(self, index: str, accepted: Mapping[str, File]) -> None:
        """Delete rejections at the paths of accepted files, and unreachable files of their names
        at other paths."""
        seen = self.unreachable_named(index, [file.filename for file in accepted.values()])
        elsewhere = {seen[f.filename]: f for f in accepted.values() if f.filename in seen}
        successors = {**accepted, **elsewhere}
        self._forget_rejections(index, list(successors), successors)

    def _expected(
        self, index: str, files: Sequence[File], known: Sequence[File]
    ) -> dict[str, "_Expected"]:
        """Return the digests of files accepted or rejected before, by path, without files whose
        stat was invalidated."""
        doubted = self._doubted(index, [file.path for file in known])
        expected = {
            file.path: _Expected(_stat(file), file.sha256, file.md5, file.blake2b_256)
            for file in known
            if file.path not in doubted
        }

        for portion in portions([file.path for file in files if file.path not in expected]):
            query = sa.select(schema.refused).where(
                *at_paths(schema.refused, index, portion), schema.refused.c.sha256.is_not(None)
            )
            for row in self._connection.execute(query):
                expected[row.path] = _Expected(_stat(row), row.sha256)
        return expected

    def _doubted(self, index: str, paths: Sequence[str]) -> set[str]:
        file = schema.file
        return {
            path
            for portion in portions(paths)
            for path in self._connection.scalars(
                sa.select(file.c.path).where(*at_paths(file, index, portion), file.c.doubted)
            )
        }

    def _expect(self, index: str, paths: Sequence[str], expected: dict[str, "_Expected"]) -> None:
        """Store the digests that rejected files must have to be accepted again."""
        for path in paths:
            if path in expected:
                query = sa.update(schema.refused).where(*at_paths(schema.refused, index, [path]))
                self._connection.execute(query.values(sha256=expected[path].sha256))

    def _compare(self, index: str, old: File | None, new: File) -> File:
        """Record the change of a file in the journal; returns ``new`` with the upload time of the
        first file of this content."""
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

    def _namesakes(self, index: str, files: Sequence[File]) -> list[File]:
        """Return accepted files that share a path or a name with one of ``files``."""
        here = schema.file.c.index == index
        # Two queries: with an OR of both SQLite would read the whole index.
        return [
            known
            for portion in portions(files)
            for column, values in (
                (schema.file.c.path, [file.path for file in portion]),
                (schema.file.c.filename, [file.filename for file in portion]),
            )
            for known in self._files(here, column.in_(values))
        ]

    @property
    def replaced(self) -> list[Change]:
        """Changes of files that replaced another content of the same name."""
        return [change for change in self._changes if change.action == "replaced"]

    def move(self, index: str, moves: Mapping[str, str]) -> set[str]:
        """Record that files moved: ``moves`` maps old paths to new paths with the same file names.
        Returns the new paths of files that the index has."""
        files = {file.path: file for file in self.files_at(index, sorted(moves))}
        if not files:
            return set()

        moved = {old: moves[old] for old in files}
        rows = [{"old": old, "new": new} for old, new in moved.items()]
        where = schema.file.c.index == index, schema.file.c.path == sa.bindparam("old")
        query = sa.update(schema.file).where(*where).values(path=sa.bindparam("new"))
        self._connection.execute(query, rows)

        self._forget_rejections(index, list(moved.values()))
        for old, new in moved.items():
            self._record(index, replace(files[old], path=new), "moved", old)
        return set(moved.values())

    def renumber(self, index: str, inodes: Mapping[str, int]) -> None:
        """Record new inodes of unchanged files, by path, as after a remount."""
        rows = [{"at": path, "number": inode} for path, inode in inodes.items()]
        for table in (schema.file, schema.refused):
            here = table.c.index == index, table.c.path == sa.bindparam("at")
            query = sa.update(table).where(*here).values(inode=sa.bindparam("number"))
            self._connection.execute(query, rows)

    def sign(self, index: str, path: str, signature: bool) -> bool:
        """Record whether the file at ``path`` has a detached signature."""
        file = self.file_at(index, path)
        if file is None or file.signature == signature:
            return False
        query = sa.update(schema.file).where(
            schema.file.c.index == index, schema.file.c.path == path
        )
        self._connection.execute(query.values(signature=signature))
        self._record(index, file, "signed" if signature else "unsigned")
        return True

    def record_promotion(self, index: str, path: str, source: str) -> None:
        """Record that the file at ``path`` was promoted from the index ``source``."""
        if (file := self.file_at(index, path)) is not None:
            self._record(index, file, "promoted", source)

    def invalidate_stats(self) -> None:
        """Invalidate the stat of every file: each is examined again, and its content accepted."""
        self._connection.execute(sa.update(schema.file).values(doubted=True))
        self._connection.execute(sa.update(schema.refused).values(retry=True, sha256=None))


@dataclass(frozen=True, slots=True)
class _Expected:
    """Stat and digests of a known file: a file with this stat must have these digests."""

    stat: Stat
    sha256: str
    md5: str | None = None
    blake2b_256: str | None = None

    def is_met_by(self, file: File) -> bool:
        """Return whether the file has the expected content, or another stat, as after an edit."""
        return _stat(file) != self.stat or _same_bytes(self, file)


def _same_bytes(old: "File | _Expected", new: File) -> bool:
    """Return whether the digests agree; a single differing one was damaged in the catalog."""
    return old.sha256 == new.sha256 or (old.md5, old.blake2b_256) == (new.md5, new.blake2b_256)


def _stat(row: Any) -> Stat:
    return Stat(row.size, row.mtime_ns, row.inode)


def _altered(file: File, sha256: str) -> Rejection:
    reason = (
        f"content changed since it was accepted (sha256 was {sha256}, is {file.sha256}); restore"
        " the file, or run `pyindex rebuild --accept-changes`"
    )
    return Rejection(file.path, Code.ALTERED, reason, file.size, file.mtime_ns, file.inode)
