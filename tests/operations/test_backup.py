"""Copies of the catalog, made while it is in use, and put back."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.catalog.database import CatalogError
from appliance.errors import PyindexError
from appliance.operations import decisions
from appliance.operations.recover import backup, restore
from appliance.operations.watch import Watch, is_alive
from appliance.spec import Backup, IndexSection, Spec
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
    assert page["meta"]["_last-serial"] > shown["meta"]["_last-serial"]
    (aside,) = kept.spec.state.glob("catalog.sqlite.replaced-*")
    with closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT reason FROM yank").fetchall() == [("now",)]


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
    first = backup(kept.spec)
    catalog, digits, _ = first.name.split("-")
    for year in (2990, 2991, 2992):
        (first.parent / f"{catalog}-{digits}-{year}0101T000000.sqlite").touch()
    copy = backup(kept.spec)
    assert {each.name for each in first.parent.iterdir()} == {
        copy.name,
        f"{catalog}-{digits}-29920101T000000.sqlite",
    }


def test_indexes_that_share_a_directory_leave_each_others_copies(kept: Lab, tmp_path: Path) -> None:
    """Neither another state's copies go, nor those of another host with the same paths."""
    sharing = kept.spec.backup.model_copy(update={"keep": 1})
    here = kept.spec.model_copy(update={"backup": sharing})
    there = here.model_copy(update={"state": tmp_path / "moved"})
    copies = [backup(here)]
    shutil.copytree(here.state, there.state)
    copies.append(backup(there))
    shutil.rmtree(here.state)
    kept.once()
    copies.append(backup(here))
    assert sorted(sharing.directory.iterdir()) == sorted(copies)


def test_without_a_spec_copies_stay_in_the_state(lab: Lab) -> None:
    """No place is written to that nobody named."""
    lab.once()
    assert backup(lab.spec).parent == lab.spec.state / "backups"


INDEXES = [
    ("main", "main", "main", None),
    ("main", "main staging", "main", None),
    ("", "staging", "main", None),
    ("main staging", "main", "main staging", None),
    ("main staging", "main", "main", "it has main, staging, the spec main; .* spec staging too"),
    ("other", "main staging", "main", "it has other, the spec main, staging; .* spec other too"),
    ("other", "main", "", "it has other, the spec main; .* spec other too"),
]


@pytest.mark.parametrize(("copied", "wanted", "present", "problem"), INDEXES)
def test_a_copy_of_other_indexes_is_refused(
    tmp_path: Path, copied: str, wanted: str, present: str, problem: str | None
) -> None:
    """It is taken if the spec has all its indexes, or the catalog until now had them."""
    copy = backup(filled(tmp_path / "copied", copied or "empty", has_files=bool(copied)))
    spec = filled(tmp_path / "present", present or "main", has_files=bool(present))
    for name in wanted.split():
        (tmp_path / "present" / name).mkdir(exist_ok=True)
        (tmp_path / "present" / name / ".empty").touch()
    indexes = {name: IndexSection(packages=tmp_path / "present" / name) for name in wanted.split()}
    spec = spec.model_copy(update={"indexes": indexes})
    if problem is None:
        assert f"restored from {copy}" in list(restore(spec, copy))
        return
    before = spec.catalog.read_bytes()
    with pytest.raises(PyindexError, match=problem):
        list(restore(spec, copy))
    assert spec.catalog.read_bytes() == before
    assert not list(spec.state.glob("*replaced*"))


def filled(place: Path, names: str, has_files: bool) -> Spec:
    """A state below ``place`` that has run, with a file in each of the named indexes or in none."""
    for name in names.split():
        (place / name).mkdir(parents=True)
        if has_files:
            make_wheel(place / name, "foo", "1.0")
    spec = Spec(
        state=place / "state",
        indexes={name: IndexSection(packages=place / name) for name in names.split()},
        backup=Backup(directory=place / "copies"),
    )
    Watch(spec).once()
    return spec


def test_a_copy_is_found_from_the_directory_where_one_is(
    kept: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is one, too."""
    copy = backup(kept.spec)
    monkeypatch.chdir(copy.parent)
    assert f"restored from {copy.name}" in list(restore(kept.spec, Path(copy.name)))


def test_a_restore_undoes_later_decisions_for_good(kept: Lab) -> None:
    """Also for a catalog that is lost after it: the log has what the restore left."""
    copy = backup(kept.spec)
    decisions.yank(kept.spec, kept.index, WHEEL, "now")
    decisions.set_status(kept.spec, kept.index, "foo", "archived", None)
    list(restore(kept.spec, copy))
    for suffix in ("", "-wal", "-shm"):
        kept.spec.catalog.with_name(kept.spec.catalog.name + suffix).unlink(missing_ok=True)
    kept.once()
    page = kept.page("foo")
    assert page is not None
    assert page["files"][0]["yanked"] is False
    assert page["project-status"] == {"status": "active"}


def test_a_running_server_sees_the_restored_catalog(kept: Lab) -> None:
    """No file is exchanged under those who have it open."""
    copy = backup(kept.spec)
    decisions.yank(kept.spec, kept.index, WHEEL, "now")
    reading = kept.catalog
    with reading.read() as reader:
        assert reader.decisions().yanks
    inode = kept.spec.catalog.stat().st_ino
    list(restore(kept.spec, copy))
    with reading.read() as reader:
        assert not reader.decisions().yanks
    assert kept.spec.catalog.stat().st_ino == inode


@pytest.mark.parametrize("present", ["damaged", "missing", "empty"])
def test_a_copy_is_restored_over_what_cannot_be_opened(kept: Lab, present: str) -> None:
    """The copy is installed whole, and what was there is kept."""
    decisions.yank(kept.spec, kept.index, WHEEL, "then")
    copy = backup(kept.spec)
    last = kept.journal()[-1].serial
    for suffix in ("", "-wal", "-shm"):
        kept.spec.catalog.with_name(kept.spec.catalog.name + suffix).unlink(missing_ok=True)
    if present != "missing":
        kept.spec.catalog.write_bytes(b"no database" * 1000 if present == "damaged" else b"")
    list(restore(kept.spec, copy))
    page = kept.page("foo")
    assert page is not None
    assert page["files"][0]["yanked"] == "then"
    assert kept.journal()[-1].serial > last
    if present == "damaged":
        (aside,) = kept.spec.state.glob("catalog.sqlite.replaced-*")
        assert aside.read_bytes().startswith(b"no database")


def test_only_copies_of_ours_are_removed(kept: Lab) -> None:
    """What has another name, or is no file, stays in the directory of the copies."""
    first = backup(kept.spec)
    stem = first.name.rpartition("-")[0]
    others = [f"{stem}-mine.sqlite", f"{stem}-20200101T000000.sqlite.gz", "catalog-notes.txt"]
    for name in others:
        (first.parent / name).touch()
    (first.parent / f"{stem}-20200101T000001.sqlite").mkdir()
    for year in range(2001, 2009):
        (first.parent / f"{stem}-{year}0101T000000.sqlite").touch()
    copy = backup(kept.spec)
    left = {each.name for each in first.parent.iterdir()}
    assert {*others, f"{stem}-20200101T000001.sqlite"} < left
    assert {name for name in left if f"{stem}-200" in name} <= {f"{stem}-20080101T000000.sqlite"}
    assert copy.name in left


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
