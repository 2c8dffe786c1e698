"""Queries by path of a packages directory: accepted, rejected and unreachable files."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import Queries, at_paths, portions, select_rejections, to_rejection
from appliance.index.model import Code, Rejection, Stat


def _stat(table: sa.Table) -> list[sa.ColumnElement[Any]]:
    return [table.c.size, table.c.mtime_ns, table.c.inode]


_KNOWN = (schema.unreachable, schema.file, schema.refused)
# Size, mtime and inode of each row, and whether a file with this stat is known to be unchanged.
_STAT: dict[sa.Table, list[sa.ColumnElement[Any]]] = {
    schema.unreachable: [sa.null(), sa.null(), sa.null(), sa.false()],
    schema.file: [*_stat(schema.file), schema.file.c.doubted.is_not(True)],
    schema.refused: [*_stat(schema.refused), schema.refused.c.retry.is_(False)],
}


class InventoryQueries(Queries):
    """Known paths of a packages directory, relative to it, for scans to compare."""

    def stats(self, index: str, under: Iterable[str] = ("",)) -> dict[str, Stat | None]:
        """Return each accepted, rejected or unreachable path at or below ``under`` with the stat of
        its file; ``None`` where the file must be examined whatever its stat."""
        return {
            path: stat
            for table in _KNOWN
            for top in under
            for path, stat in self._stats(table, table.c.index == index, *_at_or_below(table, top))
        }

    def stats_at(self, index: str, paths: Sequence[str]) -> dict[str, Stat | None]:
        """As :meth:`stats`, of ``paths`` alone, without paths below them."""
        return {
            path: stat
            for table in _KNOWN
            for portion in portions(paths)
            for path, stat in self._stats(table, *at_paths(table, index, portion))
        }

    def stats_between(self, index: str, after: str, upto: str | None) -> dict[str, Stat | None]:
        """As :meth:`stats`, of paths after ``after`` up to ``upto`` inclusive, or to the end."""
        return {
            path: stat
            for table in _KNOWN
            for path, stat in self._stats(
                table, table.c.index == index, *_between(table, after, upto)
            )
        }

    def _stats(self, table: sa.Table, *where: Any) -> Iterator[tuple[str, Stat | None]]:
        query = sa.select(table.c.path, *_STAT[table]).where(*where)
        for path, size, mtime_ns, inode, is_known in self._connection.execute(query):
            yield path, Stat(size, mtime_ns, inode) if is_known else None

    def signed(self, index: str, under: Iterable[str] = ("",)) -> set[str]:
        """Return the paths of files with a detached signature, at or below ``under``."""
        table = schema.file
        signed = sa.select(table.c.path).where(table.c.index == index, table.c.signature)
        return {
            path
            for top in under
            for path in self._connection.scalars(signed.where(*_at_or_below(table, top)))
        }

    def signed_at(self, index: str, paths: Sequence[str]) -> set[str]:
        """Return those of ``paths`` at which a file has a detached signature."""
        table = schema.file
        signed = sa.select(table.c.path).where(table.c.signature)
        return {
            path
            for portion in portions(paths)
            for path in self._connection.scalars(signed.where(*at_paths(table, index, portion)))
        }

    def signed_between(self, index: str, after: str, upto: str | None) -> set[str]:
        """As :meth:`signed`, of paths after ``after`` up to ``upto`` inclusive, or to the end."""
        table = schema.file
        signed = sa.select(table.c.path).where(table.c.index == index, table.c.signature)
        return set(self._connection.scalars(signed.where(*_between(table, after, upto))))

    def accepted_at(self, index: str, paths: Sequence[str]) -> set[str]:
        """Return those of ``paths`` at which a file is accepted."""
        return {
            path
            for portion in portions(paths)
            for path in self._connection.scalars(
                sa.select(schema.file.c.path).where(*at_paths(schema.file, index, portion))
            )
        }

    def paths_of(self, index: str, filenames: Sequence[str]) -> dict[str, tuple[str, Stat]]:
        """Return path and stat of the accepted files of these names, by name."""
        table = schema.file.c
        return {
            row.filename: (row.path, Stat(row.size, row.mtime_ns, row.inode))
            for portion in portions(filenames)
            for row in self._connection.execute(
                sa.select(
                    table.filename, table.path, table.size, table.mtime_ns, table.inode
                ).where(table.index == index, table.filename.in_(portion))
            )
        }

    def used(self, index: str, filenames: Sequence[str]) -> dict[str, str]:
        """Return the SHA-256 of the last content under each of these names, by name, also of files
        that were removed."""
        present, removed = schema.file.c, schema.used.c
        digests: dict[str, str] = {}
        for portion in portions(filenames):
            for table in (removed, present):  # the present file comes last
                where = table.index == index, table.filename.in_(portion)
                rows = self._connection.execute(
                    sa.select(table.filename, table.sha256).where(*where)
                )
                digests.update((name, sha256) for name, sha256 in rows)
        return digests

    def rejections(self, index: str) -> list[Rejection]:
        """Return the rejected files, ordered by path."""
        table = schema.refused.c
        query = select_rejections().where(table.index == index).order_by(table.path)
        return [to_rejection(row) for row in self._connection.execute(query)]

    def rejections_at(self, index: str, paths: Sequence[str]) -> list[Rejection]:
        """Return the rejected files at ``paths``."""
        return [
            to_rejection(row)
            for portion in portions(paths)
            for row in self._connection.execute(
                select_rejections().where(*at_paths(schema.refused, index, portion))
            )
        ]

    def size(self, index: str) -> int:
        """Return the size of all accepted files in bytes."""
        query = sa.select(sa.func.sum(schema.file.c.size)).where(schema.file.c.index == index)
        return self._connection.scalar(query) or 0

    def rejected_count(self, index: str) -> int:
        """Return the number of rejected files."""
        query = sa.select(sa.func.count()).where(schema.refused.c.index == index)
        return self._connection.scalar(query) or 0

    def duplicates(self, index: str) -> list[Rejection]:
        """Return the files rejected as duplicates."""
        table = schema.refused.c
        query = select_rejections().where(table.index == index, table.code == Code.DUPLICATE.value)
        return [to_rejection(row) for row in self._connection.execute(query)]

    def unreachable_count(self, index: str) -> int:
        """Return the number of unreachable files, see :meth:`Writer.record_unreachable`."""
        query = sa.select(sa.func.count()).where(schema.unreachable.c.index == index)
        return self._connection.scalar(query) or 0

    def unreachable_at(self, index: str, paths: Sequence[str]) -> set[str]:
        """Return those of ``paths`` at which a file is unreachable."""
        return {
            path
            for portion in portions(paths)
            for path in self._connection.scalars(
                sa.select(schema.unreachable.c.path).where(
                    *at_paths(schema.unreachable, index, portion)
                )
            )
        }

    def unreachable_named(self, index: str, filenames: Sequence[str]) -> dict[str, str]:
        """Return the paths of unreachable files of these names, by name."""
        table = schema.unreachable.c
        query = sa.select(table.filename, table.path).where(table.index == index)
        return {
            name: path
            for portion in portions(filenames)
            for name, path in self._connection.execute(query.where(table.filename.in_(portion)))
        }

    def projects_without_page(self, index: str) -> dict[str, str]:
        """Return the display names of projects that have only unreachable files and no line in the
        journal, by name."""
        table = schema.project.c
        where = table.index == index, table.serial == 0, table.files > 0
        rows = self._connection.execute(sa.select(table.name, table.display).where(*where))
        return {row.name: row.display for row in rows}


def _at_or_below(table: sa.Table, path: str) -> tuple[sa.ColumnElement[bool], ...]:
    if not path:
        return ()
    below = (table.c.path >= f"{path}/") & (table.c.path < f"{path}0")  # "0" comes after "/"
    return ((table.c.path == path) | below,)


def _between(table: sa.Table, after: str, upto: str | None) -> tuple[sa.ColumnElement[bool], ...]:
    later = (table.c.path > after,)
    return later if upto is None else (*later, table.c.path <= upto)
