"""Why files are rejected: in this version of the catalog, in an older one, and in one that an older
release went on with."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.catalog import schema
from appliance.catalog.database import Catalog
from appliance.index.model import Code, Rejection, Stat
from tests.conftest import Lab
from tests.dist import make_wheel

# (path, reason, inode, sha256) as version 2 has them; the code and whether it is tried again.
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


def version_2(path: Path) -> None:
    """Make of a catalog one of version 2, with files rejected and in doubt as it said that."""
    with closing(sqlite3.connect(path)) as connection:
        for table, column in (("refused", "code"), ("refused", "retry"), ("file", "doubted")):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
        reject(connection)


def reject(connection: sqlite3.Connection) -> None:
    """As a release of version 2 does."""
    insert = "INSERT OR REPLACE INTO refused VALUES ('main', ?, ?, 1, 1, ?, ?)"
    names = '"index", path, reason, size, mtime_ns, inode, sha256'
    connection.executemany(insert.replace("refused", f"refused ({names})"), OLD)
    connection.execute("UPDATE file SET inode = -1 WHERE filename LIKE 'foo-1.0-%'")
    connection.commit()


def rejections(catalog: Catalog) -> dict[str, tuple[Code, bool]]:
    with catalog.read() as reader:
        return {each.path: (each.code, each.retry) for each in reader.rejections("main")}


def test_a_catalog_of_version_2_is_brought_up(foo: Lab) -> None:
    """What its rows said by numbers and by the beginning of a text, they say in columns."""
    version_2(foo.spec.catalog)
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


def test_a_release_that_was_taken_back_goes_on_with_the_catalog(foo: Lab) -> None:
    """It writes rows without the new columns; what it rejected is examined again after that."""
    with closing(sqlite3.connect(foo.spec.catalog)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        reject(connection)
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


def test_an_older_release_tries_again_what_is_to_be_tried_again(foo: Lab) -> None:
    """It knows such files by an inode that no file has."""
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
def test_what_is_in_doubt_may_have_other_bytes(foo: Lab, accepts: bool) -> None:
    """A file that changed behind its size, mtime and inode is rejected, unless all are in doubt."""
    name = "foo-1.0-py2.py3-none-any.whl"
    with foo.catalog.read() as reader:
        file = reader.file_at("main", name)
    assert file is not None
    with foo.catalog.change() as change:
        if accepts:
            change.doubt()
        other = type(file)(
            **{each: getattr(file, each) for each in file.__slots__}
            | {"sha256": "0" * 64, "md5": "0" * 32, "yanked": None}
        )
        rejected = change.add("main", [other])
    assert [each.code for each in rejected] == ([] if accepts else [Code.ALTERED])
    with foo.catalog.read() as reader:
        assert reader.stats("main")[name] is not None


def test_a_code_of_a_later_release_is_one_of_ours(lab: Lab) -> None:
    """It is shown, and is no reason not to serve."""
    make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / "bad-1.0.zip").write_bytes(b"")
    lab.once()
    with closing(sqlite3.connect(lab.spec.catalog)) as connection:
        connection.execute("UPDATE refused SET code = 'unheard-of'")
        connection.commit()
    assert rejections(lab.catalog) == {"bad-1.0.zip": (Code.INVALID, False)}
