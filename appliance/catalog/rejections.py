"""Changes to rejected and unreachable files. Both claim the projects that their names may belong
to, so that no base answers for these (dependency confusion)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from appliance.catalog import schema
from appliance.catalog.queries import at_paths, portions
from appliance.catalog.recorder import CLAIMS, UNKNOWN, Recorder, to_row
from appliance.index.model import Actor, Code, File, Rejection
from appliance.index.names import possible

# Tables with rows for files that no page lists.
_HELD = (schema.refused, schema.unreachable, *CLAIMS)


class RejectionWriter(Recorder):
    """Changes to rejected and unreachable files, and removals.

    Attributes:
        freed: Paths of duplicates of files that were rejected since; to be examined again.
    """

    def __init__(self, connection: sa.Connection, by: Actor = UNKNOWN) -> None:
        super().__init__(connection, by)
        self.freed: list[str] = []

    def remove(self, index: str, paths: Iterable[str]) -> list[File]:
        """Remove the files at ``paths``; returns the accepted ones among them."""
        paths = list(paths)
        removed = self._remove_files(index, paths)
        self._forget_rejections(index, paths)
        return removed

    def _remove_files(self, index: str, paths: Sequence[str]) -> list[File]:
        removed = [
            file
            for portion in portions(paths)
            for file in self._files(*at_paths(schema.file, index, portion))
        ]
        for portion in portions(paths):
            self._connection.execute(
                sa.delete(schema.file).where(*at_paths(schema.file, index, portion))
            )
        for file in removed:
            self._record(index, file, "removed", file.sha256)
        self._record_used(index, removed)
        return removed

    def reject(self, index: str, rejections: Sequence[Rejection]) -> None:
        """Insert rejected files and their claims: the projects that their names may belong to, and
        those of accepted files at their paths, which are removed. Files rejected before get no
        line in the journal. Duplicates of removed files are in :attr:`freed` afterwards."""
        if not rejections:
            return
        paths = [each.path for each in rejections]
        removed = self._remove_files(index, paths)
        unseen = self.unreachable_at(index, paths)
        self._forget_rejections(index, sorted(unseen))
        names_freed = {_filename(path) for path in unseen} | {file.filename for file in removed}
        self.freed += self.release_duplicates(index, names_freed)

        rows = [_to_row(index, each) for each in rejections]
        schema.upsert(self._connection, schema.refused, rows)

        names = {(file.path, file.project): file.name for file in removed}
        for claim, name in self._possible_projects(index, rejections).items():
            names.setdefault(claim, name)  # the known project of a file comes first
        for path, project in self._claim(index, list(names)):
            display = self._displayed(index, project) or names[path, project]
            self._journal(index, project, display, "refused", path)

    def _possible_projects(
        self, index: str, rejections: Sequence[Rejection]
    ) -> dict[tuple[str, str], str]:
        """Return the display names of projects that rejected files may belong to, by path and
        project. A duplicate does not claim the project of the file that it duplicates."""
        duplicates = [_filename(each.path) for each in rejections if each.is_duplicate]
        known = self._projects_of(index, duplicates)
        names: dict[tuple[str, str], str] = {}
        for each in rejections:
            claimed = known.get(_filename(each.path), set()) if each.is_duplicate else ()
            for project, name in possible(each.path).items():
                if project not in claimed:
                    names[each.path, project] = name
        return names

    def record_unreachable(self, index: str, paths: Sequence[str]) -> set[str]:
        """Insert unreachable files (see :data:`schema.unreachable`) and their claims, without
        lines in the journal: their projects get no page before the scan has ended (see
        :meth:`record_pageless`), but no base may answer for them. Call :meth:`update_counts`
        afterwards. Returns the inserted paths: not known before, with the name of a package file
        that no other path has.
        """
        names = {path: _filename(path) for path in paths}
        known = self.stats_at(index, paths).keys()
        elsewhere = self.paths_of(index, list(names.values())).keys()
        projects = {path: possible(path) for path in paths}

        new = [
            path
            for path in paths
            if path not in known and names[path] not in elsewhere and projects[path]
        ]
        rows = [{"index": index, "path": path, "filename": names[path]} for path in new]
        self.insert(schema.unreachable.name, rows)

        claims = [
            {"index": index, "path": path, "project": project}
            for path in new
            for project in projects[path]
        ]
        self.insert(schema.further_claim.name, claims)
        return set(new)

    def mark_unreachable(self, index: str, paths: Sequence[str]) -> set[str]:
        """Turn known files at ``paths`` into unreachable ones; returns those whose names no other
        path has."""
        removed = self.remove(index, paths)
        kept = self.record_unreachable(index, paths)
        claims = [
            {"index": index, "path": file.path, "project": file.project}
            for file in removed
            if file.path in kept
        ]
        self.insert(schema.further_claim.name, claims)
        return kept

    def record_pageless(self, index: str) -> None:
        """Record projects that have only unreachable files after a scan: they get pages."""
        for project, display in self.projects_without_page(index).items():
            self._journal(index, project, display, "refused")

    def release_duplicates(self, index: str, filenames: Collection[str]) -> list[str]:
        """Remove rejections of duplicates of ``filenames``, which were removed; returns their
        paths, to be examined again."""
        duplicates = self.duplicates(index) if filenames else ()
        paths = [each.path for each in duplicates if _filename(each.path) in filenames]
        self._forget_rejections(index, paths)
        return paths

    def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows salvaged from a damaged catalog; of two with one key, the first."""
        statement = sqlite.insert(schema.metadata.tables[table]).on_conflict_do_nothing()
        for portion in portions(rows):
            self._connection.execute(statement, list(portion))

    def _claim(self, index: str, claims: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Insert claims, given as path and project; returns the new ones."""
        known = self._claims(index, sorted({path for path, _ in claims}))
        has_claim = {claim.path for claim in known}
        existing = {(claim.path, claim.project) for claim in known}
        new = [claim for claim in claims if claim not in existing]

        rows: dict[sa.Table, list[dict[str, Any]]] = {each: [] for each in CLAIMS}
        for path, project in new:
            table = schema.further_claim if path in has_claim else schema.claim
            rows[table].append({"index": index, "path": path, "project": project})
            has_claim.add(path)

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
        """Return the projects of files of these names; of unreachable files, the possible ones."""
        projects = {
            name: set(possible(path))
            for name, path in self.unreachable_named(index, filenames).items()
        }
        for portion in portions(filenames):
            where = schema.file.c.index == index, schema.file.c.filename.in_(portion)
            projects |= {file.filename: {file.project} for file in self._files(*where)}
        return projects

    def _forget_rejections(
        self,
        index: str,
        paths: Sequence[str],
        successors: Mapping[str, File] = MappingProxyType({}),
    ) -> None:
        """Remove rejected and unreachable files at ``paths``; projects that get no file from
        ``successors`` (by path) get a line in the journal."""
        if not paths or not self._has_rejections(index):  # as mostly
            return
        for claim in self._claims(index, paths):
            if claim.path not in successors or successors[claim.path].project != claim.project:
                display = self._displayed(index, claim.project) or claim.project
                self._journal(index, claim.project, display, "cleared", claim.path)
        for portion in portions(paths):
            for table in _HELD:
                self._connection.execute(sa.delete(table).where(*at_paths(table, index, portion)))

    def _has_rejections(self, index: str) -> bool:
        """Return whether an index has rejected or unreachable files, or claims of them."""
        found = (sa.exists().where(table.c.index == index) for table in _HELD)
        return bool(self._connection.scalar(sa.select(sa.or_(*found))))


def _filename(path: str) -> str:
    return path.rpartition("/")[2]


def duplicate(file: File, path: str) -> Rejection:
    """Return the rejection of a file whose name the index has at ``path``."""
    reason = f"duplicate: the index already has this file name, at {path}"
    return Rejection(file.path, Code.DUPLICATE, reason, file.size, file.mtime_ns, file.inode)


def _to_row(index: str, rejection: Rejection) -> dict[str, Any]:
    """Return its columns. A release with tables before version 3 examines files with a negative
    inode again: this allows going back to one."""
    inode = -1 if rejection.retry else rejection.inode
    more = {"code": rejection.code.value, "inode": inode, "sha256": None}
    return to_row(index, rejection) | more
