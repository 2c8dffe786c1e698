"""What is known of each path of a packages directory: a file that was accepted, one that was
rejected, or one that nobody has seen yet."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import Queries, at_paths, portions, select_rejections, to_rejection
from appliance.index.model import Code, Rejection, Stat


def _stat(table: sa.Table) -> list[sa.ColumnElement[Any]]:
    return [table.c.size, table.c.mtime_ns, table.c.inode]


_KNOWN = (schema.unseen, schema.file, schema.refused)
# Size, mtime and inode of each row, and whether a file that has them is the one that is known.
_STAT: dict[sa.Table, list[sa.ColumnElement[Any]]] = {
    schema.unseen: [sa.null(), sa.null(), sa.null(), sa.false()],
    schema.file: [*_stat(schema.file), schema.file.c.doubted.is_not(True)],
    schema.refused: [*_stat(schema.refused), schema.refused.c.retry.is_(False)],
}


class InventoryQueries(Queries):
    """Known paths of a packages directory, for scans to compare. Paths are relative to it."""

    def stats(self, index: str, under: Iterable[str] = ("",)) -> dict[str, Stat | None]:
        """Each known path at or below ``under``, accepted, rejected or remembered, with the stat
        by which its file is known; ``None`` where it is to be examined whatever that is."""
        return {
            path: stat
            for table in _KNOWN
            for top in under
            for path, stat in self._stats(table, table.c.index == index, *_at_or_below(table, top))
        }

    def stats_at(self, index: str, paths: Sequence[str]) -> dict[str, Stat | None]:
        """As :meth:`stats`, of those of ``paths`` that are known, without what is below them."""
        return {
            path: stat
            for table in _KNOWN
            for portion in portions(paths)
            for path, stat in self._stats(table, *at_paths(table, index, portion))
        }

    def stats_between(self, index: str, after: str, upto: str | None) -> dict[str, Stat | None]:
        """As :meth:`stats`, of paths after ``after``, up to and with ``upto`` or to the end."""
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
        """The paths of files with a detached signature, at or below ``under``."""
        table = schema.file
        signed = sa.select(table.c.path).where(table.c.index == index, table.c.signature)
        return {
            found
            for path in under
            for found in self._connection.scalars(signed.where(*_at_or_below(table, path)))
        }

    def signed_at(self, index: str, paths: Sequence[str]) -> set[str]:
        """Those of ``paths`` at which the index has a file with a detached signature."""
        table = schema.file
        signed = sa.select(table.c.path).where(table.c.signature)
        return {
            path
            for portion in portions(paths)
            for path in self._connection.scalars(signed.where(*at_paths(table, index, portion)))
        }

    def signed_between(self, index: str, after: str, upto: str | None) -> set[str]:
        """As :meth:`signed`, of paths after ``after``, up to and with ``upto`` or to the end."""
        table = schema.file
        signed = sa.select(table.c.path).where(table.c.index == index, table.c.signature)
        return set(self._connection.scalars(signed.where(*_between(table, after, upto))))

    def accepted_at(self, index: str, paths: Sequence[str]) -> set[str]:
        """Those of ``paths`` at which the index has a file."""
        return {
            path
            for portion in portions(paths)
            for path in self._connection.scalars(
                sa.select(schema.file.c.path).where(*at_paths(schema.file, index, portion))
            )
        }

    def places(self, index: str, filenames: Sequence[str]) -> dict[str, tuple[str, Stat]]:
        """Path, and size, mtime and inode, of the index's files of these names, by name."""
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

    def rejections(self, index: str) -> list[Rejection]:
        """The rejected files, by path."""
        table = schema.refused.c
        query = select_rejections().where(table.index == index).order_by(table.path)
        return [to_rejection(row) for row in self._connection.execute(query)]

    def rejections_at(self, index: str, paths: Sequence[str]) -> list[Rejection]:
        """The rejected files at ``paths``."""
        return [
            to_rejection(row)
            for portion in portions(paths)
            for row in self._connection.execute(
                select_rejections().where(*at_paths(schema.refused, index, portion))
            )
        ]

    def rejected_count(self, index: str) -> int:
        """How many files of the index's packages directory are rejected."""
        query = sa.select(sa.func.count()).where(schema.refused.c.index == index)
        return self._connection.scalar(query) or 0

    def duplicates(self, index: str) -> list[Rejection]:
        """Files rejected only because the index has another file of that name."""
        table = schema.refused.c
        here = table.index == index, table.code == Code.DUPLICATE.value
        return [
            to_rejection(row) for row in self._connection.execute(select_rejections().where(*here))
        ]

    def unseen(self, index: str) -> int:
        """How many files are remembered that were not seen yet, see :meth:`Writer.remember`."""
        query = sa.select(sa.func.count()).where(schema.unseen.c.index == index)
        return self._connection.scalar(query) or 0

    def unseen_at(self, index: str, paths: Sequence[str]) -> set[str]:
        """Those of ``paths`` at which there are such files."""
        return {
            path
            for portion in portions(paths)
            for path in self._connection.scalars(
                sa.select(schema.unseen.c.path).where(*at_paths(schema.unseen, index, portion))
            )
        }

    def unseen_named(self, index: str, filenames: Sequence[str]) -> dict[str, str]:
        """Paths of such files that have these names, by name."""
        table = schema.unseen.c
        query = sa.select(table.filename, table.path).where(table.index == index)
        return {
            name: path
            for portion in portions(filenames)
            for name, path in self._connection.execute(query.where(table.filename.in_(portion)))
        }

    def pageless(self, index: str) -> dict[str, str]:
        """Projects that the journal does not name, which are there for such files; with how they
        are written."""
        table = schema.project.c
        here = table.index == index, table.serial == 0, table.files > 0
        rows = self._connection.execute(sa.select(table.name, table.display).where(*here))
        return {row.name: row.display for row in rows}


def _at_or_below(table: sa.Table, path: str) -> tuple[sa.ColumnElement[bool], ...]:
    if not path:
        return ()
    below = (table.c.path >= f"{path}/") & (table.c.path < f"{path}0")  # "0" comes after "/"
    return ((table.c.path == path) | below,)


def _between(table: sa.Table, after: str, upto: str | None) -> tuple[sa.ColumnElement[bool], ...]:
    here = (table.c.path > after,)
    return here if upto is None else (*here, table.c.path <= upto)
