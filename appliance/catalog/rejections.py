"""Files that an index does not have: those that were rejected, and those that nobody could look at
yet. Both keep the projects that they may be of from the bases (dependency confusion)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from appliance.catalog import schema
from appliance.catalog.queries import at_paths, portions
from appliance.catalog.recorder import CLAIMS, Recorder, to_row
from appliance.index.model import Code, File, Rejection
from appliance.index.names import possible

# What an index remembers of files that no page lists.
_HELD = (schema.refused, schema.unseen, *CLAIMS)


class RejectionWriter(Recorder):
    """Changes to what is rejected or remembered, and removals.

    Attributes:
        freed: Paths of what was rejected as a duplicate of files that were rejected since.
    """

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__(connection)
        self.freed: list[str] = []

    def remove(self, index: str, paths: Iterable[str]) -> list[File]:
        """Forget the files at ``paths``; returns those that the index had."""
        paths = list(paths)
        gone = self._remove_files(index, paths)
        self._forget_rejections(index, paths)
        return gone

    def _remove_files(self, index: str, paths: Sequence[str]) -> list[File]:
        gone = [
            file
            for portion in portions(paths)
            for file in self._files(*at_paths(schema.file, index, portion))
        ]
        for portion in portions(paths):
            self._connection.execute(
                sa.delete(schema.file).where(*at_paths(schema.file, index, portion))
            )
        for file in gone:
            self._record(index, file, "removed", file.sha256)
        return gone

    def reject(self, index: str, rejections: Sequence[Rejection]) -> None:
        """Note files that cannot be accepted, and the projects that they may be of: by their names,
        and by what the index had at their paths, which goes. Nothing is journalled for what was
        rejected before. Duplicates of what goes are to be examined again, see :attr:`freed`."""
        paths = [each.path for each in rejections]
        gone = self._remove_files(index, paths)
        unseen = self.unseen_at(index, paths)
        self._forget_rejections(index, sorted(unseen))
        free = {_filename(path) for path in unseen} | {file.filename for file in gone}
        self.freed += self.free(index, free)

        rows = [_to_row(index, each) for each in rejections]
        schema.upsert(self._connection, schema.refused, rows)

        names = {(file.path, file.project): file.name for file in gone}
        for claim, name in self._may_be_of(index, rejections).items():
            names.setdefault(claim, name)  # after what a file was known to be of
        for path, project in self._claim(index, list(names)):
            display = self._displayed(index, project) or names[path, project]
            self._journal(index, project, display, "refused", path)

    def _may_be_of(self, index: str, rejections: Sequence[Rejection]) -> dict[tuple[str, str], str]:
        """The projects that rejected files may be of, as path and project, with how they are
        written. A duplicate claims none that the file which keeps it out has already."""
        doubled = [_filename(each.path) for each in rejections if each.is_duplicate]
        known = self._projects_of(index, doubled)
        names: dict[tuple[str, str], str] = {}
        for each in rejections:
            has_already = known.get(_filename(each.path), set()) if each.is_duplicate else ()
            for project, name in possible(each.path).items():
                if project not in has_already:
                    names[each.path, project] = name
        return names

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

    def free(self, index: str, filenames: Collection[str]) -> list[str]:
        """Forget that files were rejected as duplicates of ``filenames``, which are gone; returns
        their paths, to be examined again."""
        duplicates = self.duplicates(index) if filenames else ()
        paths = [each.path for each in duplicates if _filename(each.path) in filenames]
        self._forget_rejections(index, paths)
        return paths

    def put(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows that were saved from a damaged catalog; of two with one key, the first."""
        statement = sqlite.insert(schema.metadata.tables[table]).on_conflict_do_nothing()
        for portion in portions(rows):
            self._connection.execute(statement, list(portion))

    def _claim(self, index: str, claims: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Let files claim projects, given as path and name; returns what is new."""
        known = self._claims(index, sorted({path for path, _ in claims}))
        have_first = {claim.path for claim in known}
        there = {(claim.path, claim.project) for claim in known}
        new = [claim for claim in claims if claim not in there]

        rows: dict[sa.Table, list[dict[str, Any]]] = {each: [] for each in CLAIMS}
        for path, project in new:
            table = schema.further_claim if path in have_first else schema.claim
            rows[table].append({"index": index, "path": path, "project": project})
            have_first.add(path)

        for table in CLAIMS:
            for portion in portions(rows[table]):
                self._connection.execute(sa.insert(table), list(portion))
        return new

    def _claims(self, index: str, paths: Sequence[str]) -> list[sa.Row[Any]]:
        return [
            claim
            for portion in portions(paths)
            for table in CLAIMS
            for claim in self._connection.execute(
                sa.select(table).where(*at_paths(table, index, portion))
            )
        ]

    def _projects_of(self, index: str, filenames: Sequence[str]) -> dict[str, set[str]]:
        """The projects that files of these names are of, or may be if they were not seen yet."""
        projects = {
            name: set(possible(path)) for name, path in self.unseen_named(index, filenames).items()
        }
        for portion in portions(filenames):
            here = schema.file.c.index == index, schema.file.c.filename.in_(portion)
            projects |= {file.filename: {file.project} for file in self._files(*here)}
        return projects

    def _forget_rejections(
        self,
        index: str,
        paths: Sequence[str],
        successors: Mapping[str, File] = MappingProxyType({}),
    ) -> None:
        """Forget what was rejected or is remembered at ``paths``; the journal tells it of projects
        that get no file from ``successors``, which is by path."""
        held = [table for table in _HELD if self._has_any(table, index)]  # mostly none
        for claim in self._claims(index, paths) if held else ():
            if claim.path not in successors or successors[claim.path].project != claim.project:
                display = self._displayed(index, claim.project) or claim.project
                self._journal(index, claim.project, display, "cleared", claim.path)
        for portion in portions(paths):
            for table in held:
                self._connection.execute(sa.delete(table).where(*at_paths(table, index, portion)))

    def _has_any(self, table: sa.Table, index: str) -> bool:
        query = sa.select(sa.literal(1)).where(table.c.index == index).limit(1)
        return self._connection.scalar(query) is not None


def _filename(path: str) -> str:
    return path.rpartition("/")[2]


def duplicate(file: File, place: str) -> Rejection:
    """The rejection of a file whose name the index has at ``place``."""
    reason = f"duplicate: the index has this file name already, at {place}"
    return Rejection(file.path, Code.DUPLICATE, reason, file.size, file.mtime_ns, file.inode)


def _to_row(index: str, rejection: Rejection) -> dict[str, Any]:
    """Its columns. Releases before version 3 of the tables examine a file again whose inode is
    none: one that is taken back goes on with them."""
    inode = -1 if rejection.retry else rejection.inode
    more = {"code": rejection.code.value, "inode": inode, "sha256": None}
    return to_row(index, rejection) | more
