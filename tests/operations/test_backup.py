"""Backups of the catalog in use, and restoring them."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.catalog.database import CatalogError
from appliance.errors import PyindexError
from appliance.operations import decisions
from appliance.operations.backup import backup
from appliance.operations.restore import restore
from appliance.operations.update import update
from appliance.operations.watchlock import is_watched
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


def test_restore_takes_decisions_and_keeps_files(kept: Lab) -> None:
    """A restore takes the decisions of the backup and the files of the packages directory; serials
    increase."""
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


def test_backup_is_valid_database(kept: Lab) -> None:
    """A backup is a valid database of mode 0640."""
    copy = backup(kept.spec)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT filename FROM file").fetchall() == [(WHEEL,)]
    assert copy.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in copy.parent.iterdir()] == [copy.name]


def test_backup_removes_oldest_copies(kept: Lab) -> None:
    """The oldest copies are removed, never the new one, even after a change of the clock."""
    first = backup(kept.spec)
    catalog, digits, _ = first.name.split("-")
    for year in (2990, 2991, 2992):
        (first.parent / f"{catalog}-{digits}-{year}0101T000000.sqlite").touch()
    copy = backup(kept.spec)
    assert {each.name for each in first.parent.iterdir()} == {
        copy.name,
        f"{catalog}-{digits}-29920101T000000.sqlite",
    }


def test_backup_keeps_copies_of_others(kept: Lab, tmp_path: Path) -> None:
    """Copies of another state directory, or of another host with the same paths, stay."""
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


def test_backup_without_spec_writes_to_state_directory(lab: Lab) -> None:
    """Without a spec, backups are written to the state directory."""
    lab.once()
    assert backup(lab.spec).parent == lab.spec.state / "backups"


INDEXES = [
    ("main", "main", "main", None),
    ("main", "main staging", "main", None),
    ("", "staging", "main", None),
    ("main staging", "main", "main staging", None),
    (
        "main staging",
        "main",
        "main",
        "it has main, staging, the spec main; .* add staging to the spec",
    ),
    (
        "other",
        "main staging",
        "main",
        "it has other, the spec main, staging; .* add other to the spec",
    ),
    ("other", "main", "", "it has other, the spec main; .* add other to the spec"),
]


@pytest.mark.parametrize(("copied", "wanted", "present", "problem"), INDEXES)
def test_restore_rejects_other_indexes(
    tmp_path: Path, copied: str, wanted: str, present: str, problem: str | None
) -> None:
    """A backup is restored only if the spec or the present catalog has all its indexes."""
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
    update(spec)
    return spec


def test_restore_accepts_relative_path(kept: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup may be given by a relative path."""
    copy = backup(kept.spec)
    monkeypatch.chdir(copy.parent)
    assert f"restored from {copy.name}" in list(restore(kept.spec, Path(copy.name)))


def test_restore_undoes_decisions_permanently(kept: Lab) -> None:
    """A restore undoes later decisions, also if the catalog is lost after it."""
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


def test_server_reads_restored_catalog(kept: Lab) -> None:
    """A running server reads the restored catalog, as no file is replaced."""
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
def test_restore_replaces_damaged_catalog(kept: Lab, present: str) -> None:
    """A restore replaces a damaged catalog and saves it."""
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


def test_backup_keeps_other_files(kept: Lab) -> None:
    """Other files in the backup directory stay."""
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


def test_restore_rejects_invalid_backup(kept: Lab, tmp_path: Path) -> None:
    """An invalid or missing backup is rejected, and the catalog stays."""
    (tmp_path / "garbage").write_bytes(b"no database" * 1000)
    for wrong in (tmp_path / "garbage", tmp_path / "missing"):
        with pytest.raises(CatalogError):
            list(restore(kept.spec, wrong))
    assert kept.files("foo") == [WHEEL]
    assert kept.journal()[-1].action == "added"


def test_restore_refuses_with_watcher(kept: Lab) -> None:
    """A restore fails while a watcher is running."""
    copy = backup(kept.spec)
    with kept.watched(), pytest.raises(PyindexError, match="is running; stop it"):
        eventually(lambda: is_watched(kept.spec))
        list(restore(kept.spec, copy))
