"""A new catalog appears whole."""

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from appliance.catalog.database import Catalog
from tests.conftest import Lab

ROUNDS = 10


def read_until_there(path: Path) -> int:
    """Read a mark as soon as the file exists."""
    while not path.exists():
        pass
    with closing(Catalog(path)) as catalog, catalog.read() as reader:
        return reader.mark("backup")


def test_reader_never_finds_an_empty_catalog(tmp_path: Path) -> None:
    """A process that opens a catalog while others create it finds its tables."""
    with ThreadPoolExecutor() as pool:
        for number in range(ROUNDS):
            path = tmp_path / str(number) / "catalog.sqlite"
            reader = pool.submit(read_until_there, path)
            creators = [pool.submit(Catalog, path, create=True) for _ in range(2)]
            for each in creators:
                each.result().close()
            assert reader.result() == 0


def test_log_of_a_lost_catalog_is_not_applied(tmp_path: Path) -> None:
    """A write-ahead log that is left of a lost catalog does not change the new one."""
    path, kept = tmp_path / "catalog.sqlite", tmp_path / "kept"
    with closing(Catalog(path, create=True)) as catalog:
        catalog.set_mark("backup", 7)
        shutil.copy(f"{path}-wal", kept)
    path.unlink()
    shutil.copy(kept, f"{path}-wal")
    with closing(Catalog(path, create=True)) as catalog:
        with catalog.read() as reader:
            assert reader.mark("backup") == 0
        catalog.check()


@pytest.mark.parametrize("left", ["empty", "damaged", "whole"])
def test_interrupted_creation_is_repeated(left: str, tmp_path: Path) -> None:
    """What a killed creation has left is replaced; an empty catalog of an earlier release is
    filled."""
    path = tmp_path / "catalog.sqlite"
    if left == "empty":
        path.touch()
    elif left == "damaged":
        (tmp_path / "catalog.sqlite.new").write_bytes(b"SQLite format 3\0 and no more")
        (tmp_path / "catalog.sqlite.new-wal").write_bytes(b"junk")
    else:
        with closing(sqlite3.connect(tmp_path / "catalog.sqlite.new")) as other:
            other.execute("CREATE TABLE mark (other)")
            other.commit()
    with closing(Catalog(path, create=True)) as catalog, catalog.read() as reader:
        assert reader.mark("backup") == 0
    assert not list(tmp_path.glob("*.new*"))


def test_change_after_a_mark_is_durable(lab: Lab) -> None:
    """Changes are synced, though the connection has just stored a mark that is not."""
    catalog = Catalog(lab.spec.catalog, create=True)
    catalog.set_mark("pages", 1, durable=False)
    with catalog.change() as change:
        level = change._connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    assert level == 2, "FULL, see https://sqlite.org/pragma.html#pragma_synchronous"
