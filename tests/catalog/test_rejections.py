"""Rejections in the catalog: migration of schema version 2, rows written by an older release."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.catalog import schema
from appliance.catalog.database import Catalog
from appliance.index.model import Code, Rejection, Stat
from tests.conftest import Lab
from tests.dist import make_wheel

# (path, reason, inode, sha256) of a catalog of version 2; NEW has their code and retry flag.
OLD = [
    ("a-1.zip", "duplicate: the index already has this file name, at x/a-1.zip", 5, None),
    ("b-1.zip", "content changed since it was accepted", 6, "0" * 64),
    ("c-1.zip", "examiner killed twice", -2, None),
    ("d-1.zip", "cannot be read: Permission denied", -1, None),
    ("e-1.zip", "truncated or damaged archive", 7, None),
]
NEW = {
    "a-1.zip": (Code.DUPLICATE, False),
    "b-1.zip": (Code.ALTERED, False),
    "c-1.zip": (Code.KILLED, True),
    "d-1.zip": (Code.UNREADABLE, True),
    "e-1.zip": (Code.INVALID, False),
}


def downgrade(path: Path) -> None:
    """Turn a catalog into one of version 2, with rejected and doubted files in its notation."""
    with closing(sqlite3.connect(path)) as connection:
        for table, column in (("refused", "code"), ("refused", "retry"), ("file", "doubted")):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
        reject_as_version_2(connection)


def reject_as_version_2(connection: sqlite3.Connection) -> None:
    """Insert rejections and a doubted file as a release of version 2 does."""
    insert = "INSERT OR REPLACE INTO refused VALUES ('main', ?, ?, 1, 1, ?, ?)"
    names = '"index", path, reason, size, mtime_ns, inode, sha256'
    connection.executemany(insert.replace("refused", f"refused ({names})"), OLD)
    connection.execute("UPDATE file SET inode = -1 WHERE filename LIKE 'foo-1.0-%'")
    connection.commit()


def rejections(catalog: Catalog) -> dict[str, tuple[Code, bool]]:
    with catalog.read() as reader:
        return {each.path: (each.code, each.retry) for each in reader.rejections("main")}


def test_catalog_migrates_rejections_of_version_2(foo: Lab) -> None:
    """The migration from version 2 fills the code and retry columns from reasons and inodes."""
    downgrade(foo.spec.catalog)
    catalog = Catalog(foo.spec.catalog, create=True)
    assert rejections(catalog) == NEW
    with catalog.read() as reader:
        stats = reader.stats("main")
        assert [each.path for each in reader.duplicates("main")] == ["a-1.zip"]
    assert {path for path, stat in stats.items() if stat is None} == {
        "c-1.zip",
        "d-1.zip",
        "foo-1.0-py2.py3-none-any.whl",
    }
    assert stats["e-1.zip"] == Stat(1, 1, 7)


def test_older_release_can_write_rejections(foo: Lab) -> None:
    """A scan examines again what a rolled-back release rejected without the new columns."""
    with closing(sqlite3.connect(foo.spec.catalog)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        reject_as_version_2(connection)
    with foo.catalog.read() as reader:
        stats = reader.stats("main")
    assert all(stats[path] is None for path, *_ in OLD)
    assert all(retry for _, retry in rejections(foo.catalog).values())
    foo.once()
    assert foo.refused() == {}
    assert foo.files("foo") == [
        "foo-1.0-py2.py3-none-any.whl",
        "foo-1.0.tar.gz",
        "foo-2.0-py2.py3-none-any.whl",
    ]


def test_rejection_to_retry_has_inode_of_version_2(foo: Lab) -> None:
    """The catalog marks a rejection to retry by an impossible inode, for older releases."""
    with foo.catalog.change() as change:
        change.reject(
            "main",
            [
                Rejection("x-1.zip", Code.UNREADABLE, "cannot be read", 1, 1, 9, retry=True),
                Rejection("y-1.zip", Code.INVALID, "damaged", 1, 1, 9),
            ],
        )
    with closing(sqlite3.connect(foo.spec.catalog)) as connection:
        rows = connection.execute("SELECT path, inode FROM refused ORDER BY path").fetchall()
    assert rows == [("x-1.zip", -1), ("y-1.zip", 9)]


@pytest.mark.parametrize("accepts", [False, True])
def test_changed_content_is_accepted_only_in_doubt(foo: Lab, accepts: bool) -> None:
    """The catalog rejects a file with new content and old stats, unless all are in doubt."""
    name = "foo-1.0-py2.py3-none-any.whl"
    with foo.catalog.read() as reader:
        file = reader.file_at("main", name)
    assert file is not None
    with foo.catalog.change() as change:
        if accepts:
            change.invalidate_stats()
        other = type(file)(
            **{each: getattr(file, each) for each in file.__slots__}
            | {"sha256": "0" * 64, "md5": "0" * 32, "yanked": None}
        )
        rejected = change.add("main", [other])
    assert [each.code for each in rejected] == ([] if accepts else [Code.ALTERED])
    with foo.catalog.read() as reader:
        assert reader.stats("main")[name] is not None


def test_unknown_rejection_code_reads_as_invalid(lab: Lab) -> None:
    """The catalog reads a rejection code of a later release as INVALID."""
    make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / "bad-1.0.zip").write_bytes(b"")
    lab.once()
    with closing(sqlite3.connect(lab.spec.catalog)) as connection:
        connection.execute("UPDATE refused SET code = 'unheard-of'")
        connection.commit()
    assert rejections(lab.catalog) == {"bad-1.0.zip": (Code.INVALID, False)}
