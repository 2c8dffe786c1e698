"""Walks of directories of any depth, names and modes; deletions and moves."""

import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.catalog.readiness import scan_mark
from appliance.cli import main
from appliance.incoming import comparison, intake
from appliance.incoming.directory import DirectoryMissing, PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.examine import KeepMetadata, examine_all
from appliance.incoming.intake import Intake
from appliance.incoming.scan import Scanner
from appliance.index.model import File
from appliance.operations.health import health
from appliance.operations.status import status
from tests.conftest import Lab, eventually
from tests.dist import make_sdist, make_wheel
from tests.operations.test_watch import agrees

A = "a-1.0-py2.py3-none-any.whl"

NAMES = [
    "a",
    "a-b",
    "a.b",
    "a/x",
    "a0",
    "A",
    "ä/x",
    "ä",
    "a-b/x/y",
    "z z",
    "ﬁ",
    "😀",
    "\ue000",
    "~",
    "!",
]


def test_walk_has_order_of_catalog(tmp_path: Path) -> None:
    """A walk yields paths in the order of their UTF-8 bytes, as SQLite does."""
    wanted = []
    for number, name in enumerate(NAMES):
        for path in (f"{name}.d/f{number}", f"{name}.d/g/f", f"{name}-{number}"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
            wanted.append(path)
    (tmp_path / "new\nline").touch()
    wanted.append(r"new\nline")
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (path TEXT PRIMARY KEY)")
        connection.executemany("INSERT INTO t VALUES (?)", [(path,) for path in set(wanted)])
        ordered = [path for (path,) in connection.execute("SELECT path FROM t ORDER BY path")]
    assert [entry.path for entry in PackagesDirectory(tmp_path).walk()] == ordered


SIZES = [1, *(pytest.param(size, marks=pytest.mark.integration) for size in (2, 3)), 500]


@pytest.mark.parametrize("size", SIZES)
def test_slices_of_any_size_give_same_result(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Slices of any size give the same files, signatures, moves and deletions."""
    monkeypatch.setattr(comparison, "_SLICE", size)
    dice = random.Random(size)
    directories = [lab.packages, *(lab.packages / name for name in ("b", "a-", "a", "a/b"))]
    for directory in directories:
        directory.mkdir(exist_ok=True)
    for _ in range(12):
        for _ in range(dice.randrange(6)):
            there = [path for path in lab.packages.rglob("*.gz") if path.is_file()]
            place, what = dice.choice(directories), dice.randrange(5)
            if what == 0 or not there:
                path = make_sdist(place, f"p{dice.randrange(9)}", "1.0", summary=str(dice.random()))
                os.utime(path, (1, dice.randrange(10**9)))
            elif what == 1:
                dice.choice(there).unlink()
            elif what == 2:
                path = dice.choice(there)
                path.replace(place / path.name)
            elif what == 3:
                path = dice.choice(there)
                path.with_name(f"{path.name}.asc").write_text("-----BEGIN PGP SIGNATURE-----")
            else:
                for path in sorted(lab.packages.rglob("*.asc"))[:1]:
                    path.unlink()
        lab.once()
        lab.once()  # an accepted file that was replaced by a duplicate frees its name
        assert agrees(lab)
        before = len(lab.journal())
        lab.once()
        assert len(lab.journal()) == before


def deep(folder: Path) -> None:
    """Deeper than Python recurses, and than a path can say."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def long(folder: Path) -> None:
    """Longer than a path can be, and a file down there."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open(A, os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


def long_names(folder: Path) -> None:
    (folder / ("x" * 251 + ".whl")).touch()
    (folder / ("ü" * 127)).mkdir()
    (folder / ("ü" * 127) / "deep-1.0.zip").touch()


ODD = [(deep, "longer than 1024 bytes"), (long, "longer than 1024 bytes"), (long_names, "name")]


@pytest.mark.parametrize(("make", "reason"), ODD)
def test_unusual_tree_is_scanned(lab: Lab, make: "object", reason: str) -> None:
    """Paths beyond the limits are rejected, and all other files accepted."""
    assert callable(make)
    make(lab.packages)
    make_wheel(lab.packages, "a", "1.0")
    try:
        with lab.watched():
            eventually(lambda: lab.files("a"))
            make_wheel(lab.packages, "b", "1.0")
            eventually(lambda: lab.files("b"))
            eventually(lambda: any(reason in each for each in lab.refused().values()))
        assert status(lab.spec)["problems"][1:] == []  # except that no watcher is running
    finally:
        subprocess.run(["rm", "-rf", str(lab.packages)], check=True)  # pytest's own recurses


def as_a_user(lab: Lab) -> None:
    """Scan without the capabilities by which root ignores modes."""
    command = [sys.executable, "-m", "appliance", "watch", str(lab.packages), "--once"]
    command += ["--state", str(lab.spec.state)]
    if os.getuid() == 0:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    subprocess.run(command, check=True)


@pytest.mark.integration
@pytest.mark.parametrize("mode", [0o644, 0o000, 0o311])
def test_unreadable_directory_keeps_files(lab: Lab, mode: int) -> None:
    """An unreadable directory keeps its files listed, without further journal entries, until it can
    be read."""
    sub = lab.packages / "sub"
    sub.mkdir()
    make_wheel(sub, "a", "1.0")
    as_a_user(lab)
    make_wheel(sub, "c", "1.0")
    sub.chmod(mode)
    make_wheel(lab.packages, "b", "1.0")
    as_a_user(lab)
    assert lab.projects() == ["a", "b"]
    assert lab.refused() == {"sub/": "cannot be read: Permission denied"}
    before = lab.journal()
    for _ in range(3):
        as_a_user(lab)
    assert lab.journal() == before
    sub.chmod(0o755)
    as_a_user(lab)
    assert lab.refused() == {}
    assert lab.projects() == ["a", "b", "c"]


def test_event_of_unreadable_directory(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable directory is reported at once, and its known files stay."""
    (lab.packages / "sub").mkdir()
    make_wheel(lab.packages / "sub", "a", "1.0")
    lab.once()
    opens = os.open

    def failing(path: object, *arguments: int, **options: int) -> int:
        if str(path).endswith("/sub/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opens(str(path), *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("appliance.incoming.directory.os.open", failing)
        for _ in Scanner(lab.spec, lab.catalog, lab.index).scan_paths(
            frozenset({"sub"}), is_event=True
        ):
            pass
    assert lab.refused() == {"sub/": "cannot be read: Permission denied"}
    assert lab.files("a") == [A]


@pytest.mark.integration
def test_unreadable_file_is_journaled_once(lab: Lab) -> None:
    """A file that cannot be read is retried by each scan, with one journal entry."""
    path = make_wheel(lab.packages, "a", "1.0")
    path.chmod(0)
    for _ in range(3):
        as_a_user(lab)
    assert [change.action for change in lab.journal()] == ["refused"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("name", [f"sub/{A}", "sub"])
def test_failing_path_is_no_deletion(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    """An error of a network file system deletes no file."""
    (lab.packages / "sub").mkdir()
    make_wheel(lab.packages / "sub", "a", "1.0")
    lab.once()
    lstat, opens = os.lstat, os.open

    def fail(path: object) -> None:
        if str(path).rstrip("/") == str(lab.packages / name):
            raise OSError(number, os.strerror(number), str(path))

    def failing_lstat(path: "os.PathLike[str]", **options: int) -> os.stat_result:
        fail(path)
        return lstat(path, **options)

    def failing_open(path: "os.PathLike[str]", *arguments: int, **options: int) -> int:
        fail(path)
        return opens(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("appliance.incoming.directory.os.lstat", failing_lstat)
        patch.setattr("appliance.incoming.directory.os.open", failing_open)
        make_wheel(lab.packages, "b", "1.0")
        lab.once()
        for _ in Scanner(lab.spec, lab.catalog, lab.index).scan_paths(frozenset({f"sub/{A}"})):
            pass
        lab.once()
        assert lab.files("a") == [A]
        assert lab.files("b")
    lab.once()
    assert lab.refused() == {}


def test_file_deleted_during_examination_is_not_accepted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is deleted during its examination is not accepted."""
    path = make_wheel(lab.packages, "a", "1.0")
    make_wheel(lab.packages, "b", "1.0")
    original = Intake._unchanged

    def gone(self: Intake, files: list[File]) -> tuple[list[File], list[str]]:
        path.unlink(missing_ok=True)
        return original(self, files)

    monkeypatch.setattr(Intake, "_unchanged", gone)
    lab.once()
    assert lab.projects() == ["b"]
    assert not any("a-1.0" in each.name for each in lab.spec.www.rglob("*"))


def test_unfinished_download_waits(lab: Lab) -> None:
    """A file is rejected as unfinished while aria2's control file is beside it."""
    path = make_wheel(lab.packages, "a", "1.0")
    note = path.with_name(f"{path.name}.aria2")
    note.write_bytes(b"note")
    lab.once()
    assert "unfinished download" in lab.refused()[A]
    note.unlink()
    lab.once()
    assert lab.files("a") == [A]


# --- deletions ----------------------------------------------------------------------------------


def fill(lab: Lab, count: int) -> list[Path]:
    (lab.packages / "sub").mkdir(exist_ok=True)
    return [make_wheel(lab.packages / "sub", f"p{number}", "1.0") for number in range(count)]


def test_vanished_files_stay_pending(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that vanish in bulk remain listed and reported, also after a restart, until
    confirmed."""
    files = fill(lab, 20)
    lab.once()
    for path in files[:15]:
        path.unlink()
    lab.once()
    assert len(lab.projects()) == 20
    told = (
        "main: 15 of 20 files vanished in bulk, and remain listed as pending deletions; if they"
        " were deleted intentionally, run `pyindex confirm-deletions --index main`"
    )
    assert told in status(lab.spec)["problems"]
    for number in range(30):  # however many there are meanwhile
        make_wheel(lab.packages, f"new{number}", "1.0")
    lab.once()
    assert len(lab.projects()) == 50
    source = ["-d", str(lab.packages), "--state", str(lab.spec.state)]
    assert main(["confirm-deletions", *source]) == 0
    assert capsys.readouterr().out == "main: 15 files removed\n"
    assert len(lab.projects()) == 35
    assert "vanished" not in str(status(lab.spec)["problems"])


def test_pending_files_may_return(lab: Lab) -> None:
    """Pending deletions end when the files return."""
    files = fill(lab, 20)
    with lab.watched():
        eventually(lambda: health(lab.spec, lab.catalog).status == "ok")
        (lab.packages / "sub").rename(lab.packages.with_name("away"))
        eventually(lambda: "vanished" in str(status(lab.spec)["problems"]))
        files[0].parent.mkdir()
        make_wheel(lab.packages, "other", "1.0")
        eventually(lambda: lab.files("other"))
        assert all(lab.files(f"p{number}") for number in range(20))
        files[0].parent.rmdir()
        lab.packages.with_name("away").rename(lab.packages / "back")
        eventually(lambda: status(lab.spec)["problems"] == [])
        assert agrees(lab)


def test_watcher_publishes_confirmation(lab: Lab) -> None:
    """The watcher publishes a confirmation without a restart."""
    fill(lab, 20)
    with lab.watched():
        eventually(lambda: lab.files("p19"))
        shutil.rmtree(lab.packages / "sub")
        eventually(lambda: "vanished" in str(status(lab.spec)["problems"]))
        source = ["-d", str(lab.packages), "--state", str(lab.spec.state)]
        assert main(["confirm-deletions", *source]) == 0
        eventually(lambda: lab.page("p19") is None)
        eventually(lambda: status(lab.spec)["problems"] == [])


@pytest.mark.parametrize("count", [9, 10])
def test_few_deletions_need_no_confirmation(lab: Lab, count: int) -> None:
    """The deletion of up to half of an index, or of a small one, needs no confirmation."""
    files = fill(lab, count if count < 10 else 2 * count)
    lab.once()
    for path in files[:count]:
        path.unlink()
    lab.once()
    assert len(lab.projects()) == len(files) - count
    assert "vanished" not in str(status(lab.spec)["problems"])


def test_empty_marker_confirms_deletions(lab: Lab) -> None:
    """A file .empty in an empty packages directory confirms the deletion of all files."""
    fill(lab, 20)
    lab.once()
    shutil.rmtree(lab.packages / "sub")
    (lab.packages / ".empty").touch()
    lab.once()
    assert lab.projects() == []


# --- known files --------------------------------------------------------------------------------


def renumber(lab: Lab, count: int) -> None:
    """As a file system does that gives other inodes at each mount."""
    with closing(sqlite3.connect(lab.spec.catalog)) as connection:
        query = "UPDATE file SET inode = inode + 1000 WHERE path IN (SELECT path FROM file LIMIT ?)"
        connection.execute(query, (count,))
        connection.commit()


@pytest.mark.parametrize(("changed", "reads"), [(20, False), (5, True)])
def test_renumbered_inodes_are_no_change(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, changed: int, reads: bool
) -> None:
    """If most inodes change (sshfs), no file is read again; if few change, these are."""
    fill(lab, 20)
    lab.once()
    renumber(lab, changed)
    examined: list[str] = []

    def examine(
        directory: PackagesDirectory, entries: list[Entry], keep: KeepMetadata, **options: Any
    ) -> Any:
        examined.extend(entry.path for entry in entries)
        return examine_all(directory, entries, keep, **options)

    monkeypatch.setattr(intake, "examine_all", examine)
    lab.once()
    assert bool(examined) == reads
    examined.clear()
    lab.once()
    assert not examined
    assert len(lab.journal()) == 20


def test_scan_is_recorded_when_complete(lab: Lab) -> None:
    """A scan is recorded when it is complete, not while the packages directory is missing."""
    mark = scan_mark(lab.spec, lab.index)
    lab.packages.rename(lab.packages.with_name("away"))
    with pytest.raises(DirectoryMissing):
        lab.once()
    with lab.catalog.read() as reader:
        assert reader.mark(mark) == 0
    lab.packages.with_name("away").rename(lab.packages)
    lab.once()
    with lab.catalog.read() as reader:
        assert reader.mark(mark) == 1


def test_move_is_found_in_either_order(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move is recognized whether its new or its old path is scanned first."""
    monkeypatch.setattr(comparison, "_SLICE", 1)
    for name in ("a", "m", "z"):
        (lab.packages / name).mkdir()
    path = make_wheel(lab.packages / "m", "a", "1.0")
    lab.once()
    for place in ("z", "a", "m"):
        path = path.rename(lab.packages / place / path.name)
        lab.once()
    assert [change.action for change in lab.journal()] == ["added", "moved", "moved", "moved"]
    assert agrees(lab)


def test_directory_moves_in_one_transaction(lab: Lab) -> None:
    """All files of a moved directory move in one transaction, and none is read again."""
    fill(lab, 30)
    make_wheel(lab.packages, "keep", "1.0")
    lab.once()
    (lab.packages / "sub").rename(lab.packages / "renamed")
    lab.once()
    moves = lab.journal()[31:]
    assert {change.action for change in moves} == {"moved"}
    assert len(moves) == 30
    assert len({change.time for change in moves}) == 1
    assert agrees(lab)


def test_two_hard_links(lab: Lab) -> None:
    """One of two hard links is served, the other is a duplicate; either may be deleted."""
    for name in ("x", "y"):
        (lab.packages / name).mkdir()
    path = make_wheel(lab.packages / "x", "a", "1.0")
    os.link(path, lab.packages / "y" / path.name)
    lab.once()
    path.unlink()
    lab.once(again=True)
    assert lab.refused() == {}
    assert agrees(lab)
