"""Queries for projects and accepted files of an index."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import (
    Queries,
    at_paths,
    has_page,
    portions,
    quarantined,
    select_files,
    to_file,
)
from appliance.index.index import Counts, Listed
from appliance.index.model import File, Project
from appliance.index.names import COMPANIONS
from appliance.index.versions import version_key


class ProjectQueries(Queries):
    """Projects and accepted files of one index each; project names are normalized (PEP 503)."""

    def project(self, index: str, name: str) -> Project | None:
        """Return the project with its files, or ``None`` if this index has none of that name.

        A project without files still exists if it has a status other than active.
        """
        return self.named(index, [name]).get(name)

    def named(self, index: str, names: Sequence[str]) -> dict[str, Project]:
        """Return the named projects of this index with their files, by name."""
        rows = [row for portion in portions(names) for row in self._project_rows(index, portion)]
        files: dict[str, list[File]] = {row.name: [] for row in rows}

        for portion in portions(list(files)):
            where = schema.file.c.index == index, schema.file.c.project.in_(portion)
            for file in self._files(*where):
                files[file.project].append(file)
        return {row.name: _to_project(row, files[row.name]) for row in rows}

    def status(self, index: str, name: str) -> str:
        """Return the status of a project (PEP 792), ``active`` for an unknown one."""
        table = schema.project.c
        query = sa.select(table.status).where(table.index == index, table.name == name)
        return self._connection.scalar(query) or "active"

    def _project_rows(self, index: str, names: Sequence[str]) -> Sequence[sa.Row[Any]]:
        where = schema.project.c.index == index, schema.project.c.name.in_(names), has_page()
        return self._connection.execute(sa.select(schema.project).where(*where)).all()

    def projects(self, index: str, first: str = "", end: str | None = None) -> Iterator[Listed]:
        """Yield name, display name and serial of each project, ordered by name, from the name
        ``first`` to before ``end``."""
        table = schema.project.c
        query = sa.select(table.name, table.display, table.serial)
        query = query.where(table.index == index, table.name >= first, has_page())
        if end is not None:
            query = query.where(table.name < end)
        for row in self._connection.execute(query.order_by(table.name)):
            yield Listed(row.name, row.display, row.serial)

    def names(self, index: str, after: str, limit: int) -> list[str]:
        """Return at most ``limit`` names of projects, in order, after the name ``after``."""
        name = schema.project.c.name
        query = sa.select(name).where(schema.project.c.index == index, name > after, has_page())
        return list(self._connection.scalars(query.order_by(name).limit(limit)))

    def last_serials(
        self, indexes: Sequence[str], names: Sequence[str] | None = None
    ) -> dict[str, int]:
        """Return the serial of the last change in any of ``indexes`` to each of the named projects,
        or to all, including projects that no longer exist."""
        table = schema.project
        query = sa.select(table.c.name, sa.func.max(table.c.serial)).group_by(table.c.name)
        query = query.where(table.c.index.in_(indexes))
        queries = (
            [query]
            if names is None
            else [query.where(table.c.name.in_(portion)) for portion in portions(names)]
        )
        return {name: serial for each in queries for name, serial in self._connection.execute(each)}

    def counts(self, index: str) -> Counts:
        """Return the numbers of projects and files of the index."""
        projects = sa.select(sa.func.count()).where(schema.project.c.index == index, has_page())
        files = sa.select(sa.func.count()).where(schema.file.c.index == index)
        return Counts(self._connection.scalar(projects) or 0, self._connection.scalar(files) or 0)

    def filenames(self, index: str, project: str) -> list[str]:
        """Return the names of the files of a project, without reading all of each."""
        file = schema.file.c
        query = sa.select(file.filename).where(file.index == index, file.project == project)
        return list(self._connection.scalars(query))

    def file(self, index: str, filename: str) -> File | None:
        files = self._files(schema.file.c.index == index, schema.file.c.filename == filename)
        return files[0] if files else None

    def file_at(self, index: str, path: str) -> File | None:
        files = self._files(schema.file.c.index == index, schema.file.c.path == path)
        return files[0] if files else None

    def files_at(self, index: str, paths: Sequence[str]) -> list[File]:
        """Return the files at ``paths``."""
        return [
            file
            for portion in portions(paths)
            for file in self._files(*at_paths(schema.file, index, portion))
        ]

    def files_after(self, index: str, after: str = "", limit: int = 1000) -> list[File]:
        """Return at most ``limit`` files ordered by path, after the path ``after``."""
        file = schema.file.c
        query = select_files().where(file.index == index, file.path > after)
        rows = self._connection.execute(query.order_by(file.path).limit(limit))
        return [to_file(row) for row in rows]

    def offered(self, index: str, after: str = "", limit: int = 1000) -> list[File]:
        """Return at most ``limit`` files ordered by path, after the path ``after``, without those
        of quarantined projects (PEP 792)."""
        file = schema.file.c
        query = select_files().where(file.index == index, file.path > after, ~quarantined())
        rows = self._connection.execute(query.order_by(file.path).limit(limit))
        return [to_file(row) for row in rows]

    def offered_at(self, index: str, paths: Sequence[str]) -> list[File]:
        """As :meth:`offered`, of files at ``paths``."""
        return [
            file
            for portion in portions(paths)
            for file in self._files(*at_paths(schema.file, index, portion), ~quarantined())
        ]

    def accepted(self, index: str) -> Iterator[tuple[str, tuple[str, ...], bool]]:
        """Yield the path of each file that may be downloaded, the endings of its companions, and
        whether it has metadata, without files of quarantined projects (PEP 792)."""
        file = schema.file.c
        columns = (file.path, file.core_metadata.is_not(None), file.signature, file.provenance)
        query = sa.select(*columns).where(file.index == index, ~quarantined())
        for path, has_metadata, *has in self._connection.execute(query):
            yield path, tuple(compress(COMPANIONS, has)), has_metadata


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
    """Return the rank of each version, equal for two spellings of one version. Comparing versions
    per file would cost many times as much."""
    keys = {version: version_key(version) for version in versions}
    is_known = {version: key[0] for version, key in keys.items()}

    # By the second half of the key alone: Python compares pairs for equality first.
    known: list[tuple[Any, str]] = [(keys[each][1], each) for each in keys if is_known[each]]
    known.sort(key=itemgetter(0))
    ordered = sorted(each for each in keys if not is_known[each])
    ordered += [each for _, each in known]

    order: dict[str, int] = {}
    last = ""
    for rank, each in enumerate(ordered):
        order[each] = order[last] if last and keys[each] == keys[last] else rank
        last = each
    return order
