"""Claims: no base answers for a project while its own index has, or may have, a file of it
(dependency confusion)."""

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
from tests.operations.damages import lose, spoil
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
def test_possible_projects_of_file(filename: str, projects: list[str]) -> None:
    """A file name gives each project that its file may belong to."""
    assert list(possible(f"some-9.9/{filename}")) == projects


def test_possible_projects_are_limited() -> None:
    """The number of projects that one file name claims is limited."""
    assert len(possible(f"a{'-1' * 50}.zip")) == 11


@pytest.fixture
def team(tmp_path: Path) -> Spec:
    """An index ``team`` over a base ``main``."""
    return layered(tmp_path, "team", "main")


def told(given: Spec) -> str:
    found = health(given, Catalog(given.catalog))
    return "\n".join(found.problems + found.degraded)


@pytest.mark.parametrize(("filename", "projects"), [each for each in NAMES if each[1]])
def test_rejected_file_claims_possible_projects(
    team: Spec, tmp_path: Path, filename: str, projects: list[str]
) -> None:
    """A rejected file claims each project that its name may mean; after its deletion the base
    answers."""
    for name in projects:
        make_sdist(tmp_path / "main", name, "99.0")
    (tmp_path / "team" / filename).write_bytes(b"no archive")
    update(team)
    update(team)
    assert shown(team, "team") == {name: [] for name in projects}
    (tmp_path / "team" / filename).unlink()
    update(team)
    assert all((shown(team, "team") or {})[name] for name in projects)


def test_damaged_file_claims_project_of_metadata(team: Spec, tmp_path: Path) -> None:
    """A damaged file claims the project of its former metadata, even if its name means another."""
    make_wheel(tmp_path / "main", "foo-bar", "9.0")
    path = make_sdist(tmp_path / "team", "foo-bar", "final")
    path = path.rename(tmp_path / "team" / "foo-bar-final.tar.gz")
    update(team)
    assert shown(team, "team") == {"foo-bar": [path.name]}
    path.write_bytes(b"no archive")
    update(team)
    assert (shown(team, "team") or {})["foo-bar"] == []


def test_files_behind_link_claim_projects(
    team: Spec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files behind a new symbolic link leave the pages and claim their projects, until the
    directory returns or the link is deleted."""
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
        link = f"team: {inside}: now a symbolic link, which is not followed; 3 files"
        assert link in caplog.text
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


def test_link_to_moved_directory_claims_nothing(lab: Lab) -> None:
    """A symbolic link to the moved directory claims nothing, whichever event is read first."""
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
        change.record_replacement("begun", 0)
    empty.close()
    copy = given.catalog.with_name("copy")
    given.catalog.rename(copy)
    list(restore(given, copy))


LOSSES: list[Callable[[Spec], None]] = [lambda given: lose(given.catalog), damage, put_back]


@pytest.mark.parametrize("loss", LOSSES, ids=["lost", "damaged", "restored"])
def test_files_lost_with_catalog_claim_projects(
    team: Spec, tmp_path: Path, loss: Callable[[Spec], None]
) -> None:
    """Files that vanish with the catalog claim their projects, until they return or their deletion
    is confirmed."""
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
    assert "team: 12 of 13 files vanished in bulk" in told(team)
    shutil.copy(elsewhere / wheel("p0", "1.0"), tmp_path / "team")
    update(team)
    assert (shown(team, "team") or {})["p0"] == [wheel("p0", "1.0")]
    confirm_deletions(team, "team")
    update(team)
    assert (shown(team, "team") or {})["p1"] == [wheel("p1", "9.0")]
    assert "vanished" not in told(team)


def test_published_duplicate_is_served_after_loss(lab: Lab) -> None:
    """After the loss of the catalog the published one of two files with the same name is served;
    the other one after its deletion."""
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


def test_unreachable_file_is_not_rejected(lab: Lab) -> None:
    """An unreachable file is not reported as rejected; after its examination the journal has one
    entry."""
    make_wheel(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    (lab.packages / wheel("bar", "1.0")).unlink()
    lose(lab.spec.catalog)
    prepare(lab.spec)
    with lab.catalog.read() as reader:
        assert (reader.rejected_count(lab.index), reader.rejections(lab.index)) == (0, [])
        assert reader.unreachable_count(lab.index) == 2
    lab.once()
    with lab.catalog.read() as reader:
        assert (reader.rejected_count(lab.index), reader.unreachable_count(lab.index)) == (0, 0)
    lines = [(change.action, change.project) for change in lab.journal()]
    assert lines == [("added", "foo"), ("cleared", "bar")]


def test_older_version_reads_one_claim(lab: Lab) -> None:
    """An older version reads one claim of a file, as before."""
    (lab.packages / "foo-2-1.tar.gz").write_bytes(b"no archive")
    lab.once()
    with closing(sqlite3.connect(lab.spec.catalog)) as connection:
        assert connection.execute("SELECT project FROM claim").fetchall() == [("foo",)]


def test_migration_adds_claims(team: Spec, tmp_path: Path) -> None:
    """The migration of an older catalog adds claims: rejected files are examined again."""
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


def test_missing_disk_claims_rejected_names(
    team: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a disk and the catalog are missing, no base answers for files that were rejected
    there."""
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
def test_file_replaces_useless_duplicate(lab: Lab, step: Callable[[Lab, Path, Path], None]) -> None:
    """A file is accepted if the other file of its name is damaged or behind a symbolic link."""
    old, new = lab.packages / "old", lab.packages / "new"
    old.mkdir()
    make_wheel(old, "foo", "1.0")
    lab.once()
    step(lab, old, new)
    lab.once()
    assert lab.accepted() == {f"new/{wheel('foo', '1.0')}"}
    assert f"new/{wheel('foo', '1.0')}" not in lab.refused()


def test_directory_renamed_while_catalog_is_lost(lab: Lab) -> None:
    """All files of a directory are accepted that was renamed while the catalog was lost."""
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


def test_accepting_changes_confirms_no_deletion(team: Spec, tmp_path: Path) -> None:
    """Accepting changed bytes does not confirm the deletion of files that vanished with a damaged
    catalog."""
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


def test_rebuild_keeps_claims_of_files_behind_link(team: Spec, tmp_path: Path) -> None:
    """Files behind a symbolic link claim their projects after a rebuild of a damaged catalog."""
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


def test_restore_migrates_claims(team: Spec, tmp_path: Path) -> None:
    """A backup of an older version is migrated before its rows are copied."""
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


def test_no_base_answers_during_restore(
    team: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a backup is restored, pages stay and no base answers for a file rejected since, even
    without the packages directory."""
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


def test_unfinished_file_claims_project_at_first_scan(team: Spec, tmp_path: Path) -> None:
    """A file that is being written during the first scan claims its project."""
    make_wheel(tmp_path / "main", "private", "9.0")
    path = make_wheel(tmp_path / "team", "private", "1.0")
    os.utime(path)
    scanner = Scanner(team, Catalog(team.catalog, create=True), "team")
    assert list(scanner.scan()) == [False]
    assert scanner.waiting == {path.name}
    scanner.record_scan()
    with Catalog(team.catalog).read() as reader:
        project = reader.project("team", "private")
        assert project is not None
        assert project.files == ()
    path.unlink()
    list(scanner.scan_paths({path.name}))
    with Catalog(team.catalog).read() as reader:
        assert reader.project("team", "private") is None


def test_duplicate_claims_other_project(lab: Lab) -> None:
    """A duplicate claims the other project that its name may mean."""
    for part, name, version in (("a", "foo", "2-1"), ("b", "foo-2", "1")):
        (lab.packages / part).mkdir()
        made = make_sdist(lab.packages / part, name, version)
        made.rename(lab.packages / part / "foo-2-1.tar.gz")
    lab.once()
    assert lab.files("foo") == ["foo-2-1.tar.gz"]
    assert lab.files("foo-2") == []
    assert lab.page("foo-2") is not None


def test_rebuild_drops_stale_claims(lab: Lab) -> None:
    """A rebuild drops claims that an older version left behind."""
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


def test_watcher_reads_confirmation_for_missing_disk(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher that waits for a disk reads the confirmation of another process."""
    disk = lab.packages / "disk"
    disk.mkdir()
    mounts = {"disk": "8:1 /"}
    monkeypatch.setattr(mountinfo, "mounts_below", lambda root: dict(mounts))
    lab.once()
    mounts.clear()
    scanner = Scanner(lab.spec, lab.catalog, lab.index)
    assert scanner.missing_mounts() == ["disk"]
    confirm_deletions(lab.spec, lab.index)
    assert scanner.missing_mounts() == []


# --- found by attacks ---------------------------------------------------------------------------


def test_new_file_claims_project_of_deleted_file(team: Spec, tmp_path: Path) -> None:
    """An upgrade by `cp` and `rm` keeps the project claimed while the new file is settling."""
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
def test_link_to_empty_directory_deletes_nothing(tmp_path: Path, is_running: bool) -> None:
    """A packages directory that is a symbolic link to an unmounted disk loses no files."""
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
            eventually(lambda: "empty, and a different directory than before" in told(team))
    else:
        with pytest.raises(DirectoryMissing, match="empty, and a different directory than before"):
            update(team)
    assert shown(team, "team") == {"private": [wheel("private", "1.0")]}


@pytest.mark.parametrize("place", ["sub", ""])
def test_mount_over_files_deletes_none(
    team: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Files below a new mount point remain listed and reported, until it is unmounted or the
    deletion is confirmed."""
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
        (text,) = scanner.problems
        assert f"{top / place}: the file system mounted there hides 1 listed file;" in text
        update(team)
        assert (shown(team, "team") or {})["private"] == [path.name]
    mounts.clear()
    (tmp_path / path.name).rename(path)
    list(scanner.scan())
    assert scanner.problems == []
    mounts[place] = "8:1 /"
    path.unlink()
    list(scanner.scan())
    assert confirm_deletions(team, "team") == 1
    update(team)
    assert (shown(team, "team") or {})["private"] == [wheel("private", "9.0")]


def test_loop_of_links_is_missing_directory(tmp_path: Path) -> None:
    """A loop of symbolic links counts as a missing packages directory."""
    (tmp_path / "packages").symlink_to("packages")
    with pytest.raises(DirectoryMissing, match="Too many levels of symbolic links"):
        PackagesDirectory(tmp_path / "packages").identity()


def test_deletion_waits_for_scan_without_all_watches(lab: Lab) -> None:
    """A missing file remains until a full scan if not all directories are watched: it may have
    moved."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    (lab.packages / "deep").mkdir()
    (lab.packages / wheel("foo", "1.0")).rename(lab.packages / "deep" / wheel("foo", "1.0"))
    scanner = Scanner(lab.spec, lab.catalog, lab.index)
    list(scanner.scan_paths({wheel("foo", "1.0")}, is_event=True, removes=False))
    assert len(lab.journal()) == 1
    list(scanner.scan())
    assert [change.action for change in lab.journal()] == ["added", "moved"]


def test_problem_ends_after_success(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A problem at the start of the watcher is not reported any more when it works."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    watching = Watcher(lab.spec)
    real = watching._open

    def fail_once() -> None:
        monkeypatch.setattr(watching, "_open", real)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(watching, "_open", fail_once)
    with watched(watching):
        eventually(lambda: "disk full; free some disk space" in caplog.text)
        eventually(lambda: status(lab.spec)["problems"] == [])


def test_files_behind_link_are_reported(lab: Lab) -> None:
    """Files behind a symbolic link are reported as long as it exists, without a full scan."""
    inside = lab.packages / "inside"
    inside.mkdir()
    make_wheel(inside, "foo", "1.0")
    with lab.watched():
        eventually(lambda: lab.files("foo"))
        inside.rename(lab.packages.parent / "large")
        inside.symlink_to(lab.packages.parent / "large")
        eventually(lambda: "; 1 file unreachable;" in str(status(lab.spec)["problems"]))
        inside.unlink()
        (lab.packages.parent / "large").rename(inside)
        eventually(lambda: lab.files("foo") and status(lab.spec)["problems"] == [])


def test_copies_replace_vanished_files(lab: Lab) -> None:
    """`cp -r old new; rm -r old`, as `mv` to another disk does, needs no confirmation."""
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


def test_record_of_mounts_is_rewritten(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of mount points that was deleted is written again."""
    (lab.packages / "disk").mkdir()
    mounts = {"disk": "8:1 /"}
    monkeypatch.setattr(mountinfo, "mounts_below", lambda root: dict(mounts))
    scanner = Scanner(lab.spec, Catalog(lab.spec.catalog, create=True), lab.index)
    list(scanner.scan())
    mounts.clear()
    file = lab.spec.state / "places" / f"{lab.index}.json"
    file.unlink()
    assert scanner.missing_mounts() == ["disk"]
    list(scanner.scan())
    assert "disk" in file.read_text()


def test_move_during_scan_is_no_deletion(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan removes missing files only after the events of its duration were read."""
    old, new = lab.packages / "z", lab.packages / "a"
    old.mkdir()
    make_wheel(old, "foo", "1.0")
    lab.once()
    scanner = Scanner(lab.spec, lab.catalog, lab.index)
    walk = PackagesDirectory.walk

    def rename_behind(self: PackagesDirectory, tally: Walked | None = None) -> Iterator[Entry]:
        """Move a file to a path that the scan has passed."""
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
