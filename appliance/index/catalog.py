"""The catalog: what each index holds, what was decided about it, and the journal of both.

Every change goes through :meth:`Catalog.change`: it gets the next serial in the same transaction
as the rows it changes, so that nothing can be seen that the journal does not tell.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from appliance.errors import PyindexError
from appliance.index import schema
from appliance.index.model import Change
from appliance.index.reader import Reader
from appliance.index.store import make_directory
from appliance.index.writer import Writer, now, to_row


class CatalogError(PyindexError):
    """The catalog file cannot be read or written."""


class Catalog:
    """The catalog in the SQLite file at ``path``; safe for many threads and processes.

    ``create`` makes the file and its tables if they are missing; without it a missing catalog is
    a :class:`CatalogError` at the first use.
    """

    def __init__(self, path: Path, create: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._engine: sa.Engine | None = None
        self._inode = 0
        if create:
            make_directory(path.parent)
            with self._connect("BEGIN IMMEDIATE", create=True) as connection:
                schema.metadata.create_all(connection)

    def close(self) -> None:
        """Close what is open; the next use opens it again. No connection may outlive a fork."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    # --- reading -------------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """One consistent view of the catalog."""
        with self._connect("BEGIN") as connection:
            yield Reader(connection)

    # --- writing -------------------------------------------------------------------------------

    @contextmanager
    def change(self) -> Iterator[Writer]:
        """One transaction; the journal and the projects' serials are written at its end."""
        with self._connect("BEGIN IMMEDIATE") as connection:
            writer = Writer(connection)
            yield writer
            writer.finish()

    def set_mark(self, name: str, value: int) -> None:
        """Remember a number, such as the serial that ``pages`` or ``lists`` are published up to."""
        with self._connect("BEGIN IMMEDIATE") as connection:
            schema.upsert(connection, schema.mark, [{"name": name, "value": value}])

    def check(self) -> None:
        """Raise :class:`CatalogError` if the file is damaged."""
        with self._connect("BEGIN") as connection:
            result = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if result != "ok":
            raise CatalogError(f"catalog {self.path}: malformed: {result}")

    def restore(self, rows: Mapping[str, list[dict[str, Any]]]) -> None:
        """Put rows of another catalog, by table, into this empty one."""
        with self._connect("BEGIN IMMEDIATE") as connection:
            for name, values in rows.items():
                schema.upsert(connection, schema.metadata.tables[name], values)
            connection.execute(sa.update(schema.project).values(files=0))

    def go_on(self, at_least: int, action: str) -> None:
        """Note in the journal what was done to the whole, with a serial after ``at_least``, so that
        no reader sees serials run backwards."""
        with self._connect("BEGIN IMMEDIATE") as connection:
            last = max(at_least, Reader(connection).serial())
            note = Change(last + 1, now(), "", "", action)
            connection.execute(sa.insert(schema.journal), [to_row("", note)])

    # --- plumbing ------------------------------------------------------------------------------

    @contextmanager
    def _connect(self, begin: str, create: bool = False) -> Iterator[sa.Connection]:
        try:
            with self._current(create).connect() as connection:
                connection.exec_driver_sql(begin)
                yield connection
                connection.commit()
        except sa.exc.DatabaseError as error:
            raise CatalogError(f"catalog {self.path}: {_advice(str(error.orig))}") from error

    def _current(self, create: bool) -> sa.Engine:
        """The engine of the file that is there now: a restored backup replaces the file."""
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            if not create:
                raise CatalogError(
                    f"catalog {self.path}: no such file; start the index once to make it"
                ) from None
            self.path.touch(mode=0o640)
            inode = self.path.stat().st_ino
        with self._lock:
            if self._engine is None or inode != self._inode:
                if self._engine is not None:
                    self._engine.dispose()
                self._engine, self._inode = schema.open_engine(self.path), inode
            return self._engine


def _advice(error: str) -> str:
    if "malformed" in error or "not a database" in error:
        return f"{error}; run `pyindex rebuild`, or restore a backup"
    if "full" in error:
        return f"{error}; free some space"
    if "unable to open" in error or "readonly" in error:
        return f"{error}; permission denied: it must be of the user who runs this, {os.geteuid()}"
    if "no such table" in error:
        return f"{error}; not a catalog of pyindex, or an empty one: start the index once"
    return error
