"""Conditions, columns and row conversions shared by the catalog's queries."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.index.model import Code, File, Rejection

_T = TypeVar("_T")

_PARAMETERS = 500  # SQLite takes a bounded number of them in one statement
_CODES = {code.value: code for code in Code}
_FILE = tuple(name for name in File.__dataclass_fields__ if name != "yanked")


class Queries:
    """Base of queries to one consistent view of the catalog, over one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def _files(self, *where: Any) -> list[File]:
        return [to_file(row) for row in self._connection.execute(select_files().where(*where))]


def portions(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield ``values`` in portions that fit into one statement."""
    for start in range(0, len(values), _PARAMETERS):
        yield values[start : start + _PARAMETERS]


@cache
def has_page() -> sa.ColumnElement[bool]:
    return (schema.project.c.files > 0) | (schema.project.c.status != "active")


@cache
def quarantined() -> sa.ColumnElement[bool]:
    """Return the condition for files of quarantined projects."""
    file, project = schema.file.c, schema.project.c
    return sa.exists().where(
        project.index == file.index,
        project.name == file.project,
        project.status == "quarantined",
    )


def at_paths(
    table: sa.Table, index: str, paths: Sequence[str]
) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the condition for rows at ``paths``."""
    return table.c.index == index, table.c.path.in_(paths)


@cache
def select_files() -> sa.Select[Any]:
    """Return a query of the fields of :class:`File` in their order; ``yanked`` is the last."""
    join = (schema.yank.c.index == schema.file.c.index) & (
        schema.yank.c.filename == schema.file.c.filename
    )
    columns = [schema.file.c[name] for name in _FILE]
    return sa.select(*columns, schema.yank.c.reason).outerjoin_from(schema.file, schema.yank, join)


@cache
def select_rejections() -> sa.Select[Any]:
    return sa.select(*(schema.refused.c[name] for name in Rejection.__dataclass_fields__))


def to_file(row: sa.Row[Any]) -> File:
    fields: Iterable[Any] = row
    return File(*fields)


def to_rejection(row: sa.Row[Any]) -> Rejection:
    """Return a row as a value; rows of an older release have neither code nor ``retry``."""
    values = {name: row._mapping[name] for name in Rejection.__dataclass_fields__}
    code = _CODES.get(values["code"], Code.INVALID)
    return Rejection(**values | {"code": code, "retry": values["retry"] is not False})
