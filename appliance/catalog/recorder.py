"""Recorder: collects the changes of a transaction and writes the journal."""

import time
from collections.abc import Iterable
from functools import cache
from typing import Any

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.reader import Reader
from appliance.index.model import Actor, Change, File, Rejection

_NANOSECONDS_PER_MICROSECOND = 1000
CLAIMS = (schema.claim, schema.further_claim)
UNKNOWN = Actor()


class Recorder(Reader):
    """Collector of changes in their order; each gets the next serial.

    Attributes:
        by: Who makes the changes that are recorded from now on.
    """

    def __init__(self, connection: sa.Connection, by: Actor = UNKNOWN) -> None:
        super().__init__(connection)
        self.by = by
        self._last = self.serial()
        self._time = now()
        self._changes: list[Change] = []
        self._display: dict[tuple[str, str], str] = {}

    def finish(self) -> None:
        """Write the journal, and the serial of the last change to each project."""
        if not self._changes:
            return

        lines = [to_row(change.index, change) for change in self._changes]
        self._connection.execute(sa.insert(schema.journal), lines)

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

    def update_counts(self) -> None:
        """Give each project with a file or a claim a row, with the number of both."""
        self._remove_orphaned_claims()
        for table in (schema.file, *CLAIMS):
            self._add_projects_of(table)
        self._count(sa.true())

    def _remove_orphaned_claims(self) -> None:
        """Remove claims of files that are not in the catalog: an older release does not remove
        them with their files."""
        claim = schema.further_claim.c
        orphaned = [
            ~sa.exists().where(table.c.index == claim.index, table.c.path == claim.path)
            for table in (schema.refused, schema.unreachable)
        ]
        self._connection.execute(sa.delete(schema.further_claim).where(*orphaned))

    def _add_projects_of(self, table: sa.Table) -> None:
        """Insert projects named by rows of ``table`` that have no row yet."""
        project, column = schema.project.c, table.c
        display = column.get("name", column.project)
        values = [sa.literal(value) for value in (0, 0, "active")]

        missing = (
            sa.select(column.index, column.project, sa.func.min(display), *values)
            .where(
                ~sa.exists().where(project.index == column.index, project.name == column.project)
            )
            .group_by(column.index, column.project)
        )
        columns = ["index", "name", "display", "serial", "files", "status"]
        self._connection.execute(sa.insert(schema.project).from_select(columns, missing))

    def _count(self, which: sa.ColumnElement[bool]) -> None:
        """Update the number of files of projects."""
        self._connection.execute(_count_files().where(which))

    def _displayed(self, index: str, project: str) -> str | None:
        """Return the display name of an existing project."""
        if display := self._display.get((index, project)):
            return display
        table = schema.project.c
        query = sa.select(table.display).where(table.index == index, table.name == project)
        return self._connection.scalar(query)

    def _record_used(self, index: str, files: Iterable[File]) -> None:
        """Record names and digests of removed files."""
        rows = [{"index": index, "filename": f.filename, "sha256": f.sha256} for f in files]
        schema.upsert(self._connection, schema.used, rows)

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
        what = (index, project, action, path, filename, version, detail)
        change = Change(serial, self._time, *what, actor=self.by.name, address=self.by.address)
        self._changes.append(change)
        self._display[index, project] = display


@cache
def _count_files() -> sa.Update:
    """Return the statement that stores the number of files and claims of each project."""
    accepted, claimed, further = (
        sa.select(sa.func.count())
        .where(
            table.c.index == schema.project.c.index,
            table.c.project == schema.project.c.name,
        )
        .scalar_subquery()
        for table in (schema.file, *CLAIMS)
    )
    return sa.update(schema.project).values(files=accepted + claimed + further)


def now() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // _NANOSECONDS_PER_MICROSECOND


def to_row(index: str, value: File | Rejection | Change) -> dict[str, Any]:
    """Return a value's columns (asdict would copy deeply, at ten times the cost)."""
    names = value.__dataclass_fields__.keys() - {"yanked"}
    return {name: getattr(value, name) for name in names} | {"index": index}
