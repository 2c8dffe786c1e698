"""What operators and strangers do to folders while an index follows them."""

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
from tests.site.test_publish import names_on, two_indexes

WHEEL = "foo-1.0-py2.py3-none-any.whl"


def test_a_signature_that_leads_out_is_refused(lab: Lab) -> None:
    """A link named like a signature gives nobody another file to read."""
    make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / f"{WHEEL}.asc").symlink_to("/etc/passwd")
    lab.once()
    assert "leads out of the packages directory" in lab.refused()[f"{WHEEL}.asc"]
    assert lab.accepted() == {WHEEL}
    lab.once()
    page = lab.page("foo")
    assert page is not None
    assert "gpg-sig" not in page["files"][0]


def test_a_directory_is_no_signature(lab: Lab) -> None:
    """Only a file that can be fetched is announced."""
    make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / f"{WHEEL}.asc").mkdir()
    lab.once()
    assert list(lab.refused()) == [f"{WHEEL}.asc"]


@pytest.mark.parametrize("name", [b"caf\xe9", b"new\nline"])
def test_a_directory_with_an_odd_name_stops_nothing(lab: Lab, name: bytes) -> None:
    """What cannot be named is refused; everything else is followed all the same."""
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
def test_a_clock_gone_wrong_loses_nothing(lab: Lab, year: int) -> None:
    """A file from a time that cannot be is a file."""
    path = make_wheel(lab.packages, "foo", "1.0")
    time = (year - 1970) * 31_556_952
    os.utime(path, (time, time))
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    lab.once()
    assert lab.files("foo") == [WHEEL]
    assert lab.files("bar")
    assert len(lab.journal()) == 2


def test_a_directory_that_was_a_file_and_back(lab: Lab) -> None:
    """Files and directories may take each other's names; publication goes on."""
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


def test_a_stale_directory_in_the_tree_gives_way(lab: Lab) -> None:
    """Where our own tree has a directory, a file takes its place."""
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


@pytest.mark.parametrize(("limit", "number", "told"), LIMITS)
def test_a_limit_of_the_system_is_told_once(
    tmp_path: Path, limit: str, number: int, told: str
) -> None:
    """Where the system follows no more directories, comparing in full finds what changes."""
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


def test_an_unmounted_disk_takes_nothing_down(lab: Lab) -> None:
    """An empty directory where the folder was is not a folder that was emptied."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    lab.packages.rename(lab.packages.with_name("away"))
    lab.packages.mkdir()
    with pytest.raises(PyindexError, match=r"mount the disk; if it is meant to be empty.*\.empty"):
        lab.once()
    assert lab.files("foo") == [WHEEL]
    (lab.packages / ".empty").touch()
    lab.once()
    assert lab.page("foo") is None


def test_a_folder_that_was_emptied_is_empty(lab: Lab) -> None:
    """Deleting all files is a decision."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    (lab.packages / WHEEL).unlink()
    lab.once()
    assert lab.projects() == []


def test_no_base_answers_for_a_folder_that_is_away(tmp_path: Path) -> None:
    """While a team's own folder is not there, nobody else's project stands in for theirs."""
    both = two_indexes(tmp_path)
    make_wheel(tmp_path / "main", "ours", "9.0")
    own = make_wheel(tmp_path / "staging", "ours", "1.0")
    update(both)
    (tmp_path / "staging").rename(tmp_path / "away")
    (tmp_path / "staging").mkdir()
    with pytest.raises(PyindexError):
        update(both)
    assert names_on(both.www / "staging/simple/ours/index.html") == [own.name]


def test_a_replaced_folder_is_followed(lab: Lab) -> None:
    """Another directory under the same name is looked at, and watched, at once."""
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


def test_a_link_to_the_folder_may_be_turned(tmp_path: Path) -> None:
    """``current -> one`` turned to ``two`` is the new release."""
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


def test_a_directory_behind_a_link_is_not_followed(lab: Lab, tmp_path: Path) -> None:
    """Not even when the system announces what happens behind it."""
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


def test_a_refusal_for_its_mode_ends_with_it(lab: Lab) -> None:
    """chmod changes no mtime, so what could not be read is tried again at each full look."""
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
    "url": (f"url: http://x/y\n{TWO}", "path of the url is / there and /y here"),
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


@pytest.mark.parametrize("name", OTHERS)
def test_one_state_is_for_one_layout(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second server that would publish something else does not mix the two, nor does a command;
    what differs is said."""
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


def test_removing_lets_the_duplicate_in(lab: Lab) -> None:
    """What ``pyindex remove`` takes away, another file of that name may replace."""
    path = make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / "y").mkdir()
    shutil.copy2(path, lab.packages / "y")
    lab.once()
    decisions.remove(lab.spec, lab.index, WHEEL)
    assert lab.refused() == {}
    page = lab.page("foo")
    assert page is not None
    assert page["files"][0]["url"] == f"../../packages/y/{WHEEL}"


def test_a_deleted_state_is_made_again(lab: Lab) -> None:
    """Whoever deletes pages or the whole state under a running index gets them back."""
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


def test_what_a_killed_process_left_is_tidied(lab: Lab) -> None:
    """What was left unfinished long ago goes, a directory too; a process that has just made it
    may be anybody's, whatever its number. Pages have odd mtimes, which say nothing."""
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
