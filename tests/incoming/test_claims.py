"""No base answers for a project while its own index has a file that may be of it, or had one that
nobody said was deleted (dependency confusion)."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.catalog.database import Catalog
from appliance.catalog.readiness import PARTLY, scan_mark
from appliance.incoming import mounts as mountinfo
from appliance.incoming.directory import DirectoryMissing, PackagesDirectory, Walked
from appliance.incoming.entries import Entry
from appliance.incoming.scan import Scanner
from appliance.index.names import possible
from appliance.operations.backup import backup
from appliance.operations.health import health
from appliance.operations.rebuild import rebuild
from appliance.operations.restore import restore
from appliance.operations.status import status
from appliance.operations.update import confirm_deletions, prepare, update
from appliance.operations.watch import Watcher
from appliance.site.publish import Publisher
from appliance.spec import Spec
from tests.conftest import Lab, eventually, watched
from tests.dist import make_sdist, make_wheel
from tests.operations.test_rebuild import lose, spoil
from tests.site.test_views import layered, shown, wheel

# A file name, and the projects that it may be of.
NAMES = [
    ("foo-1.0-py3-none-any.whl", ["foo"]),
    ("Foo_Bar-1.0.tar.gz", ["foo-bar"]),
    ("foo-2-1.tar.gz", ["foo", "foo-2"]),
    ("py-3-foo-v1.0.zip", ["py-3-foo", "py"]),
    ("foo-bar.tar.gz", ["foo"]),
    ("foo-1.0.whl", ["foo"]),
    ("foo-1.0 (1).tar.gz", ["foo"]),
    ("foo-1.0\x01.tar.gz", ["foo"]),
    ("foo-1.0.win32-py2.7.exe", ["foo"]),
    ("foo-1.0-py2.7.egg", ["foo"]),
    ("foo-1.0-1-py3-none-any.whl", ["foo"]),
    ("foo-1.0.rpm", []),
    ("foo.zip", []),
    ("-1.0.zip", []),
    ("f\xf6\xf6-1.0.zip", []),
]


@pytest.mark.parametrize(("filename", "projects"), NAMES)
def test_what_a_file_may_be_of(filename: str, projects: list[str]) -> None:
    assert list(possible(f"some-9.9/{filename}")) == projects


def test_one_name_is_not_of_any_number_of_projects() -> None:
    assert len(possible(f"a{'-1' * 50}.zip")) == 11


@pytest.fixture
def team(tmp_path: Path) -> Spec:
    """An index ``team`` over a base ``main``."""
    return layered(tmp_path, "team", "main")


def told(given: Spec) -> str:
    found = health(given, Catalog(given.catalog))
    return "\n".join(found.problems + found.degraded)


@pytest.mark.parametrize(("filename", "projects"), [each for each in NAMES if each[1]])
def test_a_refused_file_keeps_each_project_that_it_may_be_of(
    team: Spec, tmp_path: Path, filename: str, projects: list[str]
) -> None:
    """However its name is split; when it is gone the base answers."""
    for name in projects:
        make_sdist(tmp_path / "main", name, "99.0")
    (tmp_path / "team" / filename).write_bytes(b"no archive")
    update(team)
    update(team)
    assert shown(team, "team") == {name: [] for name in projects}
    (tmp_path / "team" / filename).unlink()
    update(team)
    assert all((shown(team, "team") or {})[name] for name in projects)


def test_a_file_that_is_spoilt_keeps_the_project_of_its_metadata(
    team: Spec, tmp_path: Path
) -> None:
    """Its name may say another one."""
    make_wheel(tmp_path / "main", "foo-bar", "9.0")
    path = make_sdist(tmp_path / "team", "foo-bar", "final")
    path = path.rename(tmp_path / "team" / "foo-bar-final.tar.gz")
    update(team)
    assert shown(team, "team") == {"foo-bar": [path.name]}
    path.write_bytes(b"no archive")
    update(team)
    assert (shown(team, "team") or {})["foo-bar"] == []


def test_a_directory_that_gives_way_to_a_link_keeps_its_projects(
    team: Spec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its files are off the pages, refused ones keep theirs as well; all come back when it is a
    directory again; when the link goes they are gone."""
    inside = tmp_path / "team" / "inside"
    (inside / "deep").mkdir(parents=True)
    make_wheel(inside, "private", "1.0")
    make_wheel(inside / "deep", "other", "1.0")
    (inside / "bad-1.0.zip").write_bytes(b"no archive")
    for name in ("private", "other", "bad"):
        make_wheel(tmp_path / "main", name, "9.0")
    update(team)
    own = {"private": [wheel("private", "1.0")], "other": [wheel("other", "1.0")], "bad": []}
    assert shown(team, "team") == own
    moved = tmp_path / "large"
    inside.rename(moved)
    inside.symlink_to(moved)
    for _ in range(2):
        update(team)
        assert shown(team, "team") == {name: [] for name in own}
        assert f"team: 3 files are behind {inside}, which is a symbolic link now" in caplog.text
        caplog.clear()
        with Catalog(team.catalog).read() as reader:
            assert [refusal.path for refusal in reader.rejections("team")] == ["inside"]
            serial = reader.serial()
    update(team)
    with Catalog(team.catalog).read() as reader:
        assert reader.serial() == serial
    inside.unlink()
    shutil.copytree(moved, inside)
    update(team)
    assert shown(team, "team") == own
    shutil.rmtree(inside)
    inside.symlink_to(moved)
    update(team)
    inside.unlink()
    update(team)
    assert shown(team, "team") == {name: [wheel(name, "9.0")] for name in own}


def test_a_link_to_where_the_directory_is_now_keeps_nothing(lab: Lab) -> None:
    """Whichever of the two is heard of first."""
    old, new = lab.packages / "old", lab.packages / "new"
    old.mkdir()
    make_wheel(old, "foo", "1.0")
    lab.once()
    old.rename(new)
    old.symlink_to(new)
    scanner = Scanner(lab.spec, lab.catalog, lab.index)
    for path in ("old", "new", ""):
        list(scanner.scan_paths({path}))
    assert list(lab.refused()) == ["old"]
    lab.once()
    assert lab.files("foo") == [wheel("foo", "1.0")]
    assert lab.accepted() == {f"new/{wheel('foo', '1.0')}"}


# --- a catalog that knows nothing of what was published -----------------------------------------

MANY = [f"p{number}" for number in range(12)]


def damage(given: Spec) -> None:
    spoil(given.catalog, "file")
    list(rebuild(given))


def put_back(given: Spec) -> None:
    """A copy of before there was anything."""
    lose(given.catalog)
    empty = Catalog(given.catalog, create=True)
    with empty.change() as change:
        change.note("begun", 0)
    empty.close()
    copy = given.catalog.with_name("copy")
    given.catalog.rename(copy)
    list(restore(given, copy))


LOSSES: list[Callable[[Spec], None]] = [lambda given: lose(given.catalog), damage, put_back]


@pytest.mark.parametrize("loss", LOSSES, ids=["lost", "damaged", "restored"])
def test_files_that_vanish_with_the_catalog_keep_their_projects(
    team: Spec, tmp_path: Path, loss: Callable[[Spec], None]
) -> None:
    """They are told, until somebody says that they were deleted, or they are back."""
    for name in MANY:
        make_wheel(tmp_path / "team", name, "1.0")
        make_wheel(tmp_path / "main", name, "9.0")
    make_wheel(tmp_path / "team", "stays", "1.0")
    update(team)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (tmp_path / "team").glob("p*"):
        path.rename(elsewhere / path.name)
    loss(team)
    for _ in range(2):
        update(team)
        pages = shown(team, "team") or {}
        assert {name: pages[name] for name in MANY} == {name: [] for name in MANY}
        assert pages["stays"] == [wheel("stays", "1.0")]
    assert "team: 12 of 13 files vanished at once" in told(team)
    shutil.copy(elsewhere / wheel("p0", "1.0"), tmp_path / "team")
    update(team)
    assert (shown(team, "team") or {})["p0"] == [wheel("p0", "1.0")]
    confirm_deletions(team, "team")
    update(team)
    assert (shown(team, "team") or {})["p1"] == [wheel("p1", "9.0")]
    assert "vanished" not in told(team)


def test_the_same_of_two_files_with_one_name_is_served_after_a_loss(lab: Lab) -> None:
    """That which was published, and not the first of the folder; the other one when that is gone
    as well."""
    for part in ("a", "b"):
        (lab.packages / part).mkdir()
    first = make_wheel(lab.packages / "b", "foo", "1.0", summary="published")
    lab.once()
    make_wheel(lab.packages / "a", "foo", "1.0", summary="another")
    lab.once()
    lose(lab.spec.catalog)
    for _ in range(2):
        lab.once()
        assert lab.accepted() == {f"b/{first.name}"}
        assert list(lab.refused()) == [f"a/{first.name}"]
    lose(lab.spec.catalog)
    first.unlink()
    lab.once()
    assert lab.accepted() == {f"a/{first.name}"}
    assert lab.refused() == {}


def test_what_is_remembered_is_not_told_of_as_refused(lab: Lab) -> None:
    """Nobody has looked at it; when it was, the journal has one line of it."""
    make_wheel(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    (lab.packages / wheel("bar", "1.0")).unlink()
    lose(lab.spec.catalog)
    prepare(lab.spec)
    with lab.catalog.read() as reader:
        assert (reader.rejected_count(lab.index), reader.rejections(lab.index)) == (0, [])
        assert reader.unseen(lab.index) == 2
    lab.once()
    with lab.catalog.read() as reader:
        assert (reader.rejected_count(lab.index), reader.unseen(lab.index)) == (0, 0)
    lines = [(change.action, change.project) for change in lab.journal()]
    assert lines == [("added", "foo"), ("cleared", "bar")]


def test_a_release_that_is_taken_back_knows_one_claim(lab: Lab) -> None:
    """What an older version reads of it, and no more, is as it was."""
    (lab.packages / "foo-2-1.tar.gz").write_bytes(b"no archive")
    lab.once()
    with closing(sqlite3.connect(lab.spec.catalog)) as connection:
        assert connection.execute("SELECT project FROM claim").fetchall() == [("foo",)]


def test_a_catalog_of_before_learns_what_else_files_may_be_of(team: Spec, tmp_path: Path) -> None:
    """As it is opened, refused files are looked at again."""
    for name in ("foo", "foo-2"):
        make_wheel(tmp_path / "main", name, "9.0")
    (tmp_path / "team" / "foo-2-1.tar.gz").write_bytes(b"no archive")
    update(team)
    with closing(sqlite3.connect(team.catalog)) as connection:
        connection.execute("DROP TABLE further_claim")
        connection.execute("UPDATE project SET files = 0 WHERE name = 'foo-2'")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    update(team)
    assert shown(team, "team") == {"foo": [], "foo-2": []}


# --- found by reading ---------------------------------------------------------------------------


def test_a_disk_that_is_away_with_the_catalog_keeps_refused_names(
    team: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although what was accepted there is remembered: what was refused is not."""
    disk = tmp_path / "team" / "disk"
    disk.mkdir()
    make_wheel(disk, "other", "1.0")
    (disk / "private-1.0.zip").write_bytes(b"no archive")
    make_wheel(tmp_path / "main", "private", "9.0")
    mounts = {"disk": "8:1 /"}
    monkeypatch.setattr(
        mountinfo, "mounts_below", lambda root: dict(mounts) if root == disk.parent else {}
    )
    update(team)
    lose(team.catalog)
    shutil.rmtree(disk)
    disk.mkdir()
    mounts.clear()
    for _ in range(2):
        update(team)
        assert shown(team, "team") == {"other": [wheel("other", "1.0")], "private": []}
        with Catalog(team.catalog).read() as reader:
            assert reader.mark(scan_mark(team, "team")) == PARTLY


def copied(lab: Lab, old: Path, new: Path) -> None:
    shutil.copytree(old, new)
    lab.once()
    assert list(lab.refused()) == [f"new/{wheel('foo', '1.0')}"]
    shutil.rmtree(old)
    old.symlink_to(new)


def renamed_without_a_catalog(lab: Lab, old: Path, new: Path) -> None:
    lose(lab.spec.catalog)
    old.rename(new)
    old.symlink_to(new)


def spoilt(lab: Lab, old: Path, new: Path) -> None:
    shutil.copytree(old, new)
    lab.once()
    (old / wheel("foo", "1.0")).write_bytes(b"no archive")


@pytest.mark.parametrize("step", [copied, renamed_without_a_catalog, spoilt])
def test_a_file_comes_in_where_another_of_its_name_is_of_no_use(
    lab: Lab, step: Callable[[Lab, Path, Path], None]
) -> None:
    """Behind a link, or damaged."""
    old, new = lab.packages / "old", lab.packages / "new"
    old.mkdir()
    make_wheel(old, "foo", "1.0")
    lab.once()
    step(lab, old, new)
    lab.once()
    assert lab.accepted() == {f"new/{wheel('foo', '1.0')}"}
    assert f"new/{wheel('foo', '1.0')}" not in lab.refused()


def test_a_directory_that_is_renamed_while_the_catalog_is_lost_is_no_loss(lab: Lab) -> None:
    """Its files have other paths, and all of them come in."""
    old = lab.packages / "old"
    old.mkdir()
    for name in MANY:
        make_wheel(old, name, "1.0")
    lab.once()
    lose(lab.spec.catalog)
    old.rename(lab.packages / "new")
    lab.once()
    assert lab.accepted() == {f"new/{wheel(name, '1.0')}" for name in MANY}
    assert lab.refused() == {}
    assert "vanished" not in told(lab.spec)
    assert confirm_deletions(lab.spec, lab.index) == 0


def test_accepting_changes_is_no_deletion(team: Spec, tmp_path: Path) -> None:
    """Files that vanished with a damaged catalog are kept, whatever else is accepted."""
    for name in MANY:
        make_wheel(tmp_path / "team", name, "1.0")
        make_wheel(tmp_path / "main", name, "9.0")
    update(team)
    for path in (tmp_path / "team").glob("p*"):
        path.unlink()
    spoil(team.catalog, "file")
    list(rebuild(team, accept_changes=True))
    assert shown(team, "team") == {name: [] for name in MANY}
    assert confirm_deletions(team, "team") == len(MANY)


def test_files_behind_a_link_keep_their_projects_over_damage(team: Spec, tmp_path: Path) -> None:
    """A catalog that is made anew from a damaged one knows them still."""
    inside = tmp_path / "team" / "inside"
    inside.mkdir()
    make_wheel(inside, "private", "1.0")
    make_wheel(tmp_path / "main", "private", "9.0")
    update(team)
    inside.rename(tmp_path / "large")
    inside.symlink_to(tmp_path / "large")
    update(team)
    spoil(team.catalog, "file")
    list(rebuild(team))
    assert shown(team, "team") == {"private": []}


def test_a_copy_of_a_version_before_is_restored_with_all_claims(team: Spec, tmp_path: Path) -> None:
    """It is brought up before it is taken over."""
    make_wheel(tmp_path / "main", "foo-2", "9.0")
    (tmp_path / "team" / "foo-2-1.tar.gz").write_bytes(b"no archive")
    update(team)
    shutil.copy(backup(team), tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "copy")) as connection:
        connection.execute("DROP TABLE further_claim")
        connection.execute(
            "UPDATE project SET files = 0 WHERE name = 'foo-2' AND \"index\" = 'team'"
        )
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    list(restore(team, tmp_path / "copy"))
    assert shown(team, "team") == {"foo": [], "foo-2": []}


def test_no_base_answers_while_a_copy_is_restored(
    team: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what was refused since, as the copy knows nothing of it: readers keep the old pages until
    all was scanned, and if the packages directory is away."""
    make_wheel(tmp_path / "team", "x", "1.0")
    make_wheel(tmp_path / "main", "private", "9.0")
    update(team)
    shutil.copy(backup(team), tmp_path / "copy")
    (tmp_path / "team" / "private-1.0.zip").write_bytes(b"no archive")
    update(team)
    before = shown(team, "team")
    assert before == {"x": [wheel("x", "1.0")], "private": []}
    scan, seen = Scanner.scan, list[object]()

    def look_first(self: Scanner, again: bool = False) -> Iterator[bool]:
        seen.append(shown(team, "team"))
        yield from scan(self, again)

    monkeypatch.setattr(Scanner, "scan", look_first)
    list(restore(team, tmp_path / "copy"))
    assert seen == [before, before]
    (tmp_path / "team").rename(tmp_path / "away")
    with pytest.raises(DirectoryMissing):
        list(restore(team, tmp_path / "copy"))
    assert shown(team, "team") == before


def test_a_file_that_is_copied_at_the_first_scan_keeps_its_project(
    team: Spec, tmp_path: Path
) -> None:
    """As no base answered for it before, none does until it is whole."""
    make_wheel(tmp_path / "main", "private", "9.0")
    path = make_wheel(tmp_path / "team", "private", "1.0")
    os.utime(path)
    scanner = Scanner(team, Catalog(team.catalog, create=True), "team")
    assert list(scanner.scan()) == [False]
    assert scanner.waiting == {path.name}
    scanner.note_scan()
    with Catalog(team.catalog).read() as reader:
        project = reader.project("team", "private")
        assert project is not None
        assert project.files == ()
    path.unlink()
    list(scanner.scan_paths({path.name}))
    with Catalog(team.catalog).read() as reader:
        assert reader.project("team", "private") is None


def test_a_duplicate_keeps_the_other_project_that_it_may_be_of(lab: Lab) -> None:
    """Two files of one name may be of two projects."""
    for part, name, version in (("a", "foo", "2-1"), ("b", "foo-2", "1")):
        (lab.packages / part).mkdir()
        made = make_sdist(lab.packages / part, name, version)
        made.rename(lab.packages / part / "foo-2-1.tar.gz")
    lab.once()
    assert lab.files("foo") == ["foo-2-1.tar.gz"]
    assert lab.files("foo-2") == []
    assert lab.page("foo-2") is not None


def test_claims_that_a_release_taken_back_left_go_with_a_rebuild(lab: Lab) -> None:
    """An older version knew nothing of the table."""
    bad = lab.packages / "foo-2-1.tar.gz"
    bad.write_bytes(b"no archive")
    lab.once()
    bad.unlink()
    with closing(sqlite3.connect(lab.spec.catalog)) as connection:
        connection.execute("DELETE FROM refused")
        connection.execute("DELETE FROM claim")
        connection.commit()
    list(rebuild(lab.spec))
    assert lab.projects() == []


def test_a_confirmation_is_heard_by_a_watcher_that_waits_for_a_disk(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at what was remembered of the disks once more."""
    disk = lab.packages / "disk"
    disk.mkdir()
    mounts = {"disk": "8:1 /"}
    monkeypatch.setattr(mountinfo, "mounts_below", lambda root: dict(mounts))
    lab.once()
    mounts.clear()
    scanner = Scanner(lab.spec, lab.catalog, lab.index)
    assert scanner.missing() == ["disk"]
    confirm_deletions(lab.spec, lab.index)
    assert scanner.missing() == []


# --- found by attacks ---------------------------------------------------------------------------


def test_a_file_that_is_coming_keeps_the_project_of_one_that_goes(
    team: Spec, tmp_path: Path
) -> None:
    """An upgrade by `cp` and `rm`: the new file has to settle first."""
    old = make_wheel(tmp_path / "team", "private", "1.0")
    make_wheel(tmp_path / "main", "private", "9.0")
    update(team)
    new = make_wheel(tmp_path / "team", "private", "1.1")
    os.utime(new)
    old.unlink()
    catalog = Catalog(team.catalog)
    scanner = Scanner(team, catalog, "team")
    list(scanner.scan_paths({old.name, new.name}, is_event=True))
    Publisher(team, catalog).publish()
    assert (shown(team, "team") or {})["private"] == []
    eventually(
        lambda: list(scanner.scan_paths(scanner.waiting, is_event=True)) and not scanner.waiting
    )
    Publisher(team, catalog).publish()
    assert (shown(team, "team") or {})["private"] == [new.name]
    new.unlink()
    update(team)
    assert (shown(team, "team") or {})["private"] == [wheel("private", "9.0")]


@pytest.mark.parametrize("is_running", [True, False])
def test_a_link_that_is_turned_to_an_empty_directory_is_no_deletion(
    tmp_path: Path, is_running: bool
) -> None:
    """The packages directory may be a link, and the disk behind it not be mounted yet."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "team").symlink_to(tmp_path / "disk")
    team = layered(tmp_path, "team", "main")
    make_wheel(tmp_path / "disk", "private", "1.0")
    make_wheel(tmp_path / "main", "private", "9.0")
    update(team)
    (tmp_path / "team").unlink()
    (tmp_path / "team").symlink_to(tmp_path / "empty")
    if is_running:
        with watched(Watcher(team)):
            eventually(lambda: "is empty, and not the one it was" in told(team))
    else:
        with pytest.raises(DirectoryMissing, match="is empty, and not the one it was"):
            update(team)
    assert shown(team, "team") == {"private": [wheel("private", "1.0")]}


@pytest.mark.parametrize("place", ["sub", ""])
def test_what_is_mounted_over_files_deletes_none(
    team: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """They stay listed and are told of until it is unmounted, or somebody confirms that they are
    gone."""
    top = tmp_path / "team"
    (top / "sub").mkdir()
    path = make_wheel(top / "sub", "private", "1.0")
    make_wheel(top, "stays", "1.0")
    make_wheel(tmp_path / "main", "private", "9.0")
    mounts: dict[str, str] = {}
    monkeypatch.setattr(mountinfo, "mounts_below", lambda root: dict(mounts) if root == top else {})
    update(team)
    mounts[place] = "8:1 /"
    path.rename(tmp_path / path.name)
    scanner = Scanner(team, Catalog(team.catalog), "team")
    for _ in range(2):
        list(scanner.scan())
        (text,) = scanner.troubles
        assert f"what is mounted at {top / place} hides 1 files" in text
        update(team)
        assert (shown(team, "team") or {})["private"] == [path.name]
    mounts.clear()
    (tmp_path / path.name).rename(path)
    list(scanner.scan())
    assert scanner.troubles == []
    mounts[place] = "8:1 /"
    path.unlink()
    list(scanner.scan())
    assert confirm_deletions(team, "team") == 1
    update(team)
    assert (shown(team, "team") or {})["private"] == [wheel("private", "9.0")]


def test_a_loop_of_links_is_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "packages").symlink_to("packages")
    with pytest.raises(DirectoryMissing, match="Too many levels of symbolic links"):
        PackagesDirectory(tmp_path / "packages").identity()


def test_what_goes_is_left_for_a_scan_where_not_all_is_heard(lab: Lab) -> None:
    """It may have moved to where nothing is heard from."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    (lab.packages / "deep").mkdir()
    (lab.packages / wheel("foo", "1.0")).rename(lab.packages / "deep" / wheel("foo", "1.0"))
    scanner = Scanner(lab.spec, lab.catalog, lab.index)
    list(scanner.scan_paths({wheel("foo", "1.0")}, is_event=True, removes=False))
    assert len(lab.journal()) == 1
    list(scanner.scan())
    assert [change.action for change in lab.journal()] == ["added", "moved"]


def test_a_trouble_that_has_passed_is_told_no_more(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What kept the watcher from its work at first, once it works."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    watching = Watcher(lab.spec)
    real = watching._open

    def fail_once() -> None:
        monkeypatch.setattr(watching, "_open", real)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(watching, "_open", fail_once)
    with watched(watching):
        eventually(lambda: "is full: free some space" in caplog.text)
        eventually(lambda: status(lab.spec)["problems"] == [])


def test_files_behind_a_link_are_told_of_while_they_are(lab: Lab) -> None:
    """Not only when all is scanned the next time."""
    inside = lab.packages / "inside"
    inside.mkdir()
    make_wheel(inside, "foo", "1.0")
    with lab.watched():
        eventually(lambda: lab.files("foo"))
        inside.rename(lab.packages.parent / "large")
        inside.symlink_to(lab.packages.parent / "large")
        eventually(lambda: "1 files are behind" in str(status(lab.spec)["problems"]))
        inside.unlink()
        (lab.packages.parent / "large").rename(inside)
        eventually(lambda: lab.files("foo") and status(lab.spec)["problems"] == [])


def test_copies_take_the_place_of_what_vanished(lab: Lab) -> None:
    """`cp -r old new; rm -r old`, as `mv` to another disk does: no file is asked about."""
    old, new = lab.packages / "old", lab.packages / "new"
    old.mkdir()
    for name in MANY:
        make_wheel(old, name, "1.0")
    lab.once()
    scanner = Scanner(lab.spec, lab.catalog, lab.index)
    shutil.copytree(old, new, copy_function=shutil.copy)
    shutil.rmtree(old)
    list(scanner.scan_paths({"old", "new"}, is_event=True))
    assert "vanished" in told(lab.spec)
    eventually(
        lambda: list(scanner.scan_paths(scanner.waiting, is_event=True)) and not scanner.waiting
    )
    assert "vanished" not in told(lab.spec)
    Publisher(lab.spec, lab.catalog).publish()
    assert lab.accepted() == {f"new/{wheel(name, '1.0')}" for name in MANY}


def test_what_is_remembered_of_disks_is_written_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may remove the file while a disk is away."""
    (lab.packages / "disk").mkdir()
    mounts = {"disk": "8:1 /"}
    monkeypatch.setattr(mountinfo, "mounts_below", lambda root: dict(mounts))
    scanner = Scanner(lab.spec, Catalog(lab.spec.catalog, create=True), lab.index)
    list(scanner.scan())
    mounts.clear()
    file = lab.spec.state / "places" / f"{lab.index}.json"
    file.unlink()
    assert scanner.missing() == ["disk"]
    list(scanner.scan())
    assert "disk" in file.read_text()


def test_a_move_that_is_heard_while_a_scan_ends_is_no_deletion(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is gone when all was compared is let go after what happened was heard."""
    old, new = lab.packages / "z", lab.packages / "a"
    old.mkdir()
    make_wheel(old, "foo", "1.0")
    lab.once()
    scanner = Scanner(lab.spec, lab.catalog, lab.index)
    walk = PackagesDirectory.walk

    def rename_behind(self: PackagesDirectory, tally: Walked | None = None) -> Iterator[Entry]:
        """The scan has passed where it goes to, and finds nothing where it was."""
        old.rename(new)
        return iter(())

    monkeypatch.setattr(PackagesDirectory, "walk", rename_behind)
    scan = scanner.scan()
    while not scanner.pauses:
        next(scan)
    monkeypatch.setattr(PackagesDirectory, "walk", walk)
    list(scanner.scan_paths({"a", "z"}, is_event=True))
    list(scan)
    assert [change.action for change in lab.journal()] == ["added", "moved"]
