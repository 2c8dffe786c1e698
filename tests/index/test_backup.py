"""Copies of the catalog, made while it is in use, and put back."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.errors import PyindexError
from appliance.index import decisions
from appliance.index.catalog import CatalogError
from appliance.index.recover import backup, restore
from appliance.index.watch import is_alive
from appliance.spec import Backup
from tests.conftest import Lab, eventually
from tests.dist import make_wheel

WHEEL = "foo-1.0-py2.py3-none-any.whl"


@pytest.fixture
def kept(lab: Lab, tmp_path: Path) -> Lab:
    """An index of one file, whose backups stay in this test's directory."""
    copies = Backup(directory=tmp_path / "copies", keep=2)
    lab.spec = lab.spec.model_copy(update={"backup": copies})
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    return lab


def test_a_restored_backup_is_the_catalog_of_then_with_the_files_of_now(kept: Lab) -> None:
    """Decisions go back to the backup's, files are those of the folder, serials only grow."""
    decisions.yank(kept.spec, kept.index, WHEEL, "then")
    copy = backup(kept.spec)
    decisions.yank(kept.spec, kept.index, WHEEL, "now")
    make_wheel(kept.packages, "bar", "1.0")
    kept.once()
    shown = kept.page("foo")
    assert shown is not None
    last = kept.journal()[-1].serial
    said = list(restore(kept.spec, copy))
    assert said[-1] == "main: 2 projects, 2 files"
    page = kept.page("foo")
    assert page is not None
    assert page["files"][0]["yanked"] == "then"
    assert kept.projects() == ["bar", "foo"]
    assert [change.action for change in kept.journal()][2:] == ["restored", "added"]
    assert kept.journal()[2].serial == last + 1
    assert any(kept.spec.state.glob("catalog.sqlite.replaced-*[0-9]"))


def test_a_backup_is_a_sound_database_of_mode_0640(kept: Lab) -> None:
    """Another program reads it, and others on the host do not."""
    copy = backup(kept.spec)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT filename FROM file").fetchall() == [(WHEEL,)]
    assert copy.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in copy.parent.iterdir()] == [copy.name]


def test_old_copies_go_and_the_new_one_stays_whatever_the_clock_says(kept: Lab) -> None:
    """Of copies from the future the oldest go; the one just written never does."""
    folder = kept.spec.backup.directory
    folder.mkdir()
    for year in (2990, 2991, 2992):
        (folder / f"catalog-{year}0101T000000.sqlite").touch()
    copy = backup(kept.spec)
    assert {each.name for each in folder.iterdir()} == {
        copy.name,
        "catalog-29920101T000000.sqlite",
    }


def test_what_is_no_backup_is_refused_and_nothing_is_lost(kept: Lab, tmp_path: Path) -> None:
    """The catalog stays when the copy is garbage, or not there."""
    (tmp_path / "garbage").write_bytes(b"no database" * 1000)
    for wrong in (tmp_path / "garbage", tmp_path / "missing"):
        with pytest.raises(CatalogError):
            list(restore(kept.spec, wrong))
    assert kept.files("foo") == [WHEEL]
    assert kept.journal()[-1].action == "added"


def test_a_running_index_is_not_restored(kept: Lab) -> None:
    """Its watch would write to the catalog that is being replaced."""
    copy = backup(kept.spec)
    with kept.watched(), pytest.raises(PyindexError, match="is running; stop it"):
        eventually(lambda: is_alive(kept.spec))
        list(restore(kept.spec, copy))
