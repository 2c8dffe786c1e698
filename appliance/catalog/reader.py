"""Questions to the catalog, in one consistent view of it."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.index.model import DUPLICATE, Change, Decisions, File, Project, Refusal
from appliance.index.names import normalize, version_key

_T = TypeVar("_T")
Stat = tuple[int, int, int]  # size, mtime in nanoseconds, inode


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

    def marks(self) -> dict[str, int]:
        """All numbers that were remembered."""
        rows = self._connection.execute(sa.select(schema.mark))
        return {row.name: row.value for row in rows}

    def project(self, index: str, name: str) -> Project | None:
        """The project with its files, or ``None`` if this index has none of that name.

        A project whose files are all gone is there still if something was decided about it.
        """
        return self.named(index, [name]).get(name)

    def named(self, index: str, names: Sequence[str]) -> dict[str, Project]:
        """Those of the named projects that this index has, with their files, by name."""
        rows = [row for part in parts(names) for row in self._project_rows(index, part)]
        files: dict[str, list[File]] = {row.name: [] for row in rows}
        for part in parts(list(files)):
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

    def last_serials(
        self, indexes: Sequence[str], names: Sequence[str] | None = None
    ) -> dict[str, int]:
        """The serial of the last change to each of the named projects, or to all, in whichever of
        ``indexes``, whether it is there still or not."""
        table = schema.project
        query = sa.select(table.c.name, sa.func.max(table.c.serial)).group_by(table.c.name)
        query = query.where(table.c.index.in_(indexes))
        queries = (
            [query]
            if names is None
            else [query.where(table.c.name.in_(part)) for part in parts(names)]
        )
        return {name: serial for each in queries for name, serial in self._connection.execute(each)}

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

    def decided(self, since: int) -> list[Change]:
        """The journal's decisions after serial ``since``, and what replaced all of them."""
        line = schema.journal.c
        query = sa.select(schema.journal).where(line.serial > since, line.action.in_(DECIDING))
        return [
            Change(**row._mapping) for row in self._connection.execute(query.order_by("serial"))
        ]

    def older(self, time: int, up_to: int) -> tuple[int, int]:
        """How many lines of the journal, from the first on, have a time before ``time`` and no
        serial after ``up_to``; and the serial of the last of them."""
        line = schema.journal.c
        newer = sa.select(sa.func.min(line.serial)).where(line.time >= time)
        end = min(self._connection.scalar(newer) or up_to + 1, up_to + 1)
        query = sa.select(sa.func.count(), sa.func.max(line.serial)).where(line.serial < end)
        count, last = self._connection.execute(query).one()
        return count, last or 0

    def decisions(self) -> Decisions:
        """Every decision that holds now."""
        yanks, project = schema.yank, schema.project
        query = sa.select(project).where(project.c.status != "active")
        return Decisions(
            whole=True,
            yanks={
                (index, filename): reason
                for index, filename, reason in self._connection.execute(sa.select(yanks))
            },
            statuses={
                (row._mapping["index"], row.name): (row.status, row.status_reason)
                for row in self._connection.execute(query)
            },
        )

    def left(self, since: int) -> set[tuple[str, str]]:
        """Index and path of each file that the journal says went away after serial ``since``."""
        line = schema.journal.c
        path = sa.case((line.action == "moved", line.detail), else_=line.path)
        query = sa.select(line.index, path).where(
            line.serial > since, line.action.in_(("removed", "moved")), path.is_not(None)
        )
        return {(index, path) for index, path in self._connection.execute(query)}

    def touched(self, since: int) -> tuple[dict[tuple[str, str], str], set[tuple[str, str]]]:
        """What the journal names after serial ``since``: index and path of each file, with the
        path that it was moved from or ""; index and name of each project that changed as a whole.
        """
        line = schema.journal.c
        query = sa.select(line.index, line.project, line.action, line.path, line.detail)
        rows = self._connection.execute(query.where(line.serial > since)).all()
        files = {
            (index, path): detail or "" if action == "moved" else ""
            for index, _, action, path, detail in rows
            if path is not None
        }
        return files, {(index, name) for index, name, _, path, _ in rows if path is None}

    def accepted(self, index: str) -> Iterator[tuple[str, bool, bool]]:
        """The path of each file that may be fetched, whether there is a signature, and whether
        metadata; none of quarantined projects (PEP 792)."""
        file = schema.file.c
        query = sa.select(file.path, file.signature, file.core_metadata.is_not(None))
        for row in self._connection.execute(query.where(file.index == index, ~_quarantined())):
            yield row[0], row[1], row[2]

    def file(self, index: str, filename: str) -> File | None:
        found = self._files(schema.file.c.index == index, schema.file.c.filename == filename)
        return found[0] if found else None

    def file_at(self, index: str, path: str) -> File | None:
        found = self._files(schema.file.c.index == index, schema.file.c.path == path)
        return found[0] if found else None

    def files_after(self, index: str, after: str = "", limit: int = 1000) -> list[File]:
        """At most ``limit`` files by path, beginning after the path ``after``."""
        file = schema.file.c
        query = _select_files().where(file.index == index, file.path > after)
        rows = self._connection.execute(query.order_by(file.path).limit(limit))
        return [_to_file(row) for row in rows]

    def offered(self, index: str, after: str = "", limit: int = 1000) -> list[File]:
        """At most ``limit`` files by path, beginning after the path ``after``; none of quarantined
        projects (PEP 792)."""
        file = schema.file.c
        query = _select_files().where(file.index == index, file.path > after, ~_quarantined())
        rows = self._connection.execute(query.order_by(file.path).limit(limit))
        return [_to_file(row) for row in rows]

    def offered_at(self, index: str, paths: Sequence[str]) -> list[File]:
        """As :meth:`offered`, of those at ``paths``."""
        return [
            file
            for part in parts(paths)
            for file in self._files(*at(schema.file, index, part), ~_quarantined())
        ]

    def stats(self, index: str, under: Iterable[str] = ("",)) -> dict[str, Stat]:
        """Size, mtime and inode of each known path, at or below ``under``: accepted or refused, or
        remembered, of which these are -1."""
        return {
            path: (size, mtime_ns, inode)
            for table in _KNOWN
            for top in under
            for path, size, mtime_ns, inode in self._connection.execute(
                _stats(table).where(table.c.index == index, *_at_or_below(table, top))
            )
        }

    def stats_at(self, index: str, paths: Sequence[str]) -> dict[str, Stat]:
        """As :meth:`stats`, of those of ``paths`` that are known, without what is below them."""
        return {
            path: (size, mtime_ns, inode)
            for table in _KNOWN
            for part in parts(paths)
            for path, size, mtime_ns, inode in self._connection.execute(
                _stats(table).where(*at(table, index, part))
            )
        }

    def stats_between(self, index: str, after: str, upto: str | None) -> dict[str, Stat]:
        """As :meth:`stats`, of paths after ``after``, up to and with ``upto`` or to the end."""
        return {
            path: (size, mtime_ns, inode)
            for table in _KNOWN
            for path, size, mtime_ns, inode in self._connection.execute(
                _stats(table).where(table.c.index == index, *_between(table, after, upto))
            )
        }

    def signed_between(self, index: str, after: str, upto: str | None) -> set[str]:
        """As :meth:`signed`, of paths after ``after``, up to and with ``upto`` or to the end."""
        table = schema.file
        signed = sa.select(table.c.path).where(table.c.index == index, table.c.signature)
        return set(self._connection.scalars(signed.where(*_between(table, after, upto))))

    def signed_at(self, index: str, paths: Sequence[str]) -> set[str]:
        """Those of ``paths`` at which the index has a file with a detached signature."""
        return {file.path for file in self.files_at(index, paths) if file.signature}

    def accepted_at(self, index: str, paths: Sequence[str]) -> set[str]:
        """Those of ``paths`` at which the index has a file."""
        return {
            path
            for part in parts(paths)
            for path in self._connection.scalars(
                sa.select(schema.file.c.path).where(*at(schema.file, index, part))
            )
        }

    def files_at(self, index: str, paths: Sequence[str]) -> list[File]:
        """The index's files at ``paths``."""
        return [
            file for part in parts(paths) for file in self._files(*at(schema.file, index, part))
        ]

    def places(self, index: str, filenames: Sequence[str]) -> dict[str, tuple[str, Stat]]:
        """Path, and size, mtime and inode, of the index's files of these names, by name."""
        table = schema.file.c
        return {
            row.filename: (row.path, (row.size, row.mtime_ns, row.inode))
            for part in parts(filenames)
            for row in self._connection.execute(
                sa.select(
                    table.filename, table.path, table.size, table.mtime_ns, table.inode
                ).where(table.index == index, table.filename.in_(part))
            )
        }

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
        """What was refused, by path."""
        table = schema.refused.c
        query = _select_refusals().where(table.index == index).order_by(table.path)
        return [to_refusal(row) for row in self._connection.execute(query)]

    def duplicates(self, index: str) -> list[Refusal]:
        """What was refused only since the index has another file of that name."""
        table = schema.refused.c
        here = table.index == index, table.reason.startswith(DUPLICATE, autoescape=True)
        return [
            to_refusal(row) for row in self._connection.execute(_select_refusals().where(*here))
        ]

    def refusals_at(self, index: str, paths: Sequence[str]) -> list[Refusal]:
        """What was refused at ``paths``."""
        return [
            to_refusal(row)
            for part in parts(paths)
            for row in self._connection.execute(
                _select_refusals().where(*at(schema.refused, index, part))
            )
        ]

    def counts(self, index: str) -> tuple[int, int]:
        """How many projects and files the index has."""
        projects = sa.select(sa.func.count()).where(schema.project.c.index == index, _has_page())
        files = sa.select(sa.func.count()).where(schema.file.c.index == index)
        return self._connection.scalar(projects) or 0, self._connection.scalar(files) or 0

    def refused_count(self, index: str) -> int:
        """How many files of the index's folder are refused."""
        query = sa.select(sa.func.count()).where(schema.refused.c.index == index)
        return self._connection.scalar(query) or 0

    def unseen(self, index: str) -> int:
        """How many files are remembered that were not seen yet, see :meth:`Writer.remember`."""
        query = sa.select(sa.func.count()).where(schema.unseen.c.index == index)
        return self._connection.scalar(query) or 0

    def unseen_at(self, index: str, paths: Sequence[str]) -> set[str]:
        """Those of ``paths`` at which there are such files."""
        return {
            path
            for part in parts(paths)
            for path in self._connection.scalars(
                sa.select(schema.unseen.c.path).where(*at(schema.unseen, index, part))
            )
        }

    def unseen_named(self, index: str, filenames: Sequence[str]) -> dict[str, str]:
        """Paths of such files that have these names, by name."""
        table = schema.unseen.c
        query = sa.select(table.filename, table.path).where(table.index == index)
        return {
            name: path
            for part in parts(filenames)
            for name, path in self._connection.execute(query.where(table.filename.in_(part)))
        }

    def pageless(self, index: str) -> dict[str, str]:
        """Projects that the journal does not name, which are there for such files; with how they
        are written."""
        table = schema.project.c
        here = table.index == index, table.serial == 0, table.files > 0
        rows = self._connection.execute(sa.select(table.name, table.display).where(*here))
        return {row.name: row.display for row in rows}

    def names(self, index: str, after: str, limit: int) -> list[str]:
        """At most ``limit`` names of projects in order, beginning after the name ``after``."""
        name = schema.project.c.name
        query = sa.select(name).where(schema.project.c.index == index, name > after, _has_page())
        return list(self._connection.scalars(query.order_by(name).limit(limit)))

    def changes_of(self, indexes: Sequence[str], since: int, limit: int) -> list[Change]:
        """At most ``limit`` lines of the journal about projects, after serial ``since``."""
        line = schema.journal.c
        query = sa.select(schema.journal).where(
            line.serial > since, line.index.in_(indexes), line.project != ""
        )
        rows = self._connection.execute(query.order_by(line.serial).limit(limit))
        return [Change(**row._mapping) for row in rows]

    def search(
        self, indexes: Sequence[str], words: Sequence[str], limit: int, seconds: float
    ) -> list[str]:
        """Names of projects whose name has all ``words``, the best match first, and then of those
        that have them in name and summary together, as far as there is time for it."""
        project = schema.project.c
        phrase = normalize("-".join(words))
        rank = sa.case(
            (project.name == phrase, 0),
            (project.name.startswith(phrase, autoescape=True), 1),
            (project.name.contains(phrase, autoescape=True), 2),
            else_=3,
        )
        there = project.index.in_(indexes), project.status != "quarantined", _has_page()
        in_name = [project.name.contains(normalize(word), autoescape=True) for word in words]
        query = sa.select(project.name).where(*there, *in_name).group_by(project.name)
        query = query.order_by(rank, sa.func.length(project.name), project.name).limit(limit)
        found = list(self._connection.scalars(query))
        text = project.name + " " + sa.func.coalesce(schema.file.c.summary, "")
        anywhere = [
            text.icontains(word, autoescape=True) | by_name
            for word, by_name in zip(words, in_name, strict=True)
        ]
        same = (schema.file.c.index == project.index) & (schema.file.c.project == project.name)
        more = sa.select(project.name).join(schema.file, same).where(*there, *anywhere).distinct()
        told = set(found)
        with self._at_most(seconds):
            for name in self._connection.scalars(more):
                if len(told) >= limit:
                    break
                told.add(name)
        rest = sorted(told.difference(found), key=lambda name: (len(name), name))
        return found + rest

    @contextmanager
    def _at_most(self, seconds: float) -> Iterator[None]:
        """End the statements within when they have taken so long; what came until then counts."""
        connection: Any = self._connection.connection.dbapi_connection
        end = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            yield
        except sa.exc.OperationalError as error:
            if "interrupted" not in str(error.orig):
                raise
        finally:
            connection.set_progress_handler(None, 0)

    def _files(self, *where: Any) -> list[File]:
        return [_to_file(row) for row in self._connection.execute(_select_files().where(*where))]


# The actions of the journal that are decisions, and the one that puts others in all their places.
DECIDING = ("yanked", "unyanked", "status", "restored")
_STEPS = 10_000  # of SQLite's machine, between two looks at the clock
_PART = 500  # SQLite takes a bounded number of parameters in one statement


def parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """``values`` in portions that one statement can take."""
    for start in range(0, len(values), _PART):
        yield values[start : start + _PART]


def _has_page() -> sa.ColumnElement[bool]:
    return (schema.project.c.files > 0) | (schema.project.c.status != "active")


def _quarantined() -> sa.ColumnElement[bool]:
    """The condition for files of quarantined projects."""
    file, project = schema.file.c, schema.project.c
    return sa.exists().where(
        project.index == file.index,
        project.name == file.project,
        project.status == "quarantined",
    )


def at(table: sa.Table, index: str, paths: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
    """The condition for rows at ``paths``."""
    return table.c.index == index, table.c.path.in_(paths)


def _at_or_below(table: sa.Table, path: str) -> tuple[sa.ColumnElement[bool], ...]:
    if not path:
        return ()
    below = (table.c.path >= f"{path}/") & (table.c.path < f"{path}0")  # "0" comes after "/"
    return ((table.c.path == path) | below,)


def _between(table: sa.Table, after: str, upto: str | None) -> tuple[sa.ColumnElement[bool], ...]:
    here = (table.c.path > after,)
    return here if upto is None else (*here, table.c.path <= upto)


_KNOWN = (schema.unseen, schema.file, schema.refused)


def _stats(table: sa.Table) -> sa.Select[Any]:
    """Path, size, mtime and inode of each row."""
    names = ("size", "mtime_ns", "inode")
    return sa.select(table.c.path, *(table.c.get(name, sa.literal(-1)) for name in names))


_FILE = tuple(name for name in File.__dataclass_fields__ if name != "yanked")


def _select_files() -> sa.Select[Any]:
    """The fields of :class:`File` in their order; ``yanked`` is the last."""
    join = (schema.yank.c.index == schema.file.c.index) & (
        schema.yank.c.filename == schema.file.c.filename
    )
    columns = [schema.file.c[name] for name in _FILE]
    return sa.select(*columns, schema.yank.c.reason).outerjoin_from(schema.file, schema.yank, join)


def _select_refusals() -> sa.Select[Any]:
    return sa.select(*(schema.refused.c[name] for name in Refusal.__dataclass_fields__))


def _to_file(row: sa.Row[Any]) -> File:
    fields: Iterable[Any] = row
    return File(*fields)


def _to_project(row: sa.Row[Any], files: list[File]) -> Project:
    order = _order({file.version for file in files})
    files.sort(key=lambda file: (order[file.version], file.filename))
    return Project(
        index=row._mapping["index"],
        name=row.name,
        display=row.display,
        serial=row.serial,
        status=row.status,
        status_reason=row.status_reason,
        files=tuple(files),
    )


def _order(versions: Iterable[str]) -> dict[str, int]:
    """The place of each version, the same for two spellings of one; to compare versions for each
    file would cost many times that."""
    keys = {version: version_key(version) for version in versions}
    known: list[tuple[Any, str]] = [
        (key, each) for each, (is_known, key) in keys.items() if is_known
    ]
    # By the second part of the key alone: Python compares pairs for equality first.
    known.sort(key=itemgetter(0))
    ordered = sorted(each for each, (is_known, _) in keys.items() if not is_known)
    ordered += [each for _, each in known]
    order: dict[str, int] = {}
    last = ""
    for number, each in enumerate(ordered):
        order[each] = order[last] if last and keys[each] == keys[last] else number
        last = each
    return order


def to_refusal(row: sa.Row[Any]) -> Refusal:
    values = row._mapping
    return Refusal(**{name: values[name] for name in Refusal.__dataclass_fields__})
