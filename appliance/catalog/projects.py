"""Projects and files as an index has them."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import (
    Queries,
    at,
    has_page,
    parts,
    quarantined,
    select_files,
    to_file,
)
from appliance.index.index import Counts, Listed
from appliance.index.model import File, Project
from appliance.index.names import normalize, version_key

_STEPS = 10_000  # of SQLite's machine, between two looks at the clock


class ProjectQueries(Queries):
    """What an index offers. Indexes are named; projects are normalised names."""

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
        here = schema.project.c.index == index, schema.project.c.name.in_(names), has_page()
        return self._connection.execute(sa.select(schema.project).where(*here)).all()

    def projects(self, index: str) -> Iterator[Listed]:
        """Name, display name and serial of each project, by name."""
        query = (
            sa.select(schema.project.c.name, schema.project.c.display, schema.project.c.serial)
            .where(schema.project.c.index == index, has_page())
            .order_by(schema.project.c.name)
        )
        for row in self._connection.execute(query):
            yield Listed(row.name, row.display, row.serial)

    def names(self, index: str, after: str, limit: int) -> list[str]:
        """At most ``limit`` names of projects in order, beginning after the name ``after``."""
        name = schema.project.c.name
        query = sa.select(name).where(schema.project.c.index == index, name > after, has_page())
        return list(self._connection.scalars(query.order_by(name).limit(limit)))

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

    def counts(self, index: str) -> Counts:
        """How many projects and files the index has."""
        projects = sa.select(sa.func.count()).where(schema.project.c.index == index, has_page())
        files = sa.select(sa.func.count()).where(schema.file.c.index == index)
        return Counts(self._connection.scalar(projects) or 0, self._connection.scalar(files) or 0)

    def file(self, index: str, filename: str) -> File | None:
        found = self._files(schema.file.c.index == index, schema.file.c.filename == filename)
        return found[0] if found else None

    def file_at(self, index: str, path: str) -> File | None:
        found = self._files(schema.file.c.index == index, schema.file.c.path == path)
        return found[0] if found else None

    def files_at(self, index: str, paths: Sequence[str]) -> list[File]:
        """The index's files at ``paths``."""
        return [
            file for part in parts(paths) for file in self._files(*at(schema.file, index, part))
        ]

    def files_after(self, index: str, after: str = "", limit: int = 1000) -> list[File]:
        """At most ``limit`` files by path, beginning after the path ``after``."""
        file = schema.file.c
        query = select_files().where(file.index == index, file.path > after)
        rows = self._connection.execute(query.order_by(file.path).limit(limit))
        return [to_file(row) for row in rows]

    def offered(self, index: str, after: str = "", limit: int = 1000) -> list[File]:
        """At most ``limit`` files by path, beginning after the path ``after``; none of quarantined
        projects (PEP 792)."""
        file = schema.file.c
        query = select_files().where(file.index == index, file.path > after, ~quarantined())
        rows = self._connection.execute(query.order_by(file.path).limit(limit))
        return [to_file(row) for row in rows]

    def offered_at(self, index: str, paths: Sequence[str]) -> list[File]:
        """As :meth:`offered`, of those at ``paths``."""
        return [
            file
            for part in parts(paths)
            for file in self._files(*at(schema.file, index, part), ~quarantined())
        ]

    def accepted(self, index: str) -> Iterator[tuple[str, bool, bool]]:
        """The path of each file that may be fetched, whether there is a signature, and whether
        metadata; none of quarantined projects (PEP 792)."""
        file = schema.file.c
        query = sa.select(file.path, file.signature, file.core_metadata.is_not(None))
        for row in self._connection.execute(query.where(file.index == index, ~quarantined())):
            yield row[0], row[1], row[2]

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
        there = project.index.in_(indexes), project.status != "quarantined", has_page()
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
