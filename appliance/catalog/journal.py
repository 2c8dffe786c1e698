"""Queries to the journal: every change, by its serial."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import Queries, portions
from appliance.index.model import Change

ACTIONS = (
    *("added", "removed", "moved", "replaced", "reread", "signed", "unsigned", "promoted"),
    *("owned", "yanked", "unyanked", "status", "refused", "cleared"),
    *("begun", "rebuilt", "recovered", "restored"),
)
"""All actions of entries."""

# The actions that are decisions, and the one that replaces all of them.
DECIDING = ("yanked", "unyanked", "status", "owned", "restored")

_SERIAL = sa.select(sa.func.max(schema.journal.c.serial))


@dataclass(frozen=True, slots=True)
class Touched:
    """Files and projects in some lines of the journal: index and path of each file, with the path
    before a move or ""; index and name of each project that changed as a whole."""

    files: dict[tuple[str, str], str]
    projects: set[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines of the journal to return: those that agree with each value that is not ``None``.

    Attributes:
        since: The earliest time, in microseconds since the epoch.
        actions: Any of them.
        project: A normalized name.
    """

    since: int | None = None
    index: str | None = None
    project: str | None = None
    actions: tuple[str, ...] = ()
    actor: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        line = schema.journal.c
        names = ("index", "project", "actor")
        same = [line[n] == getattr(self, n) for n in names if getattr(self, n) is not None]
        later = [] if self.since is None else [line.time >= self.since]
        return same + later + ([line.action.in_(self.actions)] if self.actions else [])


class JournalQueries(Queries):
    """Changes by serial."""

    def serial(self) -> int:
        """Return the serial of the last change; 0 before the first."""
        return self._connection.scalar(_SERIAL) or 0

    def changes(self, since: int, limit: int = 50_000) -> list[Change]:
        """Return at most ``limit`` lines of the journal after serial ``since``."""
        query = sa.select(schema.journal).where(schema.journal.c.serial > since)
        rows = self._connection.execute(query.order_by(schema.journal.c.serial).limit(limit))
        return [Change(**row._mapping) for row in rows]

    def changes_of(self, indexes: Sequence[str], since: int, limit: int) -> list[Change]:
        """Return at most ``limit`` lines about projects after serial ``since``."""
        line = schema.journal.c
        query = sa.select(schema.journal).where(
            line.serial > since, line.index.in_(indexes), line.project != ""
        )
        rows = self._connection.execute(query.order_by(line.serial).limit(limit))
        return [Change(**row._mapping) for row in rows]

    def last_changes(self, chosen: Filter, limit: int) -> list[Change]:
        """Return the last ``limit`` lines that a filter chooses, oldest first."""
        query = sa.select(schema.journal).where(*chosen.conditions())
        rows = self._connection.execute(query.order_by(schema.journal.c.serial.desc()).limit(limit))
        return [Change(**row._mapping) for row in rows][::-1]

    def chosen_changes(self, chosen: Filter, after: int, limit: int) -> list[Change]:
        """Return the first ``limit`` lines that a filter chooses after the serial ``after``."""
        line = schema.journal.c
        query = sa.select(schema.journal).where(line.serial > after, *chosen.conditions())
        rows = self._connection.execute(query.order_by(line.serial).limit(limit))
        return [Change(**row._mapping) for row in rows]

    def removals(self, filenames: Sequence[str]) -> list[Change]:
        """Return the removals of files of these names that the journal has, oldest first."""
        line = schema.journal.c
        query = sa.select(schema.journal).where(line.action == "removed")
        changes = [
            Change(**row._mapping)
            for portion in portions(filenames)
            for row in self._connection.execute(query.where(line.filename.in_(portion)))
        ]
        return sorted(changes, key=lambda change: change.serial)

    def decisions_since(self, since: int) -> list[Change]:
        """Return the decisions after serial ``since``, and changes that replaced all decisions."""
        line = schema.journal.c
        query = sa.select(schema.journal).where(line.serial > since, line.action.in_(DECIDING))
        return [
            Change(**row._mapping) for row in self._connection.execute(query.order_by("serial"))
        ]

    def count_older(self, time: int, now: int, up_to: int) -> tuple[int, int]:
        """Return the number of leading lines with a time before ``time`` and a serial up to
        ``up_to``, and the serial of the last of them.

        Lines after ``now``, written while the clock was ahead, are as old as those around them.
        """
        line = schema.journal.c
        newer = sa.select(sa.func.min(line.serial)).where(line.time >= time)
        # With the clock behind there may be no line up to now: then all are new.
        first = self._connection.scalar(newer.where(line.time <= now))
        first = first or self._connection.scalar(newer)
        end = min(first or up_to + 1, up_to + 1)
        query = sa.select(sa.func.count(), sa.func.max(line.serial)).where(line.serial < end)
        count, last = self._connection.execute(query).one()
        return count, last or 0

    def changed_projects(self, since: int) -> list[tuple[str, str]]:
        """Return index and name of each project changed after ``since``, oldest change first."""
        query = (
            sa.select(schema.project.c.index, schema.project.c.name)
            .where(schema.project.c.serial > since)
            .order_by(schema.project.c.serial)
        )
        return [(index, name) for index, name in self._connection.execute(query)]

    def removed_since(self, since: int) -> set[tuple[str, str]]:
        """Return index and path of each file removed or moved away after serial ``since``."""
        line = schema.journal.c
        path = sa.case((line.action == "moved", line.detail), else_=line.path)
        query = sa.select(line.index, path).where(
            line.serial > since, line.action.in_(("removed", "moved")), path.is_not(None)
        )
        return {(index, path) for index, path in self._connection.execute(query)}

    def touched(self, since: int) -> Touched:
        """Return the files and projects changed after serial ``since``."""
        line = schema.journal.c
        query = sa.select(line.index, line.project, line.action, line.path, line.detail)
        rows = self._connection.execute(query.where(line.serial > since)).all()
        return Touched(
            files={
                (index, path): detail or "" if action == "moved" else ""
                for index, _, action, path, detail in rows
                if path is not None
            },
            projects={(index, name) for index, name, _, path, _ in rows if path is None},
        )
