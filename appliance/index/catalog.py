"""The catalog: what each index holds, what was decided about it, and the journal of both.

Every change goes through :meth:`Catalog.change`: it gets the next serial in the same transaction
as the rows it changes, so that nothing can be seen that the journal does not tell.
"""

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from appliance.errors import PyindexError
from appliance.index import schema
from appliance.index.model import DUPLICATE, Change, File, Project, Refusal
from appliance.index.names import normalize, version_key
from appliance.index.store import make_directory

_NANOSECONDS_PER_MICROSECOND = 1000

_T = TypeVar("_T")
Stat = tuple[int, int, int]  # size, mtime in nanoseconds, inode


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

    # --- reading -------------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator["Reader"]:
        """One consistent view of the catalog."""
        with self._connect("BEGIN") as connection:
            yield Reader(connection)

    # --- writing -------------------------------------------------------------------------------

    @contextmanager
    def change(self) -> Iterator["Writer"]:
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

    def restore(self, rows: Mapping[str, list[dict[str, Any]]], at_least: int) -> None:
        """Put rows of another catalog, by table, into this empty one; serials go on after
        ``at_least``, so that no reader sees them run backwards."""
        with self._connect("BEGIN IMMEDIATE") as connection:
            for name, values in rows.items():
                table = schema.metadata.tables[name]
                schema.upsert(connection, table, values)
            connection.execute(sa.update(schema.project).values(files=0))
            last = max(at_least, Reader(connection).serial())
            note = Change(last + 1, _now(), "", "", "rebuilt")
            connection.execute(sa.insert(schema.journal), [_to_row("", note)])

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
    if "no such table" in error:
        return f"{error}; not a catalog of pyindex, or an empty one: start the index once"
    return error


class Reader:
    """Questions to one consistent view. Indexes are named; projects are normalised names."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def serial(self) -> int:
        """The serial of the last change; 0 before the first."""
        return self._connection.scalar(sa.select(sa.func.max(schema.journal.c.serial))) or 0

    def mark(self, name: str) -> int:
        """A number that was remembered; 0 if none was."""
        query = sa.select(schema.mark.c.value).where(schema.mark.c.name == name)
        return self._connection.scalar(query) or 0

    def project(self, index: str, name: str) -> Project | None:
        """The project with its files, or ``None`` if this index has none of that name.

        A project whose files are all gone is there still if something was decided about it.
        """
        return self.named(index, [name]).get(name)

    def named(self, index: str, names: Sequence[str]) -> dict[str, Project]:
        """Those of the named projects that this index has, with their files, by name."""
        rows = [row for part in _parts(names) for row in self._project_rows(index, part)]
        files: dict[str, list[File]] = {row.name: [] for row in rows}
        for part in _parts(list(files)):
            here = schema.file.c.index == index, schema.file.c.project.in_(part)
            for file in self._files(*here):
                files[file.project].append(file)
        return {row.name: _to_project(row, files[row.name]) for row in rows}

    def _project_rows(self, index: str, names: Sequence[str]) -> Sequence[sa.Row[Any]]:
        here = schema.project.c.index == index, schema.project.c.name.in_(names), _has_page()
        return self._connection.execute(sa.select(schema.project).where(*here)).all()

    def projects(self, index: str) -> Iterator[tuple[str, str, int]]:
        """Name, display name and serial of each project, by name."""
        query = (
            sa.select(schema.project.c.name, schema.project.c.display, schema.project.c.serial)
            .where(schema.project.c.index == index, _has_page())
            .order_by(schema.project.c.name)
        )
        for row in self._connection.execute(query):
            yield row.name, row.display, row.serial

    def changed_projects(self, since: int) -> list[tuple[str, str]]:
        """Index and name of each project with a change after ``since``, oldest change first."""
        query = (
            sa.select(schema.project.c.index, schema.project.c.name)
            .where(schema.project.c.serial > since)
            .order_by(schema.project.c.serial)
        )
        return [(index, name) for index, name in self._connection.execute(query)]

    def changes(self, since: int, limit: int = 50_000) -> list[Change]:
        """The journal after serial ``since``, at most ``limit`` lines."""
        query = sa.select(schema.journal).where(schema.journal.c.serial > since)
        rows = self._connection.execute(query.order_by(schema.journal.c.serial).limit(limit))
        return [Change(**row._mapping) for row in rows]

    def file(self, index: str, filename: str) -> File | None:
        found = self._files(schema.file.c.index == index, schema.file.c.filename == filename)
        return found[0] if found else None

    def file_at(self, index: str, path: str) -> File | None:
        found = self._files(schema.file.c.index == index, schema.file.c.path == path)
        return found[0] if found else None

    def files(self, index: str, after: str = "", limit: int = 1000) -> list[File]:
        """At most ``limit`` files by path, beginning after the path ``after``."""
        query = _select_files().where(schema.file.c.index == index, schema.file.c.path > after)
        rows = self._connection.execute(query.order_by(schema.file.c.path).limit(limit))
        return [_to_file(row) for row in rows]

    def stats(self, index: str, under: Iterable[str] = ("",)) -> dict[str, Stat]:
        """Size, mtime and inode of each known path, accepted or refused, at or below ``under``."""
        known: dict[str, Stat] = {}
        for table in (schema.file, schema.refused):
            columns = (table.c.path, table.c.size, table.c.mtime_ns, table.c.inode)
            for path in under:
                query = sa.select(*columns).where(
                    table.c.index == index, *_at_or_below(table, path)
                )
                for row in self._connection.execute(query):
                    known[row.path] = (row.size, row.mtime_ns, row.inode)
        return known

    def signed(self, index: str, under: Iterable[str] = ("",)) -> set[str]:
        """The paths of files with a detached signature, at or below ``under``."""
        table = schema.file
        signed = sa.select(table.c.path).where(table.c.index == index, table.c.signature)
        return {
            found
            for path in under
            for found in self._connection.scalars(signed.where(*_at_or_below(table, path)))
        }

    def refusals(self, index: str) -> list[Refusal]:
        query = (
            sa.select(schema.refused)
            .where(schema.refused.c.index == index)
            .order_by(schema.refused.c.path)
        )
        return [_to_refusal(row) for row in self._connection.execute(query)]

    def refusals_at(self, index: str, refusals: Sequence[Refusal]) -> list[Refusal]:
        """What was refused before at the paths of ``refusals``."""
        return [
            _to_refusal(row)
            for part in _parts([refusal.path for refusal in refusals])
            for row in self._connection.execute(
                sa.select(schema.refused).where(*_at(schema.refused, index, part))
            )
        ]

    def counts(self, index: str) -> tuple[int, int]:
        """How many projects and files the index has."""
        projects = sa.select(sa.func.count()).where(schema.project.c.index == index, _has_page())
        files = sa.select(sa.func.count()).where(schema.file.c.index == index)
        return self._connection.scalar(projects) or 0, self._connection.scalar(files) or 0

    def search(self, indexes: Sequence[str], words: Sequence[str], limit: int) -> list[str]:
        """Names of projects whose name or summary has all ``words``, the best match first."""
        text = schema.project.c.name + " " + sa.func.coalesce(schema.file.c.summary, "")
        every = [
            text.icontains(word, autoescape=True)
            | schema.project.c.name.contains(normalize(word), autoescape=True)
            for word in words
        ]
        phrase = normalize("-".join(words))
        rank = sa.case(
            (schema.project.c.name == phrase, 0),
            (schema.project.c.name.startswith(phrase, autoescape=True), 1),
            (schema.project.c.name.contains(phrase, autoescape=True), 2),
            else_=3,
        )
        query = (
            sa.select(schema.project.c.name)
            .join(
                schema.file,
                (schema.file.c.index == schema.project.c.index)
                & (schema.file.c.project == schema.project.c.name),
            )
            .where(
                schema.project.c.index.in_(indexes),
                schema.project.c.status != "quarantined",
                *every,
            )
            .group_by(schema.project.c.name)
            .order_by(
                sa.func.min(rank), sa.func.length(schema.project.c.name), schema.project.c.name
            )
            .limit(limit)
        )
        return list(self._connection.scalars(query))

    def _files(self, *where: Any) -> list[File]:
        return [_to_file(row) for row in self._connection.execute(_select_files().where(*where))]


class Writer(Reader):
    """Changes in one transaction. Each method that takes a file's ``path`` ignores unknown ones
    and says whether it changed anything."""

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__(connection)
        self._last = self.serial()
        self._time = _now()
        self._changes: list[Change] = []
        self._display: dict[tuple[str, str], str] = {}

    def add(self, index: str, files: Sequence[File]) -> list[Refusal]:
        """Put files in, in place of what was at their paths. Those whose name the index has at
        another path already are refused, and returned."""
        known = self._namesakes(index, files)
        by_path = {file.path: file for file in known}
        by_name = {file.filename: file for file in known}
        taken: dict[str, File] = {}
        refused = []
        for file in files:
            namesake = by_name.get(file.filename)
            if namesake is not None and namesake.path != file.path:
                refused.append(_duplicate(file, namesake))
                continue
            file = self._compare(index, by_path.get(file.path), file)
            taken[file.path] = by_path[file.path] = by_name[file.filename] = file
        schema.upsert(
            self._connection, schema.file, [_to_row(index, file) for file in taken.values()]
        )
        self._forget_refusals(index, list(taken))
        self.refuse(index, refused)
        return refused

    def _compare(self, index: str, old: File | None, new: File) -> File:
        """Journal what is new about a file; its upload time is that of its first appearance."""
        if old is None or old.sha256 != new.sha256:
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
        gone = [
            file for part in _parts(paths) for file in self._files(*_at(schema.file, index, part))
        ]
        for part in _parts(paths):
            self._connection.execute(sa.delete(schema.file).where(*_at(schema.file, index, part)))
        for file in gone:
            self._record(index, file, "removed", file.sha256)
        self._forget_refusals(index, paths)
        return gone

    def free(self, index: str, filenames: Collection[str]) -> list[str]:
        """Forget that files were refused as duplicates of ``filenames``, which are gone; returns
        their paths, to be looked at again."""
        paths = [
            refusal.path
            for refusal in (self.refusals(index) if filenames else ())
            if refusal.is_duplicate and refusal.path.rpartition("/")[2] in filenames
        ]
        self._forget_refusals(index, paths)
        return paths

    def move(self, index: str, old: str, new: str) -> bool:
        """Note that a file is at another path now."""
        file = self.file_at(index, old)
        if file is None or self.file_at(index, new) is not None:
            return False
        self._connection.execute(
            sa.update(schema.file).where(*_at(schema.file, index, [old])).values(path=new)
        )
        self._record(index, replace(file, path=new), "moved", old)
        return True

    def refuse(self, index: str, refusals: Iterable[Refusal]) -> None:
        """Note files that cannot be taken in. No journal: the index did not change."""
        rows = [_to_row(index, refusal) for refusal in refusals]
        schema.upsert(self._connection, schema.refused, rows)

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
        """Set a project's status (PEP 792)."""
        found = self.project(index, project)
        if found is None or (found.status, found.status_reason) == (status, reason):
            return False
        query = sa.update(schema.project).where(
            schema.project.c.index == index, schema.project.c.name == project
        )
        self._connection.execute(query.values(status=status, status_reason=reason))
        detail = status if reason is None else f"{status}: {reason}"
        self._journal(index, project, found.display, "status", detail=detail)
        return True

    def finish(self) -> None:
        """Write the journal, and give each project that it names its last serial."""
        if not self._changes:
            return
        self._connection.execute(
            sa.insert(schema.journal), [_to_row(change.index, change) for change in self._changes]
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
        count = (
            sa.select(sa.func.count())
            .where(
                schema.file.c.index == schema.project.c.index,
                schema.file.c.project == schema.project.c.name,
            )
            .scalar_subquery()
        )
        changed = sa.update(schema.project).where(
            schema.project.c.serial >= self._changes[0].serial
        )
        self._connection.execute(changed.values(files=count))

    def _namesakes(self, index: str, files: Sequence[File]) -> list[File]:
        """Known files that share a path or a name with one of ``files``."""
        return [
            known
            for part in _parts(files)
            for known in self._files(
                schema.file.c.index == index,
                schema.file.c.path.in_([file.path for file in part])
                | schema.file.c.filename.in_([file.filename for file in part]),
            )
        ]

    def _forget_refusals(self, index: str, paths: Sequence[str]) -> None:
        for part in _parts(paths):
            self._connection.execute(
                sa.delete(schema.refused).where(*_at(schema.refused, index, part))
            )

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


_PART = 500  # SQLite takes a bounded number of parameters in one statement


def _now() -> int:
    return time.time_ns() // _NANOSECONDS_PER_MICROSECOND


def _parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), _PART):
        yield values[start : start + _PART]


def _duplicate(file: File, namesake: File) -> Refusal:
    reason = f"{DUPLICATE}the index has this file name already, at {namesake.path}"
    return Refusal(file.path, reason, file.size, file.mtime_ns, file.inode)


def _has_page() -> sa.ColumnElement[bool]:
    return (schema.project.c.files > 0) | (schema.project.c.status != "active")


def _at(table: sa.Table, index: str, paths: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.index == index, table.c.path.in_(paths)


def _at_or_below(table: sa.Table, path: str) -> tuple[sa.ColumnElement[bool], ...]:
    if not path:
        return ()
    below = (table.c.path >= f"{path}/") & (table.c.path < f"{path}0")  # "0" comes after "/"
    return ((table.c.path == path) | below,)


def _select_files() -> sa.Select[Any]:
    yanked = schema.yank.c.reason.label("yanked")
    join = (schema.yank.c.index == schema.file.c.index) & (
        schema.yank.c.filename == schema.file.c.filename
    )
    return sa.select(schema.file, yanked).outerjoin_from(schema.file, schema.yank, join)


def _to_file(row: sa.Row[Any]) -> File:
    values = row._mapping
    return File(**{name: values[name] for name in File.__dataclass_fields__})


def _to_project(row: sa.Row[Any], files: list[File]) -> Project:
    files.sort(key=lambda file: (version_key(file.version), file.filename))
    return Project(
        index=row._mapping["index"],
        name=row.name,
        display=row.display,
        serial=row.serial,
        status=row.status,
        status_reason=row.status_reason,
        files=tuple(files),
    )


def _to_row(index: str, value: File | Refusal | Change) -> dict[str, Any]:
    """A value's columns (asdict would copy deeply, at ten times the cost)."""
    names = value.__dataclass_fields__.keys() - {"yanked"}
    return {name: getattr(value, name) for name in names} | {"index": index}


def _to_refusal(row: sa.Row[Any]) -> Refusal:
    values = row._mapping
    return Refusal(**{name: values[name] for name in Refusal.__dataclass_fields__})
