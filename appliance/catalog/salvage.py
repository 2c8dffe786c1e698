"""Salvage of a damaged catalog: each row that can still be read."""

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
from appliance.index.names import distribution, is_name
from appliance.text import has_controls

Row = dict[str, Any]

_LARGEST = (1 << 63) - 1
_LATEST = 4_102_444_800_000_000  # the year 2100, in microseconds
_DIGESTS = {"sha256": 64, "md5": 32, "blake2b_256": 64}
# A table is read from both ends: an unreadable row in the middle ends either pass.
_ORDERS = ("ASC", "DESC")


@dataclass(slots=True)
class Salvaged:
    """Rows of a table that have the right types, and the problems of the others."""

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def salvage(catalog: Path, table: str) -> Salvaged:
    """Return the rows of ``table`` that are readable and have its columns' types; never raises for
    the content of the file. Columns that an older catalog lacks are ``None``."""
    rows: dict[int, Row] = {}
    result = Salvaged()

    for order in _ORDERS:
        try:
            with closing(connect_to_read(catalog)) as connection:
                connection.text_factory = bytes
                for row in _read(connection, table, order, result):
                    rows.setdefault(row.pop("rowid"), row)
        except (sqlite3.Error, OverflowError) as error:
            result.problems.append(f"{table}: {error}")
        else:
            break

    result.rows = [rows[number] for number in sorted(rows)]
    return result


def has_our_tables(catalog: Path) -> bool:
    """Return whether its tables have the columns, types and keys of the schema."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        engine = sa.create_engine("sqlite://", creator=lambda: fresh)
        with engine.begin() as connection:
            schema.migrate(connection, create=True)
        expected = _tables(fresh)
    try:
        with closing(connect_to_read(catalog)) as connection:
            return _tables(connection) == expected
    except sqlite3.Error:
        return False


def _tables(connection: sqlite3.Connection) -> list[object]:
    """Return columns and keys of the schema's tables, in a comparable form."""
    keys: list[object] = []
    for table in schema.metadata.tables:
        columns = connection.execute(f'PRAGMA table_info("{table}")')
        keys.append({(name, kind, required, key) for _, name, kind, required, _, key in columns})
        for _, name, unique, *_ in list(connection.execute(f'PRAGMA index_list("{table}")')):
            indexed = [row[2] for row in connection.execute(f'PRAGMA index_info("{name}")')]
            keys.append((table, unique, indexed))
    return sorted(keys, key=repr)


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
    """Return the value as the column's type; raises ``ValueError`` if it has another."""
    if value is None:
        if not column.nullable:
            raise ValueError(f"{column.name} is missing")
        return None

    if isinstance(column.type, sa.Boolean):
        if value not in (0, 1):
            raise ValueError(f"{column.name} is {value!r}")
        return bool(value)

    if isinstance(column.type, sa.Integer):
        if not isinstance(value, int):
            raise ValueError(f"{column.name} is not a number")
        return value

    if not isinstance(value, bytes):
        raise ValueError(f"{column.name} is not text")
    return value.decode()


# --- rows that make sense ----------------------------------------------------------------------


def files(rows: list[Row]) -> list[Row]:
    """Return the consistent rows of files; examining the file corrects the rest."""
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


def owners(rows: list[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if is_name(row["project"]) and row["account"] and not has_controls(row["account"])
    ]


def used(rows: list[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if distribution(row["filename"]) is not None and re.fullmatch("[0-9a-f]{64}", row["sha256"])
    ]


def origins(rows: list[Row]) -> list[Row]:
    texts = ("url", "upstream", "yanked", "provenance")
    return [
        row
        for row in rows
        if distribution(row["filename"]) is not None
        and re.fullmatch("[0-9a-f]{64}", row["sha256"])
        and not any(has_controls(row[name] or "") for name in texts)
    ]


def projects(rows: list[Row]) -> list[Row]:
    texts = ("name", "display", "status_reason")
    return [
        row
        for row in rows
        if row["status"] in STATUSES and not any(has_controls(row[name] or "") for name in texts)
    ]


def journal(rows: list[Row], latest: int) -> list[Row]:
    """Return the lines with a plausible serial: one above ``latest`` is more likely damaged."""
    return [row for row in rows if 0 < row["serial"] <= latest and 0 <= row["time"] <= _LATEST]
