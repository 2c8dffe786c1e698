"""Damage of catalogs, and what a test compares before and after it."""

import os
import random
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.database import Catalog
from appliance.index.model import File
from appliance.spec import Spec
from tests.conftest import Lab

WHEEL_1, SDIST_1, WHEEL_2 = (
    "foo-1.0-py2.py3-none-any.whl",
    "foo-1.0.tar.gz",
    "foo-2.0-py2.py3-none-any.whl",
)


def yanked(lab: Lab, project: str = "foo") -> dict[str, object]:
    page = lab.page(project)
    assert page is not None
    return {file["filename"]: file["yanked"] for file in page["files"]}


def lose(catalog: Path) -> None:
    """Delete the catalog and its log."""
    for suffix in ("", "-wal", "-shm"):
        catalog.with_name(catalog.name + suffix).unlink(missing_ok=True)


def known(lab: Lab) -> dict[str, File]:
    with lab.catalog.read() as reader:
        return {file.path: file for file in reader.files_after(lab.index)}


def spoil(catalog: Path, table: str) -> None:
    """Overwrite the first page of a table, as a bad disk might."""
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        page = connection.execute(query, (table,)).fetchone()[0]
    with catalog.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def flip_bytes(catalog: Path, dice: random.Random) -> None:
    content = bytearray(catalog.read_bytes())
    for _ in range(dice.choice([1, 3, 20, 500])):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    catalog.write_bytes(content)


def truncate(catalog: Path, dice: random.Random) -> None:
    os.truncate(catalog, dice.randrange(catalog.stat().st_size))


def pages(catalog: Path, dice: random.Random, filled: Callable[[int], bytes]) -> None:
    size = 4096
    with catalog.open("r+b") as file:
        for _ in range(dice.choice([1, 2, 5])):
            file.seek(size * dice.randrange(catalog.stat().st_size // size))
            file.write(filled(size))


def zero_pages(catalog: Path, dice: random.Random) -> None:
    pages(catalog, dice, bytes)


def garbage_pages(catalog: Path, dice: random.Random) -> None:
    pages(catalog, dice, dice.randbytes)


def some_column(dice: random.Random, kind: type) -> tuple[str, str]:
    columns = [
        (table.name, column.name)
        for table in schema.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, kind) and not column.nullable
    ]
    return dice.choice(columns)


def not_utf8(catalog: Path, dice: random.Random) -> None:
    table, column = some_column(dice, sa.Text)
    with closing(sqlite3.connect(catalog)) as connection:
        text = f"CAST(\"{column}\" || x'ff80' AS TEXT)"
        connection.execute(
            f'UPDATE "{table}" SET "{column}" = {text} WHERE rowid IN'
            f' (SELECT rowid FROM "{table}" ORDER BY random() LIMIT 1)'
        )
        connection.commit()


def nulls(catalog: Path, dice: random.Random) -> None:
    table, column = some_column(dice, sa.Text)
    with closing(sqlite3.connect(catalog)) as connection:
        tables = "UPDATE sqlite_master SET sql = ? WHERE name = ?"
        query = "SELECT sql FROM sqlite_master WHERE name = ?"
        (sql,) = connection.execute(query, (table,)).fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(tables, (sql.replace("NOT NULL", ""), table))
        connection.commit()
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute(f'UPDATE "{table}" SET "{column}" = NULL')
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(tables, (sql, table))
        connection.commit()


def duplicates(catalog: Path, dice: random.Random) -> None:
    """Empty the index that a UNIQUE is kept by, and insert what is there already."""
    table = dice.choice(["file", "yank", "project", "journal"])
    with closing(sqlite3.connect(catalog)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name LIKE ? || '%'"
        roots = [root for (root,) in connection.execute(query, (f"sqlite_autoindex_{table}_",))]
    with catalog.open("r+b") as file:
        for root in roots:
            file.seek(4096 * (root - 1))
            file.write(b"\x0a\0\0\0\0\x10\0\0")
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute(f'INSERT INTO "{table}" SELECT * FROM "{table}"')
        connection.commit()


def other_types(catalog: Path, dice: random.Random) -> None:
    table, column = some_column(dice, sa.BigInteger)
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute(f"UPDATE OR IGNORE \"{table}\" SET \"{column}\" = 'x' || x'00ff'")
        connection.commit()


def words(catalog: Path, dice: random.Random) -> None:
    """Damage the text that makes a table or an index, so that messages about it are not UTF-8."""
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(catalog.read_bytes())
    starts = [match.start() for match in re.finditer(rb"CREATE [TI]", content)]
    content[dice.choice(starts) + dice.randrange(-9, 20)] = 0xD5
    catalog.write_bytes(content)


DAMAGES = [
    flip_bytes,
    truncate,
    zero_pages,
    garbage_pages,
    not_utf8,
    nulls,
    duplicates,
    other_types,
    words,
]


def state_of(spec: Spec) -> object:
    """Return what must be equal after any damage: files, decisions, no rejection."""
    with Catalog(spec.catalog).read() as reader:
        files = {file.path: (file.sha256, file.yanked) for file in reader.files_after("main")}
        return files, reader.decisions(), reader.rejections("main"), reader.counts("main")


def flip(path: Path) -> bytes:
    """Change a byte without a change of size, mtime and inode; return the former content."""
    status, content = path.stat(), path.read_bytes()
    spot = content.index(b"__version__")
    with path.open("r+b") as file:
        file.seek(spot)
        file.write(b"X")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return content
