"""Catalogs of older versions: migrated, and restored from backups."""

import sqlite3
from contextlib import closing
from pathlib import Path

from appliance.catalog import schema
from appliance.operations import decisions
from appliance.operations.rebuild import rebuild
from appliance.operations.restore import restore
from appliance.spec import Spec
from tests.conftest import Lab
from tests.operations.damages import (
    WHEEL_1,
    WHEEL_2,
    flip,
    known,
    lose,
    yanked,
)

# --- a catalog of an older version -------------------------------------------------------------

# As the tables were made when they had no version.
OLD = """
CREATE TABLE file (
    "index" TEXT NOT NULL, path TEXT NOT NULL, filename TEXT NOT NULL, project TEXT NOT NULL,
    name TEXT NOT NULL, version TEXT NOT NULL, kind TEXT NOT NULL, python_version TEXT NOT NULL,
    size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL, inode BIGINT NOT NULL, sha256 TEXT NOT NULL,
    md5 TEXT NOT NULL, blake2b_256 TEXT NOT NULL, upload_time BIGINT NOT NULL,
    requires_python TEXT, summary TEXT, core_metadata TEXT, signature BOOLEAN NOT NULL,
    PRIMARY KEY ("index", path), UNIQUE ("index", filename));
CREATE INDEX file_by_project ON file ("index", project);
CREATE TABLE project (
    "index" TEXT NOT NULL, name TEXT NOT NULL, display TEXT NOT NULL, serial BIGINT NOT NULL,
    files INTEGER NOT NULL, status TEXT NOT NULL, status_reason TEXT,
    PRIMARY KEY ("index", name));
CREATE INDEX project_by_serial ON project (serial);
CREATE TABLE yank (
    "index" TEXT NOT NULL, filename TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY ("index", filename));
CREATE TABLE journal (
    serial BIGINT NOT NULL, time BIGINT NOT NULL, "index" TEXT NOT NULL, project TEXT NOT NULL,
    action TEXT NOT NULL, path TEXT, filename TEXT, version TEXT, detail TEXT,
    PRIMARY KEY (serial));
CREATE TABLE refused (
    "index" TEXT NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL, size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL, inode BIGINT NOT NULL, PRIMARY KEY ("index", path));
CREATE TABLE claim (
    "index" TEXT NOT NULL, path TEXT NOT NULL, project TEXT NOT NULL,
    PRIMARY KEY ("index", path));
CREATE INDEX claim_by_project ON claim ("index", project);
CREATE TABLE mark (name TEXT NOT NULL, value BIGINT NOT NULL, PRIMARY KEY (name));
"""


def age(spec: Spec, place: Path) -> None:
    """Write the catalog to ``place`` as one of before there were versions."""
    place.unlink(missing_ok=True)
    with closing(sqlite3.connect(place)) as connection:
        connection.executescript(OLD)
        connection.execute("ATTACH ? AS new", (str(spec.catalog),))
        names = "SELECT name FROM main.sqlite_master WHERE type = 'table'"
        for (table,) in connection.execute(names).fetchall():
            info = connection.execute(f'PRAGMA main.table_info("{table}")')
            columns = ", ".join(f'"{row[1]}"' for row in info)
            connection.execute(
                f'INSERT INTO main."{table}" ({columns}) SELECT {columns} FROM new."{table}"'
            )
        connection.commit()


def test_old_catalog_is_migrated(foo: Lab, tmp_path: Path) -> None:
    """An old catalog is migrated, and its decisions begin the log."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    flip(foo.packages / WHEEL_2)
    before = known(foo)
    age(foo.spec, tmp_path / "old")
    lose(foo.spec.catalog)
    (foo.spec.state / "decisions.jsonl").unlink()
    (tmp_path / "old").rename(foo.spec.catalog)
    journal = foo.journal()
    foo.once()
    assert known(foo) == before
    assert foo.journal() == journal
    list(rebuild(foo.spec))
    assert list(foo.refused()) == [WHEEL_2]
    lose(foo.spec.catalog)
    foo.once()
    assert yanked(foo)[WHEEL_1] == "x"


def test_old_backup_is_restored(foo: Lab, tmp_path: Path) -> None:
    """An old backup gets the defaults of new columns."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    age(foo.spec, tmp_path / "old")
    decisions.yank(foo.spec, foo.index, WHEEL_1, None)
    list(restore(foo.spec, tmp_path / "old"))
    assert yanked(foo)[WHEEL_1] == "x"


def test_columns_can_be_added() -> None:
    """Each column can be added to a table with rows: it is nullable or has a default."""
    old = {
        line.split()[0].strip('"')
        for part in OLD.split("(")
        for line in part.replace(")", "").split(",")
        if line.split()
    }
    for table in schema.metadata.sorted_tables:
        for column in table.columns:
            assert column.name in old or column.nullable or column.server_default is not None
