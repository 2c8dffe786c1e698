"""Rebuilding: corrections, and the recovery of a damaged, lost or old catalog."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.catalog.readiness import scan_mark
from appliance.cli import main
from appliance.operations import decisions
from appliance.operations.backup import backup
from appliance.operations.opening import published
from appliance.operations.rebuild import rebuild
from appliance.operations.update import prepare, update
from appliance.operations.watchlock import is_watched
from appliance.site.publish import Publisher
from tests.conftest import Lab, eventually
from tests.dist import make_wheel
from tests.operations.damages import (
    SDIST_1,
    WHEEL_1,
    WHEEL_2,
    flip,
    known,
    lose,
    yanked,
)

# --- a sound catalog ---------------------------------------------------------------------------


def test_rebuild_of_intact_catalog_changes_nothing(foo: Lab) -> None:
    """A rebuild of an intact catalog reads all files again and changes nothing."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    before = [(path, path.read_bytes()) for path in sorted(foo.spec.www.rglob("index.*"))]
    journal = foo.journal()
    assert list(rebuild(foo.spec)) == ["main: 1 project, 3 files"]
    assert [(path, path.read_bytes()) for path in sorted(foo.spec.www.rglob("index.*"))] == before
    assert foo.journal() == journal


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
