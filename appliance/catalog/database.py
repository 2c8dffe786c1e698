"""The catalog file: connections and transactions, replacement, integrity check.

Every change goes through :meth:`Catalog.change`: it gets the next serial in the same transaction
as the rows it changes, so that no change is visible without its line in the journal.
"""

import contextlib
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from appliance.atomic import make_directory, sync_paths, unlink
from appliance.catalog import schema
from appliance.catalog.reader import Reader
from appliance.catalog.recorder import UNKNOWN
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.index.model import Actor
from appliance.locks import locked


class CatalogError(PyindexError):
    """The catalog file cannot be read or written."""


class Catalog:
    """The catalog in the SQLite file at ``path``; safe for many threads and processes.

    ``create`` makes the file and its tables if they are missing (what it begins with is for
    :func:`appliance.operations.opening.open_catalog` to say); without it a missing catalog is a
    :class:`CatalogError` at the first use.
    """

    def __init__(self, path: Path, create: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._engine: sa.Engine | None = None
        self._opened: _File | None = None
        if create:
            make_directory(path.parent)
            if not path.exists():
                self._create()
            with self._connect("BEGIN IMMEDIATE") as connection:
                schema.migrate(connection, create=True)  # an empty file, too

    def close(self) -> None:
        """Close what is open; the next use opens it again."""
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
    def change(self, by: Actor = UNKNOWN) -> Iterator[Writer]:
        """One transaction; the journal and the projects' serials are written at its end. The
        journal has ``by`` as who made the changes."""
        with self._connect("BEGIN IMMEDIATE") as connection:
            writer = Writer(connection, by)
            yield writer
            writer.finish()

    def set_mark(self, name: str, value: int, durable: bool = True) -> None:
        """Store a number, such as the serial up to which ``pages`` or ``lists`` are published. One
        that is not ``durable`` may be lost with the power, unless another change was made since."""
        with self._connect("BEGIN IMMEDIATE", durable=durable) as connection:
            schema.upsert(connection, schema.mark, [{"name": name, "value": value}])

    def clear_mark(self, name: str, value: int) -> None:
        """Delete the number ``name`` if it is still ``value``."""
        mark = schema.mark.c
        with self._connect("BEGIN IMMEDIATE") as connection:
            same = mark.name == name, mark.value == value
            connection.execute(sa.delete(schema.mark).where(*same))

    def check(self) -> None:
        """Raise :class:`CatalogError` if the database is damaged."""
        with self._connect("BEGIN") as connection:
            result = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        if result != "ok":
            raise CatalogError(f"catalog {self.path}: malformed: {' '.join(str(result).split())}")

    def replace_rows(
        self, copy: Path, action: str, at_least: int, then: Callable[[Writer], None]
    ) -> None:
        """Replace all rows with those of the catalog at ``copy``, in one transaction. A line in the
        journal names the ``action``, with a serial after ``at_least`` and all earlier serials;
        ``then`` is called with the writer of the same transaction.

        Columns that an older catalog does not have get their defaults.
        """
        with self._connect("BEGIN IMMEDIATE", other=copy) as connection:
            last, number = Reader(connection).serial(), Reader(connection).mark("backup")

            for table in schema.metadata.sorted_tables:
                columns = ", ".join(f'"{name}"' for name in _columns(connection, table.name))
                if table is not schema.used:  # names that were used since stay so
                    connection.execute(sa.delete(table))
                if columns:
                    connection.exec_driver_sql(
                        f'INSERT OR IGNORE INTO main."{table.name}" ({columns})'  # noqa: S608 - of the schema
                        f' SELECT {columns} FROM other."{table.name}"'
                    )
            if number:  # backups of this catalog carry it, backups of the other catalog do not
                mark = [{"name": "backup", "value": number}]
                schema.upsert(connection, schema.mark, mark)

            writer = Writer(connection)
            writer.record_replacement(action, max(at_least, last))
            then(writer)
            writer.finish()

    def compact(self) -> None:
        """Return the space of deleted rows to the file system if there is enough of it."""
        with self._connect("") as connection:
            pages, free = (
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("page_count", "freelist_count")
            )
            if free > max(_MANY_PAGES, pages // 4):
                connection.exec_driver_sql("VACUUM")

    # --- plumbing ------------------------------------------------------------------------------

    def _create(self) -> None:
        """Create the file with its tables in one step: a process that opens it meanwhile finds no
        file, and never one without tables."""
        new = self.path.with_name(f"{self.path.name}.new")
        with locked(self.path.with_name(f"{self.path.stem}.lock")):
            if self.path.exists():
                return
            # SQLite would apply a write-ahead log that is left of a lost file to the new one.
            for path in (new, *_companions(new), *_companions(self.path)):
                unlink(path)
            new.touch(mode=0o640)
            try:
                _fill(new)
            except sa.exc.DatabaseError as error:
                raise CatalogError(
                    f"catalog {self.path}: {self._advice(str(error.orig))}"
                ) from error
            with contextlib.suppress(FileExistsError):  # a restore was faster
                os.link(new, self.path)
            unlink(new)
            sync_paths([str(self.path.parent)])

    @contextmanager
    def _connect(
        self, begin: str, other: Path | None = None, durable: bool = True
    ) -> Iterator[sa.Connection]:
        try:
            try:
                engine = self._readable()
            except sa.exc.OperationalError:
                # A process with write access closed the catalog, which removed its write-ahead log.
                engine = self._readable()

            if "IMMEDIATE" in begin and engine.url.query:  # see schema.open_engine
                raise CatalogError(f"catalog {self.path}: {self._advice('readonly database')}")

            with engine.connect() as connection:
                if other is not None:
                    connection.exec_driver_sql("ATTACH ? AS other", (str(other),))
                if (
                    begin != "BEGIN"
                ):  # each time: the last use of the connection may have had another
                    level = "FULL" if durable else "NORMAL"
                    connection.exec_driver_sql(f"PRAGMA synchronous={level}")
                try:
                    if begin:
                        connection.exec_driver_sql(begin)
                    yield connection
                    connection.commit()
                finally:
                    if other is not None:
                        connection.invalidate()  # the pool would keep the other catalog attached
        except sa.exc.DatabaseError as error:
            raise CatalogError(f"catalog {self.path}: {self._advice(str(error.orig))}") from error

    def _readable(self) -> sa.Engine:
        """Return the current engine; a read-only one after a first successful read."""
        engine = self._current()
        if engine.url.query:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA user_version")
        return engine

    def _current(self) -> sa.Engine:
        """Return the engine of the file now at the path: restoring a backup replaces the file."""
        try:
            file = self._file()
        except FileNotFoundError:
            raise CatalogError(
                f"catalog {self.path}: no such file; start the index once to create it"
            ) from None

        with self._lock:
            if self._engine is None or file != self._opened:
                self._engine = self._reopen(file)
                self._opened = file
            return self._engine

    def _reopen(self, file: "_File") -> sa.Engine:
        """Close the open engine and return one of ``file``."""
        if self._engine is not None:
            self._engine.dispose()
        engine = schema.open_engine(self.path, file.is_read_only, file.is_immutable)
        _engines.add(engine)
        _migrate(engine)
        return engine

    def _file(self) -> "_File":
        """Return the identity of the file now at the path."""
        status = self.path.stat()
        if unwritable(self.path.parent) is None or unwritable(self.path) is None:
            return _File(status.st_ino)

        with contextlib.suppress(FileNotFoundError):
            if Path(f"{self.path}-wal").stat().st_size:
                return _File(status.st_ino, is_read_only=True)
        return _File(status.st_ino, True, f"{status.st_mtime_ns} {status.st_size}")

    def _advice(self, error: str) -> str:
        if any(word in error for word in _DAMAGED):
            return f"{error}; run `pyindex rebuild`, or restore a backup"
        # SQLite cannot say so where its shared memory finds no space.
        if "full" in error or ("disk I/O" in error and _is_full(self.path.parent)):
            return f"{error}; free some disk space"
        if any(word in error for word in ("unable to open", "readonly", "disk I/O")):
            why = unwritable(self.path.parent) or unwritable(self.path)
            if why and "unable to open" in error and not self._file().is_immutable:
                why += f"; last changes are in {self.path.name}-wal; open it once with write access"
            return f"{error}; {why}" if why else error
        if "no such table" in error:
            return f"{error}; not a pyindex catalog, or empty; start the index once"
        return error


# No connection may outlive a fork: the child believes that it holds its parent's locks, and the
# parent removes the write-ahead log under the child when it closes. An engine may stay open for
# some time after its Catalog was collected.
_engines: "weakref.WeakSet[sa.Engine]" = weakref.WeakSet()


def _close_all() -> None:
    for engine in list(_engines):
        engine.dispose()


os.register_at_fork(before=_close_all)


@dataclass(frozen=True, slots=True)
class _File:
    """Identity of a catalog's file. A read-only file without a write-ahead log also has a
    ``version``: another host may write to it through another mount."""

    inode: int
    is_read_only: bool = False
    version: str = ""

    @property
    def is_immutable(self) -> bool:
        return bool(self.version)


_DAMAGED = ("malformed", "not a database", "decode", "constraint failed")
_MANY_PAGES = 2000
_SMALLEST = 64 * 1024  # bytes that SQLite needs for its companion files


def _is_full(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(directory).free < _SMALLEST
    return False


def unwritable(path: Path) -> str | None:
    """Return why this process cannot write to ``path``, or ``None`` if it can."""
    with contextlib.suppress(OSError):
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return f"{path}: file system is mounted read-only"
        if not os.access(path, os.W_OK, effective_ids=True):
            owner = path.stat().st_uid
            return f"{path}: permission denied: owned by uid {owner}, used by uid {os.geteuid()}"
    return None


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _fill(path: Path) -> None:
    """Create the tables in an empty file, which has no companion files afterwards."""
    engine = schema.open_engine(path)
    _engines.add(engine)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            schema.migrate(connection, create=True)
            connection.commit()
    finally:
        engine.dispose()


def _migrate(engine: sa.Engine) -> None:
    """Migrate the tables of an older version; without write access they are read as they are."""
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA user_version").scalar_one() >= schema.VERSION:
            return
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            schema.migrate(connection)
            connection.commit()
        except sa.exc.OperationalError as error:
            if "readonly" not in str(error.orig):
                raise


def _columns(connection: sa.Connection, table: str) -> list[str]:
    """Return the columns of ``table`` that the attached catalog also has."""
    attached = {row[1] for row in connection.exec_driver_sql(f'PRAGMA other.table_info("{table}")')}
    return [
        column.name for column in schema.metadata.tables[table].columns if column.name in attached
    ]
