"""Pruning: only old files with names of pyindex are removed."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from appliance.catalog import schema
from appliance.cli import main
from appliance.errors import PyindexError
from appliance.index.model import Code, Rejection
from appliance.mirror import taking
from appliance.operations import decisions
from appliance.operations.prune import prune
from appliance.spec import Keep
from tests.conftest import Lab
from tests.dist import make_wheel

OLD, NEW = "20200101T000000", time.strftime("%Y%m%dT%H%M%S")
GONE = [
    f"trash/{OLD}-foo-1.0.tar.gz",
    f"trash/{OLD}.12-foo-1.0.tar.gz",
    f"trash/.{OLD}-foo-1.0.tar.gz",
    f"catalog.sqlite.damaged-{OLD}",
    f"catalog.sqlite.damaged-{OLD}-wal",
    f"catalog.sqlite.replaced-{OLD}.1",
    ".catalog.0123456789abcdef",
    ".housekeeping.json.0123456789ab-0",
    ".watcher.json.4711",
    f".catalog.sqlite.replaced-{OLD}.0123456789abcdef",
    f"backups/.catalog-01234567-{OLD}.sqlite.0123456789abcdef",
]
STAYS = [
    f"trash/{NEW}-foo-1.0.tar.gz",
    "trash/foo-1.0.tar.gz",
    "trash/20209999T000000-foo-1.0.tar.gz",
    f"{OLD}-foo-1.0.tar.gz",
    f"catalog.sqlite.damaged-{NEW}",
    f"catalog.sqlite.mine-{OLD}",
    "verify.json",
    ".mine.json",
    f"catalog.sqlite-{OLD}",
    f"backups/catalog-01234567-{OLD}.sqlite",
    "www/.catalog.0123456789abcdef",
]


@pytest.fixture
def old(lab: Lab) -> Lab:
    """A state with files of every form in it."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    for name in GONE + STAYS:
        path = lab.spec.state / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (1, 1))
    (lab.spec.state / "trash" / f"{OLD}-directory").mkdir()
    return lab


def test_prune_removes_old_files_only(old: Lab) -> None:
    """A file is pruned by the time in its name, not by its mtime."""
    removed = list(prune(old.spec))
    assert {each.what for each in removed} == {str(old.spec.state / name) for name in GONE}
    assert all((old.spec.state / name).exists() for name in STAYS)
    assert (old.spec.state / "trash" / f"{OLD}-directory").is_dir()
    assert old.files("foo")


def test_dry_run_removes_nothing(old: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run reports the same items and removes none."""
    source = ["-d", str(old.packages), "--state", str(old.spec.state)]
    assert main(["gc", "--dry-run", *source]) == 0
    would = capsys.readouterr().out
    assert all((old.spec.state / name).exists() for name in GONE)
    assert main(["gc", *source]) == 0
    assert capsys.readouterr().out == would.replace("would remove", "removed")


def test_prune_removes_unused_builds(lab: Lab) -> None:
    """Built wheels and the cache of builds go once no build has used them, unless a mirror runs."""
    lab.once()
    state, unused, used = lab.spec.state, "a" * 32, "b" * 32
    for name in (f"builds/{unused}/build.json", f"builds/{used}/build.json", "builds/mine/x"):
        (state / name).parent.mkdir(parents=True)
        (state / name).write_bytes(b"{}")
    (state / "uv-cache/archive-v0").mkdir(parents=True)
    for path in sorted([*(state / "builds").rglob("*"), *(state / "uv-cache").rglob("*")]):
        os.utime(path, (1, 1))
    os.utime(state / "uv-cache", (1, 1))
    os.utime(state / "builds" / used)

    expected = {str(state / "builds" / unused), str(state / "uv-cache")}
    with taking.locked(lab.spec):
        assert list(prune(lab.spec)) == []
    assert {each.what for each in prune(lab.spec, dry_run=True)} == expected
    removed = prune(lab.spec)
    assert next(removed).what in expected
    with pytest.raises(PyindexError, match="another `pyindex mirror` is running"):
        taking.locked(lab.spec).__enter__()
    assert next(removed).what in expected
    assert list(removed) == []
    assert sorted(path.name for path in (state / "builds").iterdir()) == [used, "mine"]
    assert not (state / "uv-cache").exists()


def test_prune_removes_old_journal_entries(lab: Lab) -> None:
    """Old journal entries are removed, except the last; pages, decisions and serials stay."""
    make_wheel(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "foo", "2.0")
    lab.once()
    decisions.yank(lab.spec, lab.index, "foo-1.0-py2.py3-none-any.whl", "x")
    journal, page = lab.journal(), lab.page("foo")
    keep = Keep(journal=timedelta(days=3))
    spec = lab.spec.model_copy(update={"keep": keep})
    age(lab, journal[0].serial, days=4)
    assert [each.what for each in prune(spec)] == ["2 journal entries"]  # one has begun it
    assert lab.journal() == journal[1:]
    age(lab, journal[-1].serial, days=4)
    list(prune(spec))
    assert [change.serial for change in lab.journal()] == [journal[-1].serial]
    with lab.catalog.read() as reader:
        assert reader.mark("forgotten") == journal[-1].serial - 1
    lab.once()
    assert lab.page("foo") == page
    assert list(prune(spec)) == []


def test_prune_keeps_unpublished_entries(lab: Lab) -> None:
    """Journal entries that are not published yet stay."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    with lab.catalog.change() as change:
        change.remove(lab.index, ["foo-1.0-py2.py3-none-any.whl"])
    with lab.catalog.change() as change:
        change.record_replacement("test", 0)
    age(lab, lab.journal()[-1].serial, days=9999)
    list(prune(lab.spec))
    assert [change.action for change in lab.journal()] == ["removed", "test"]  # not "added"


def age(lab: Lab, serial: int, days: int) -> None:
    """Let lines of the journal up to one be so old."""
    with lab.catalog._connect("BEGIN IMMEDIATE") as connection:
        line = schema.journal
        then = sa.update(line).where(line.c.serial <= serial)
        connection.execute(then.values(time=line.c.time - days * 86_400 * 1_000_000))


def test_rejected_file_is_journaled_once(lab: Lab) -> None:
    """A file that cannot be read has one journal entry, however often it is retried."""
    lab.once()
    rejection = Rejection("foo-1.0.zip", Code.UNREADABLE, "denied", 1, 1, 1, retry=True)
    for _ in range(3):
        with lab.catalog.change() as change:
            change.reject(lab.index, [rejection])
    assert [change.action for change in lab.journal()] == ["refused"]
    assert lab.refused() == {rejection.path: rejection.reason}


def test_compact_frees_space(lab: Lab, tmp_path: Path) -> None:
    """Free space in the catalog is returned to the file system if it is large."""
    lab.once()
    with lab.catalog._connect("BEGIN IMMEDIATE") as connection:
        rows = [
            {"index": "main", "filename": f"{number}.zip", "reason": "x" * 4000}
            for number in range(3000)
        ]
        connection.execute(sa.insert(schema.yank), rows)
        connection.execute(sa.delete(schema.yank))
    before = pages(lab)
    list(prune(lab.spec))
    assert pages(lab) < before / 10


def pages(lab: Lab) -> int:
    with lab.catalog._connect("BEGIN") as connection:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
