"""Rebuilding: corrections, and the recovery of a damaged, lost or old catalog."""

import multiprocessing
import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.database import Catalog
from appliance.catalog.readiness import scan_mark
from appliance.cli import main
from appliance.index.model import File
from appliance.operations import decisions
from appliance.operations.backup import backup
from appliance.operations.opening import published
from appliance.operations.rebuild import rebuild
from appliance.operations.restore import restore
from appliance.operations.update import prepare, update
from appliance.operations.watchlock import is_watched
from appliance.site.publish import Publisher
from appliance.spec import Spec
from tests.conftest import Lab, eventually
from tests.dist import make_wheel

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


# --- a sound catalog ---------------------------------------------------------------------------


def test_rebuild_of_intact_catalog_changes_nothing(foo: Lab) -> None:
    """A rebuild of an intact catalog reads all files again and changes nothing."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    before = [(path, path.read_bytes()) for path in sorted(foo.spec.www.rglob("index.*"))]
    journal = foo.journal()
    assert list(rebuild(foo.spec)) == ["main: 1 project, 3 files"]
    assert [(path, path.read_bytes()) for path in sorted(foo.spec.www.rglob("index.*"))] == before
    assert foo.journal() == journal


def flip(path: Path) -> bytes:
    """Change a byte without a change of size, mtime and inode; return the former content."""
    status, content = path.stat(), path.read_bytes()
    spot = content.index(b"__version__")
    with path.open("r+b") as file:
        file.seek(spot)
        file.write(b"X")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return content


def test_rebuild_rejects_changed_bytes(foo: Lab) -> None:
    """A file whose bytes changed without a change of size or mtime is rejected until it is restored
    or its bytes are accepted."""
    path = foo.packages / WHEEL_2
    right = flip(path)
    foo.once()
    assert WHEEL_2 in foo.files("foo")  # it was not read again
    for _ in range(2):
        list(rebuild(foo.spec))
        assert foo.files("foo") == [WHEEL_1, SDIST_1]
        reason = foo.refused()[WHEEL_2]
        assert reason.startswith("content changed since it was accepted (sha256 was ")
        assert reason.endswith("or run `pyindex rebuild --accept-changes`")
        foo.once()
        assert list(foo.refused()) == [WHEEL_2]
    path.write_bytes(right)
    foo.once()
    assert foo.files("foo") == [WHEEL_1, SDIST_1, WHEEL_2]
    assert foo.refused() == {}


def test_rebuild_accepts_changed_bytes_on_request(foo: Lab) -> None:
    """`--accept-changes` accepts changed bytes, of rejected files too."""
    flip(foo.packages / WHEEL_2)
    list(rebuild(foo.spec))
    flip(foo.packages / WHEEL_1)
    source = ["-d", str(foo.packages), "--state", str(foo.spec.state)]
    assert main(["rebuild", "--accept-changes", *source]) == 0
    assert foo.files("foo") == [WHEEL_1, SDIST_1, WHEEL_2]
    list(rebuild(foo.spec))
    assert foo.refused() == {}


def test_rebuild_accepts_file_with_new_mtime(foo: Lab) -> None:
    """A file with another mtime is an ordinary change."""
    path = foo.packages / WHEEL_2
    flip(path)
    os.utime(path, (1, 1))
    list(rebuild(foo.spec))
    assert foo.files("foo") == [WHEEL_1, SDIST_1, WHEEL_2]
    assert foo.journal()[-1].action == "replaced"


DIGESTS = ["sha256", "md5", "blake2b_256"]


@pytest.mark.parametrize("digest", DIGESTS)
def test_rebuild_corrects_wrong_digest(foo: Lab, digest: str) -> None:
    """A digest in the catalog that differs from two that agree is corrected."""
    right = known(foo)
    with closing(sqlite3.connect(foo.spec.catalog)) as connection:
        connection.execute(f"UPDATE file SET {digest} = replace({digest}, 'a', 'b')")
        connection.commit()
    list(rebuild(foo.spec))
    assert foo.refused() == {}
    assert known(foo) == right


def test_rebuild_accepts_remaining_hard_link(foo: Lab) -> None:
    """The duplicate of a deleted hard link is served after a rebuild."""
    (foo.packages / "copies").mkdir()
    os.link(foo.packages / WHEEL_2, foo.packages / "copies" / WHEEL_2)
    foo.once()
    (foo.packages / WHEEL_2).unlink()
    list(rebuild(foo.spec))
    assert foo.refused() == {}
    assert foo.served(f"copies/{WHEEL_2}")


# --- a catalog that is lost --------------------------------------------------------------------


def test_lost_catalog_returns_with_decisions(foo: Lab) -> None:
    """The next start rebuilds a lost catalog with all decisions and with higher serials."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    decisions.yank(foo.spec, foo.index, SDIST_1, "y")
    decisions.yank(foo.spec, foo.index, SDIST_1, None)
    decisions.yank(foo.spec, foo.index, WHEEL_2, "gone")
    decisions.set_status(foo.spec, foo.index, "foo", "deprecated", "use bar: it is better")
    content = (foo.packages / WHEEL_2).read_bytes()
    (foo.packages / WHEEL_2).unlink()
    serial = foo.journal()[-1].serial
    lose(foo.spec.catalog)
    foo.once()
    assert yanked(foo) == {WHEEL_1: "x", SDIST_1: False}
    page = foo.page("foo")
    assert page is not None
    assert page["project-status"] == {"status": "deprecated", "reason": "use bar: it is better"}
    assert foo.journal()[0].serial > serial + 1
    (foo.packages / WHEEL_2).write_bytes(content)
    foo.once()
    assert yanked(foo)[WHEEL_2] == "gone"


def test_watcher_rebuilds_lost_catalog(foo: Lab) -> None:
    """A watcher rebuilds a lost catalog without a restart."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    serial = foo.journal()[-1].serial
    with foo.watched():
        eventually(lambda: is_watched(foo.spec))
        lose(foo.spec.catalog)
        eventually(foo.spec.catalog.exists)
        eventually(lambda: published(foo.spec) > serial and len(known(foo)) == 3)
        eventually(lambda: yanked(foo) == {WHEEL_1: "x", SDIST_1: False, WHEEL_2: False})


def test_file_deleted_without_catalog_is_unpublished(foo: Lab) -> None:
    """A file that was deleted while the catalog was lost is unpublished after all scans, not
    before."""
    make_wheel(foo.packages, "bar", "1.0")
    foo.once()
    lose(foo.spec.catalog)
    (foo.packages / "bar-1.0-py2.py3-none-any.whl").unlink()
    publisher = Publisher(foo.spec, prepare(foo.spec))
    publisher.publish()
    assert foo.files("bar")
    update(foo.spec)
    foo.catalog.set_mark(scan_mark(foo.spec, foo.index), 1)
    publisher.publish()
    assert foo.page("bar") is None
    assert len(foo.files("foo")) == 3


LOSSES = [
    ("catalog.*",),
    ("catalog.*", "www"),
    ("catalog.*", "decisions.jsonl", "backups"),
    ("catalog.*", "decisions.jsonl", "www"),
    ("catalog.*", "backups", "www"),
]


@pytest.mark.parametrize("lost", LOSSES, ids="-".join)
def test_no_serial_is_reused(
    foo: Lab, lost: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No serial is reused, whichever files remain, and even if the clock is wrong."""
    with foo.catalog.change() as change:
        change.record_replacement("test", 5_000_000)  # more changes than the clock knows of
    foo.once()
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    backup(foo.spec)
    last = foo.journal()[-1].serial
    for name in lost:
        for path in foo.spec.state.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    monkeypatch.setattr("time.time", lambda: 1_000_000_000.0)
    foo.once()
    with foo.catalog.read() as reader:
        assert min(change.serial for change in reader.changes(0)) == last + 1


CLOCKS = [(1_000_000_000.0, 0), (1_767_225_600.0 + 25, 2), (9e9, 60_000_000)]


@pytest.mark.parametrize(("clock", "serial"), CLOCKS)
def test_new_index_begins_at_clock(
    lab: Lab, clock: float, serial: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new index begins at a serial by the clock, in units of ten seconds since 2026; a wrong
    clock leaves room for changes."""
    monkeypatch.setattr("time.time", lambda: clock)
    lab.once()
    with lab.catalog.read() as reader:
        (begun,) = reader.changes(0)
    assert (begun.serial, begun.action) == (serial + 1, "begun")


def test_old_catalog_is_advanced_to_log(foo: Lab, tmp_path: Path) -> None:
    """An old catalog that was copied to its path gets the serials and decisions of the log."""
    with closing(sqlite3.connect(foo.spec.catalog)) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "old"),))
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    last = foo.journal()[-1].serial
    lose(foo.spec.catalog)
    (tmp_path / "old").rename(foo.spec.catalog)
    foo.once()
    assert yanked(foo)[WHEEL_1] == "x"
    assert [(c.action, c.serial) for c in foo.journal()][-1] == ("recovered", last + 1)


# --- a catalog that is damaged -----------------------------------------------------------------


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


def test_rebuild_of_damaged_catalog_reports_recovered_data(foo: Lab) -> None:
    """A damaged catalog is saved; decisions come from the log, and serials increase."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    before = foo.journal()
    spoil(foo.spec.catalog, "file")
    said = list(rebuild(foo.spec))
    assert "recovered 1 decision (yanks, statuses) from the decision log" in said
    assert "recovered 0 files, 5 journal entries" in said
    assert not any("lost" in line for line in said)
    assert yanked(foo) == {WHEEL_1: "x", SDIST_1: False, WHEEL_2: False}
    assert foo.journal()[: len(before)] == before
    assert foo.journal()[len(before)].serial > before[-1].serial


def test_rebuild_without_log_recovers_decisions(foo: Lab) -> None:
    """Without a log, readable decisions of the damaged catalog are recovered."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    decisions.set_status(foo.spec, foo.index, "foo", "archived", None)
    (foo.spec.state / "decisions.jsonl").unlink()
    spoil(foo.spec.catalog, "journal")
    said = list(rebuild(foo.spec))
    source = "its readable rows (no decision log)"
    assert f"recovered 2 decisions (yanks, statuses) from {source}" in said
    assert "lost journal entries: all" in said
    assert yanked(foo)[WHEEL_1] == "x"


def test_rebuild_keeps_upload_times_and_digests(foo: Lab) -> None:
    """Readable rows keep upload times, and digests by which changed bytes are recognized."""
    os.utime(foo.packages / WHEEL_1, (1, 1))
    foo.once()
    before = known(foo)
    assert before[WHEEL_1].upload_time > 1_000_000
    flip(foo.packages / WHEEL_2)
    spoil(foo.spec.catalog, "journal")
    list(rebuild(foo.spec))
    assert known(foo) == {path: before[path] for path in (SDIST_1, WHEEL_1)}
    assert list(foo.refused()) == [WHEEL_2]


def test_rebuild_replaces_file_that_is_no_database(foo: Lab) -> None:
    """If nothing is readable, facts come from the packages directory, and serials increase."""
    last = foo.journal()[-1].serial
    lose(foo.spec.catalog)
    foo.spec.catalog.write_bytes(b"no database at all" * 400)
    said = list(rebuild(foo.spec))
    assert any("saved as" in line for line in said)
    assert len(list(foo.spec.state.glob("catalog.sqlite.damaged-*"))) >= 1
    assert foo.files("foo") == [WHEEL_1, SDIST_1, WHEEL_2]
    assert foo.journal()[0].serial > last


def test_rebuild_corrects_decision_from_log(foo: Lab) -> None:
    """A decision with one damaged character in the catalog is corrected from the log."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    with closing(sqlite3.connect(foo.spec.catalog)) as connection:
        connection.execute("UPDATE yank SET filename = replace(filename, '1', '2')")
        connection.commit()
    assert "catalog different from the decision log: using the log's 1 decisions" in list(
        rebuild(foo.spec)
    )
    assert yanked(foo) == {WHEEL_1: "x", SDIST_1: False, WHEEL_2: False}


# Kinds of damage to a catalog by name; each is a function of the file and dice.


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


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """An index of forty files and a dozen decisions, whose catalog has dozens of pages."""
    lab = Lab(tmp_path_factory.mktemp("large"))
    for number in range(40):
        make_wheel(lab.packages, f"p{number % 8}", f"1.{number}", summary="x" * 300)
    lab.once()
    for number in range(10):
        what = f"p{number % 8}-1.{number}-py2.py3-none-any.whl"
        decisions.yank(lab.spec, lab.index, what, f"reason {number}")
    decisions.set_status(lab.spec, lab.index, "p7", "archived", "for good")
    with closing(sqlite3.connect(lab.spec.catalog)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return lab


SEEDS = [
    pytest.param(seed, marks=[pytest.mark.integration] if seed >= 2 * len(DAMAGES) else [])
    for seed in range(13 * len(DAMAGES))
]


@pytest.mark.parametrize("seed", SEEDS)
def test_rebuild_repairs_any_damage(
    large: Lab, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rebuild repairs any damage, with all files and all decisions."""
    state = tmp_path / "state"
    shutil.copytree(large.spec.state, state, symlinks=True)
    DAMAGES[seed % len(DAMAGES)](state / "catalog.sqlite", random.Random(seed))
    assert main(["rebuild", "-d", str(large.packages), "--state", str(state)]) == 0
    capsys.readouterr()
    spec = large.spec.model_copy(update={"state": state})
    there, here = state_of(large.spec), state_of(spec)
    assert here == there
    Catalog(spec.catalog).check()
    assert main(["verify", "-d", str(large.packages), "--state", str(state)]) == 0


def test_concurrent_rebuilds_wait_for_each_other(foo: Lab) -> None:
    """Two concurrent rebuilds run one after the other."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    spoil(foo.spec.catalog, "yank")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=lambda: list(rescue(foo.spec))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(list(foo.spec.state.glob("catalog.sqlite.damaged-*[0-9]"))) == 1
    foo.once()
    assert yanked(foo)[WHEEL_1] == "x"


def rescue(spec: Spec) -> Iterator[str]:
    """Run a rebuild up to the examination of files."""
    for line in rebuild(spec):
        yield line
        if line.startswith("recovered") and "journal" in line:
            return


def state_of(spec: Spec) -> object:
    """Return what must be equal after any damage: files, decisions, no rejection."""
    with Catalog(spec.catalog).read() as reader:
        files = {file.path: (file.sha256, file.yanked) for file in reader.files_after("main")}
        return files, reader.decisions(), reader.rejections("main"), reader.counts("main")


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
