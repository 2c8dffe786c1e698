"""Reading a damaged catalog: each row that is still one, whatever is wrong around it."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.sqlite import connect_to_read
from appliance.index.model import STATUSES
from appliance.index.names import distribution
from appliance.text import has_controls

Row = dict[str, Any]

_LARGEST = (1 << 63) - 1
_LATEST = 4_102_444_800_000_000  # the year 2100, in microseconds
_DIGESTS = {"sha256": 64, "md5": 32, "blake2b_256": 64}
# Two looks at a table, from both ends: what is unreadable in the middle ends either.
_ORDERS = ("ASC", "DESC")


@dataclass(slots=True)
class Salvaged:
    """The rows of a table that have the right types, and what was wrong with the rest."""

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def salvage(catalog: Path, table: str) -> Salvaged:
    """The rows of ``table`` that can be read and are of its columns' types; never raises for what
    is in the file. Columns that an older catalog lacks are ``None``."""
    found: dict[int, Row] = {}
    result = Salvaged()
    for order in _ORDERS:
        try:
            with closing(connect_to_read(catalog)) as connection:
                connection.text_factory = bytes
                for row in _read(connection, table, order, result):
                    found.setdefault(row.pop("rowid"), row)
        except (sqlite3.Error, OverflowError) as error:
            result.problems.append(f"{table}: {error}")
        else:
            break
    result.rows = [found[number] for number in sorted(found)]
    return result


def has_our_tables(catalog: Path) -> bool:
    """Whether its tables have the columns, types and keys that we give them."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        engine = sa.create_engine("sqlite://", creator=lambda: fresh)
        with engine.begin() as connection:
            schema.bring_up(connection, create=True)
        wanted = _tables(fresh)
    try:
        with closing(connect_to_read(catalog)) as connection:
            return _tables(connection) == wanted
    except sqlite3.Error:
        return False


def _tables(connection: sqlite3.Connection) -> list[object]:
    """Columns and keys of our tables, in a form to compare."""
    found: list[object] = []
    for table in schema.metadata.tables:
        columns = connection.execute(f'PRAGMA table_info("{table}")')
        found.append({(name, kind, required, key) for _, name, kind, required, _, key in columns})
        for _, name, unique, *_ in list(connection.execute(f'PRAGMA index_list("{table}")')):
            parts = [row[2] for row in connection.execute(f'PRAGMA index_info("{name}")')]
            found.append((table, unique, parts))
    return sorted(found, key=repr)


def _read(
    connection: sqlite3.Connection, table: str, order: str, result: Salvaged
) -> Iterator[Row]:
    columns = schema.metadata.tables[table].columns
    query = f'SELECT rowid, * FROM "{table}" ORDER BY rowid {order}'  # noqa: S608 - of the schema
    cursor = connection.execute(query)
    names = [_name(description[0]) for description in cursor.description]
    for values in cursor:
        raw = dict(zip(names, values, strict=True))
        row = {"rowid": raw["rowid"]}
        try:
            row |= {column.name: _value(column, raw.get(column.name)) for column in columns}
        except (ValueError, TypeError) as error:
            result.problems.append(f"{table}: row {raw['rowid']}: {error}")
        else:
            yield row


def _name(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode(errors="replace")


def _value(column: sa.Column[Any], value: object) -> object:
    """The value as the column's type; ``ValueError`` if it is none."""
    if value is None:
        if not column.nullable:
            raise ValueError(f"no {column.name}")
        return None
    if isinstance(column.type, sa.Boolean):
        if value not in (0, 1):
            raise ValueError(f"{column.name} is {value!r}")
        return bool(value)
    if isinstance(column.type, sa.Integer):
        if not isinstance(value, int):
            raise ValueError(f"{column.name} is no number")
        return value
    if not isinstance(value, bytes):
        raise ValueError(f"{column.name} is no text")
    return value.decode()


# --- rows that make sense ----------------------------------------------------------------------


def files(rows: list[Row]) -> list[Row]:
    """The rows of files that agree with themselves; what else is wrong in them a look at the file
    corrects."""
    return [row for row in rows if _is_file(row)]


def _is_file(row: Row) -> bool:
    named = distribution(row["path"])
    return (
        named is not None
        and named.filename == row["filename"]
        and not has_controls(row["path"])
        and all(
            re.fullmatch(f"[0-9a-f]{{{length}}}", row[name]) for name, length in _DIGESTS.items()
        )
        and all(0 <= row[name] <= _LARGEST for name in ("size", "inode"))
        and 0 <= row["upload_time"] <= _LATEST
        and abs(row["mtime_ns"]) <= _LARGEST
    )


def yanks(rows: list[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if distribution(row["filename"]) is not None and not has_controls(row["reason"])
    ]


def projects(rows: list[Row]) -> list[Row]:
    texts = ("name", "display", "status_reason")
    return [
        row
        for row in rows
        if row["status"] in STATUSES and not any(has_controls(row[name] or "") for name in texts)
    ]


def journal(rows: list[Row], latest: int) -> list[Row]:
    """The lines with a serial that can be: after ``latest`` a damaged number is more likely."""
    return [row for row in rows if 0 < row["serial"] <= latest and 0 <= row["time"] <= _LATEST]
