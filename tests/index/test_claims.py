"""No base answers for a project while its own index has a file that may be of it, or had one that
nobody said was deleted (dependency confusion)."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from appliance.index.catalog import Catalog
from appliance.index.health import health
from appliance.index.names import possible
from appliance.index.recover import rebuild, restore
from appliance.index.scan import Scanner
from appliance.index.watch import Watch, confirm_deletions
from appliance.spec import Spec
from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel
from tests.index.test_rebuild import lose, spoil
from tests.index.test_views import layered, shown, wheel

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
    ("foo-1.0.rpm", []),
    ("foo.zip", []),
    ("-1.0.zip", []),
    ("f\xf6\xf6-1.0.zip", []),
]


@pytest.mark.parametrize(("filename", "projects"), NAMES)
def test_what_a_file_may_be_of(filename: str, projects: list[str]) -> None:
    assert list(possible(f"some-9.9/{filename}")) == projects


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
    Watch(team).once()
    Watch(team).once()
    assert shown(team, "team") == {name: [] for name in projects}
    (tmp_path / "team" / filename).unlink()
    Watch(team).once()
    assert all((shown(team, "team") or {})[name] for name in projects)


def test_a_file_that_is_spoilt_keeps_the_project_of_its_metadata(
    team: Spec, tmp_path: Path
) -> None:
    """Its name may say another one."""
    make_wheel(tmp_path / "main", "foo-bar", "9.0")
    path = make_sdist(tmp_path / "team", "foo-bar", "final")
    path = path.rename(tmp_path / "team" / "foo-bar-final.tar.gz")
    Watch(team).once()
    assert shown(team, "team") == {"foo-bar": [path.name]}
    path.write_bytes(b"no archive")
    Watch(team).once()
    assert (shown(team, "team") or {})["foo-bar"] == []


def test_a_directory_that_gives_way_to_a_link_keeps_its_projects(
    team: Spec, tmp_path: Path
) -> None:
    """Its files are refused, once, and come back when it is a directory again; when the link goes
    they are gone."""
    inside = tmp_path / "team" / "inside"
    (inside / "deep").mkdir(parents=True)
    make_wheel(inside, "private", "1.0")
    make_wheel(inside / "deep", "other", "1.0")
    for name in ("private", "other"):
        make_wheel(tmp_path / "main", name, "9.0")
    Watch(team).once()
    own = {"private": [wheel("private", "1.0")], "other": [wheel("other", "1.0")]}
    assert shown(team, "team") == own
    moved = tmp_path / "large"
    inside.rename(moved)
    inside.symlink_to(moved)
    for _ in range(2):
        Watch(team).once()
        assert shown(team, "team") == {"private": [], "other": []}
        with Catalog(team.catalog).read() as reader:
            assert reader.refused_count("team") == 3
            serial = reader.serial()
    Watch(team).once()
    with Catalog(team.catalog).read() as reader:
        assert reader.serial() == serial
    inside.unlink()
    shutil.copytree(moved, inside)
    Watch(team).once()
    assert shown(team, "team") == own
    shutil.rmtree(inside)
    inside.symlink_to(moved)
    Watch(team).once()
    inside.unlink()
    Watch(team).once()
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
        list(scanner.look({path}))
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
    Watch(team).once()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (tmp_path / "team").glob("p*"):
        path.rename(elsewhere / path.name)
    loss(team)
    for _ in range(2):
        Watch(team).once()
        pages = shown(team, "team") or {}
        assert {name: pages[name] for name in MANY} == {name: [] for name in MANY}
        assert pages["stays"] == [wheel("stays", "1.0")]
    assert "team: 12 of 13 files vanished at once" in told(team)
    shutil.copy(elsewhere / wheel("p0", "1.0"), tmp_path / "team")
    Watch(team).once()
    assert (shown(team, "team") or {})["p0"] == [wheel("p0", "1.0")]
    confirm_deletions(team, "team")
    Watch(team).once()
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
    watching = Watch(lab.spec)
    watching._open()
    with lab.catalog.read() as reader:
        assert (reader.refused_count(lab.index), reader.refusals(lab.index)) == (0, [])
        assert reader.unseen(lab.index) == 2
    watching.once()
    with lab.catalog.read() as reader:
        assert (reader.refused_count(lab.index), reader.unseen(lab.index)) == (0, 0)
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
    Watch(team).once()
    with closing(sqlite3.connect(team.catalog)) as connection:
        connection.execute("DROP TABLE further_claim")
        connection.execute("UPDATE project SET files = 0 WHERE name = 'foo-2'")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    Watch(team).once()
    assert shown(team, "team") == {"foo": [], "foo-2": []}
