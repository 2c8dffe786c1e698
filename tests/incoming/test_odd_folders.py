"""Unusual directories and layouts under a running watcher."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import spec
from appliance.cli import main
from appliance.errors import PyindexError
from appliance.operations import decisions
from appliance.operations.update import prepare, update
from appliance.operations.watch import Watcher
from appliance.operations.watchlock import check_alone, watching
from appliance.site.layout import _layout
from appliance.site.tree import Site
from tests.conftest import Lab, eventually, watched
from tests.dist import make_wheel
from tests.site.test_lineage import names_on, two_indexes

WHEEL = "foo-1.0-py2.py3-none-any.whl"


def test_signature_link_out_is_rejected(lab: Lab) -> None:
    """A symbolic link named like a signature that leads out is rejected."""
    make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / f"{WHEEL}.asc").symlink_to("/etc/passwd")
    lab.once()
    assert "leads out of the packages directory" in lab.refused()[f"{WHEEL}.asc"]
    assert lab.accepted() == {WHEEL}
    lab.once()
    page = lab.page("foo")
    assert page is not None
    assert "gpg-sig" not in page["files"][0]


def test_directory_is_no_signature(lab: Lab) -> None:
    """A directory named like a signature is not announced."""
    make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / f"{WHEEL}.asc").mkdir()
    lab.once()
    assert list(lab.refused()) == [f"{WHEEL}.asc"]


@pytest.mark.parametrize("name", [b"caf\xe9", b"new\nline"])
def test_unprintable_directory_is_rejected(lab: Lab, name: bytes) -> None:
    """A directory with an invalid name is rejected; all others are watched."""
    odd = lab.packages / os.fsdecode(name)
    odd.mkdir()
    make_wheel(odd, "hidden", "1.0")
    with lab.watched():
        make_wheel(lab.packages, "foo", "1.0")
        eventually(lambda: lab.files("foo"))
        eventually(lambda: len(lab.refused()) == 1)
        make_wheel(lab.packages, "bar", "1.0")
        eventually(lambda: lab.files("bar"))
    assert lab.page("hidden") is None


@pytest.mark.parametrize("year", [2300, 9999, 1900])
def test_impossible_mtime_is_accepted(lab: Lab, year: int) -> None:
    """A file with an impossible mtime is accepted."""
    path = make_wheel(lab.packages, "foo", "1.0")
    time = (year - 1970) * 31_556_952
    os.utime(path, (time, time))
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    lab.once()
    assert lab.files("foo") == [WHEEL]
    assert lab.files("bar")
    assert len(lab.journal()) == 2


def test_file_and_directory_exchange_names(lab: Lab) -> None:
    """A file and a directory may exchange names; publication continues."""
    place = lab.packages / WHEEL
    with lab.watched():
        place.mkdir()
        make_wheel(place, "inner", "1.0")
        make_wheel(lab.packages, "bar", "1.0")
        eventually(lambda: lab.files("bar"))
        assert lab.page("inner") is None
        shutil.rmtree(place)
        eventually(lambda: lab.refused() == {})
        make_wheel(lab.packages, "foo", "1.0")
        eventually(lambda: lab.files("foo") == [WHEEL])


def test_file_replaces_stale_directory_in_tree(lab: Lab) -> None:
    """A file replaces a stale directory in the published tree."""
    lab.once()
    site = Site(lab.spec)
    for place in (site.marker(lab.index, WHEEL), site.metadata(lab.index, WHEEL)):
        Path(place, "x").mkdir(parents=True)
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    assert lab.served(WHEEL)
    assert lab.metadata(WHEEL)


LIMITS = [
    ("max_inotify_watches", 1, "2 of 3 directories cannot be watched"),
    ("max_inotify_instances", 0, "scanning packages directories instead"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("limit", "number", "told"), LIMITS)
def test_inotify_limit_is_logged_once(tmp_path: Path, limit: str, number: int, told: str) -> None:
    """A limit of inotify is logged once, and full scans find the changes."""
    (tmp_path / "packages/a/b").mkdir(parents=True)
    settings = "state: state\nindexes: {main: {packages: packages}}\nserver: {reconcile: 1s}\n"
    path, log = tmp_path / "pyindex.yml", tmp_path / "log"
    path.write_text(settings)
    alone = ("unshare", "--user", "--map-root-user")
    if subprocess.run((*alone, "true"), check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to make a user namespace")
    script = 'echo "$1" > "/proc/sys/user/$0" && exec "$2" -m appliance watch -c "$3"'
    command = (*alone, "sh", "-c", script, limit, str(number), sys.executable, str(path))
    with log.open("wb") as output, subprocess.Popen(command, stderr=output) as process:
        try:
            eventually(lambda: told in log.read_text())
            make_wheel(tmp_path / "packages/a/b", "foo", "1.0")
            eventually((tmp_path / "state/www/simple/foo/index.json").is_file)
        finally:
            process.terminate()
    assert log.read_text().count("ERROR") == 1


def test_unmounted_disk_keeps_files(lab: Lab) -> None:
    """An empty directory where a disk was mounted deletes no file."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    lab.packages.rename(lab.packages.with_name("away"))
    lab.packages.mkdir()
    with pytest.raises(PyindexError, match=r"mount the disk, or create a file named \.empty"):
        lab.once()
    assert lab.files("foo") == [WHEEL]
    (lab.packages / ".empty").touch()
    lab.once()
    assert lab.page("foo") is None


def test_emptied_directory_empties_index(lab: Lab) -> None:
    """Deleting all files of a small index empties it."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    (lab.packages / WHEEL).unlink()
    lab.once()
    assert lab.projects() == []


def test_no_base_answers_for_missing_directory(tmp_path: Path) -> None:
    """No base answers for an index whose packages directory is missing."""
    both = two_indexes(tmp_path)
    make_wheel(tmp_path / "main", "ours", "9.0")
    own = make_wheel(tmp_path / "staging", "ours", "1.0")
    update(both)
    (tmp_path / "staging").rename(tmp_path / "away")
    (tmp_path / "staging").mkdir()
    with pytest.raises(PyindexError):
        update(both)
    assert names_on(both.www / "staging/simple/ours/index.html") == [own.name]


def test_replaced_directory_is_watched(lab: Lab) -> None:
    """A directory that replaces the packages directory is scanned and watched at once."""
    make_wheel(lab.packages, "foo", "1.0")
    with lab.watched():
        eventually(lambda: lab.files("foo"))
        new = lab.packages.with_name("new")
        new.mkdir()
        make_wheel(new, "bar", "1.0")
        lab.packages.rename(lab.packages.with_name("old"))
        new.rename(lab.packages)
        eventually(lambda: lab.files("bar") and lab.page("foo") is None)
        make_wheel(lab.packages, "baz", "1.0")
        eventually(lambda: lab.files("baz"))


def test_link_to_directory_may_change(tmp_path: Path) -> None:
    """A packages directory that is a symbolic link may get another target."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_wheel(tmp_path / name, name, "1.0")
    (tmp_path / "current").symlink_to("one")
    path = tmp_path / "pyindex.yml"
    path.write_text("state: state\nindexes: {main: {packages: current}}\n")
    given = spec.load(path)
    with watched(Watcher(given)):
        eventually(lambda: names_on(given.www / "simple/index.html") == ["one"])
        (tmp_path / "turned").symlink_to("two")
        (tmp_path / "turned").rename(tmp_path / "current")
        eventually(lambda: names_on(given.www / "simple/index.html") == ["two"])
        assert Site(given).is_accepted("main", "two-1.0-py2.py3-none-any.whl")


def test_directory_behind_link_is_not_scanned(lab: Lab, tmp_path: Path) -> None:
    """A directory behind a symbolic link is not scanned, even after events in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (lab.packages / "link").symlink_to(outside)
    with lab.watched():
        eventually(lambda: "link" in lab.refused())
        make_wheel(outside, "hidden", "1.0")
        make_wheel(lab.packages, "foo", "1.0")
        eventually(lambda: lab.files("foo"))
        (outside / "hidden-1.0-py2.py3-none-any.whl").touch()
        make_wheel(lab.packages, "bar", "1.0")
        eventually(lambda: lab.files("bar"))
    assert lab.page("hidden") is None


@pytest.mark.integration
def test_unreadable_file_is_retried(lab: Lab) -> None:
    """A file without read permission is examined again by each scan, as chmod changes no mtime."""
    command = [sys.executable, "-m", "appliance", "watch", str(lab.packages), "--once"]
    command += ["--state", str(lab.spec.state)]
    if os.getuid() == 0:  # whom modes keep out only without capabilities
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    path = make_wheel(lab.packages, "foo", "1.0")
    path.chmod(0)
    subprocess.run(command, check=True)
    assert lab.refused() == {WHEEL: "cannot be read: Permission denied"}
    path.chmod(0o644)
    subprocess.run(command, check=True)
    assert lab.refused() == {}
    assert lab.files("foo") == [WHEEL]


TWO = "state: state\nindexes: {a: {packages: a, bases: [b]}, b: {packages: b}}\n"
OTHERS = {
    "bases": (TWO.replace("[b]", "[]"), "bases of a is b there and none here"),
    "order": (
        "state: state\nindexes: {b: {packages: b}, a: {packages: a, bases: [b]}}\n",
        "order of indexes is a, b there and b, a here",
    ),
    "url": (f"url: http://x/y\n{TWO}", "path of url is / there and /y here"),
    "folder": (TWO.replace("packages: b", "packages: c"), "packages directory of b is .*/b there"),
    "index": (
        TWO.replace("b: {packages: b}", "b: {packages: b}, c: {packages: c}"),
        "packages directory of c is another there and .*/c here",
    ),
}


CHANGING = [
    ["watch", "--once"],
    ["yank", "foo==1"],
    ["unyank", "foo==1"],
    ["remove", "foo==1"],
    ["status-set", "foo", "archived"],
    ["confirm-deletions"],
    ["rebuild"],
    ["gc"],
]


@pytest.mark.integration
@pytest.mark.parametrize("name", OTHERS)
def test_state_directory_has_one_layout(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second server or command with another layout of the same state directory fails and names
    the differences."""
    text, differs = OTHERS[name]
    for file, content in (("one.yml", TWO), ("other.yml", text)):
        (tmp_path / file).write_text(content)
    one, other = spec.load(tmp_path / "one.yml"), spec.load(tmp_path / "other.yml")
    assert _layout(one) != _layout(other)  # both are made of the same
    check_alone(other)
    with watching(one):
        with pytest.raises(PyindexError, match=differs), watching(other):
            pass
        command = [sys.executable, "-m", "appliance", "serve", "-c", str(tmp_path / "other.yml")]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        in_use = f"^pyindex: state directory .*: in use by .*{differs}"
        assert re.search(in_use, ended.stderr, re.MULTILINE)
        for words in CHANGING:
            assert main([*words, "-c", str(tmp_path / "other.yml")]) == 1
            assert re.search(in_use, capsys.readouterr().err, re.MULTILINE)
        check_alone(one)
    with watching(other), watching(other):
        pass


def test_remove_accepts_duplicate(lab: Lab) -> None:
    """`pyindex remove` of a file accepts its duplicate."""
    path = make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / "y").mkdir()
    shutil.copy2(path, lab.packages / "y")
    lab.once()
    decisions.remove(lab.spec, lab.index, WHEEL)
    assert lab.refused() == {}
    page = lab.page("foo")
    assert page is not None
    assert page["files"][0]["url"] == f"../../packages/y/{WHEEL}"


def test_deleted_state_is_rebuilt(lab: Lab) -> None:
    """A watcher rebuilds deleted pages or a deleted state directory."""
    make_wheel(lab.packages, "foo", "1.0")
    with lab.watched():
        eventually(lambda: lab.files("foo"))
        shutil.rmtree(lab.spec.www, ignore_errors=True)
        eventually(lambda: lab.files("foo"))
        eventually(lambda: lab.page_path("", "index.json").exists())
        assert lab.projects() == ["foo"]
        shutil.rmtree(lab.spec.state, ignore_errors=True)
        shutil.rmtree(lab.spec.state, ignore_errors=True)
        eventually(lambda: lab.files("foo"))


def test_unfinished_files_are_removed(lab: Lab) -> None:
    """Unfinished files and directories of killed processes are removed after some time, recent ones
    stay."""
    lab.once()
    temporary = lab.spec.www / ".tmp"
    (temporary / "directory/x").mkdir(parents=True)
    for name in ("directory/x/half", "half"):
        (temporary / name).write_text("half")
        os.utime(temporary / name, (1, 1))
    prepare(lab.spec)
    assert {path.name for path in temporary.iterdir()} == {"directory", "half"}
    Site(lab.spec).tidy(seconds=0)
    assert list(temporary.iterdir()) == []
