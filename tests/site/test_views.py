"""Pages appear whole, and no base answers for an index that was not looked through yet."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from appliance import atomic, spec
from appliance.catalog.database import Catalog
from appliance.catalog.indexes import ready_index
from appliance.catalog.readiness import scan_mark
from appliance.errors import Unscanned
from appliance.incoming import mounts as mountinfo
from appliance.incoming.directory import PackagesDirectory, Walked
from appliance.index.names import normalize
from appliance.operations.health import health
from appliance.operations.update import confirm_deletions, update
from appliance.site import layout, pages, views
from appliance.site.publish import Publisher
from appliance.site.tree import Site
from appliance.spec import Spec
from tests.conftest import Lab
from tests.dist import make_wheel


def layered(root: Path, *names: str) -> Spec:
    """Indexes over directories of their names, each on top of all that follow it."""
    for name in names:
        (root / name).mkdir(exist_ok=True)
    path = root / "pyindex.yml"
    lines = [
        f"  {name}: {{packages: {name}, bases: [{', '.join(names[number + 1 :])}]}}\n"
        for number, name in enumerate(names)
    ]
    top = "state: state\nbackup: {directory: backups}\nindexes:\n"
    path.write_text(top + "".join(lines))
    return spec.load(path)


def shown(given: Spec, view: str) -> dict[str, list[str]] | None:
    """What a view shows: the files of each project; ``None`` before it shows anything. The list
    names the projects that have pages, and no other."""
    top = Site(given).simple(view)
    if not top.exists():
        return None
    pages = {page.parent.name: page for page in top.glob("*/index.json")}
    listed = json.loads((top / "index.json").read_bytes())["projects"]
    assert {normalize(project["name"]) for project in listed} == pages.keys()
    return {
        name: [file["filename"] for file in json.loads(page.read_bytes())["files"]]
        for name, page in pages.items()
    }


def wheel(name: str, version: str) -> str:
    return f"{name}-{version}-py2.py3-none-any.whl"


def scanned(given: Spec, index: str, is_known: bool) -> None:
    Catalog(given.catalog).set_mark(scan_mark(given, index), int(is_known))


def test_a_view_appears_when_all_of_its_indexes_were_scanned(tmp_path: Path) -> None:
    """Files are taken in and published on, and no reader sees any of it before the last."""
    given = layered(tmp_path, "team", "main")
    catalog = Catalog(given.catalog, create=True)
    make_wheel(tmp_path / "team", "ours", "1.0")
    make_wheel(tmp_path / "main", "ours", "9.0")
    make_wheel(tmp_path / "main", "common", "1.0")
    update(given)
    whole = {"ours": [wheel("ours", "1.0")], "common": [wheel("common", "1.0")]}
    assert shown(given, "team") == whole

    shutil.rmtree(given.www)
    for index, expected in (("", None), ("main", None), ("team", whole)):
        for each in ("team", "main"):
            if index == "":
                scanned(given, each, False)
        if index:
            scanned(given, index, True)
        Publisher(given, catalog).publish()
        Publisher(given, catalog).publish_lists()
        assert shown(given, "team") == expected
        assert (shown(given, "main") is None) == (index == "")


def test_no_base_answers_for_an_index_that_is_added_above_it(tmp_path: Path) -> None:
    """Whoever asks the new one gets nothing until it was scanned; then its own."""
    make = make_wheel
    alone = layered(tmp_path, "main")
    make(tmp_path / "main", "acme-tools", "99.0")
    update(alone)
    both = layered(tmp_path, "team", "main")
    make(tmp_path / "team", "acme-tools", "1.0")
    catalog = Catalog(both.catalog)
    Publisher(both, catalog).publish()
    assert shown(both, "team") is None
    assert shown(both, "main") == {"acme-tools": ["acme_tools-99.0-py2.py3-none-any.whl"]}
    with pytest.raises(Unscanned, match="team is being scanned"), catalog.read() as reader:
        ready_index(reader, both, "team").project("acme-tools")
    update(both)
    assert shown(both, "team") == {"acme-tools": ["acme_tools-1.0-py2.py3-none-any.whl"]}


def test_a_base_that_is_added_waits_and_takes_nothing_away(tmp_path: Path) -> None:
    """Until the base was scanned the pages stay as they were."""
    alone = layered(tmp_path, "team")
    make_wheel(tmp_path / "team", "ours", "1.0")
    update(alone)
    both = layered(tmp_path, "team", "main")
    make_wheel(tmp_path / "main", "common", "1.0")
    Publisher(both, Catalog(both.catalog)).publish()
    assert shown(both, "team") == {"ours": [wheel("ours", "1.0")]}
    update(both)
    assert shown(both, "team") == {
        "ours": [wheel("ours", "1.0")],
        "common": [wheel("common", "1.0")],
    }


def test_pages_of_a_lost_catalog_stay_until_others_are_whole(lab: Lab) -> None:
    """What was published is served on, its files too; then all is exchanged at once."""
    gone = make_wheel(lab.packages, "gone", "1.0")
    make_wheel(lab.packages, "stays", "1.0")
    lab.once()
    before = shown(lab.spec, lab.index)
    for path in lab.spec.state.glob("catalog*"):
        path.unlink()
    gone.unlink()
    catalog = Catalog(lab.spec.catalog, create=True)
    Publisher(lab.spec, catalog).publish()
    assert shown(lab.spec, lab.index) == before
    assert lab.accepted() == {wheel("gone", "1.0"), wheel("stays", "1.0")}
    lab.once()
    assert shown(lab.spec, lab.index) == {"stays": [wheel("stays", "1.0")]}
    assert lab.accepted() == {wheel("stays", "1.0")}
    assert list((lab.spec.www / ".new").iterdir()) == []


class Killed(BaseException):
    """What ends a process at any place."""


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_kill_while_pages_are_exchanged_is_repaired(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Also where the system cannot exchange two directories at once."""

    class Without:
        """A C library from before that."""

    left = [steps]
    rename = Path.rename

    def count(self: Path, target: Path) -> Path:
        if any(part in f"{self}{target}" for part in (".tmp", ".new")):
            if not left[0]:
                raise Killed
            left[0] -= 1
        return rename(self, target)

    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    for path in lab.spec.state.glob("catalog*"):
        path.unlink()
    make_wheel(lab.packages, "bar", "1.0")
    monkeypatch.setattr(views, "_libc", Without())
    monkeypatch.setattr(Path, "rename", count)
    try:
        lab.once()
    except Killed:
        monkeypatch.undo()
        lab.once()
    assert shown(lab.spec, lab.index) == {
        "foo": [wheel("foo", "1.0")],
        "bar": [wheel("bar", "1.0")],
    }


def test_a_kill_before_the_files_of_another_catalog_are_swept_is_repaired(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are exchanged, and what the catalog before had can still be fetched: not for long."""
    gone = make_wheel(lab.packages, "gone", "1.0")
    make_wheel(lab.packages, "stays", "1.0")
    lab.once()
    for path in lab.spec.state.glob("catalog*"):
        path.unlink()
    gone.unlink()
    unlink = atomic.unlink

    def kill(path: str | Path) -> None:
        if "/.accepted/" in str(path) and gone.name in str(path):
            raise Killed
        unlink(path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("appliance.site.files.unlink", kill)
        lab.once()
    assert shown(lab.spec, lab.index) == {"stays": [wheel("stays", "1.0")]}
    assert lab.accepted() == {wheel("gone", "1.0"), wheel("stays", "1.0")}
    lab.once()
    assert lab.accepted() == {wheel("stays", "1.0")}


def test_a_tree_of_another_form_is_made_anew(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Links from before there were markers go, and so do other names of the first index."""
    path = make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    www = lab.spec.www
    (www / "packages" / path.name).symlink_to(path)
    (www / "packages" / "stray.zip").symlink_to(tmp_path / "secret")
    (www / lab.index).mkdir()
    (www / lab.index / "simple").symlink_to("../simple")
    (www / ".pyindex").unlink()
    monkeypatch.setattr(layout, "PAGE_FORMAT", pages.PAGE_FORMAT + 1)
    lab.once()
    assert [each for each in www.rglob("*") if each.is_symlink()] == []
    assert shown(lab.spec, lab.index) == {"foo": [path.name]}
    assert lab.accepted() == {path.name}
    assert (www / ".pyindex").exists()


def test_no_base_answers_for_what_could_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that is shut at the first scan may hold any project; a view of that index alone
    shows what it has. Once it was read, shutting it changes nothing."""
    given = layered(tmp_path, "team", "main")
    (tmp_path / "team" / "secret").mkdir()
    make_wheel(tmp_path / "team" / "secret", "private", "1.0")
    make_wheel(tmp_path / "team", "known", "1.0")
    make_wheel(tmp_path / "main", "private", "9.0")
    original = PackagesDirectory._list
    is_shut = True

    def shut(self: PackagesDirectory, prefix: str, walked: Walked) -> list[tuple[str, bool]]:
        if prefix == "secret/" and is_shut:
            raise PermissionError(errno.EACCES, "Permission denied", prefix)
        return original(self, prefix, walked)

    monkeypatch.setattr(PackagesDirectory, "_list", shut)
    update(given)
    assert shown(given, "team") is None
    assert shown(given, "main") == {"private": [wheel("private", "9.0")]}
    told = health(given, Catalog(given.catalog)).problems
    assert any(text.startswith("team: a part of its packages directory") for text in told)
    is_shut = False
    update(given)
    team = {"private": [wheel("private", "1.0")], "known": [wheel("known", "1.0")]}
    assert shown(given, "team") == team
    is_shut = True
    update(given)
    assert shown(given, "team") == team


def test_no_base_answers_for_a_disk_that_is_away_when_the_catalog_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was on it is not known then; whoever says that it is gone is believed."""
    given = layered(tmp_path, "team", "main")
    disk = tmp_path / "team" / "disk"
    disk.mkdir()
    make_wheel(disk, "private", "1.0")
    make_wheel(tmp_path / "main", "private", "9.0")
    mounts = {"disk": "8:1 /"}
    monkeypatch.setattr(
        mountinfo, "mounts_below", lambda root: dict(mounts) if root == disk.parent else {}
    )
    update(given)
    for part in given.state.glob("catalog.sqlite*"):
        part.unlink()
    (disk / wheel("private", "1.0")).rename(tmp_path / wheel("private", "1.0"))
    mounts.clear()
    for _ in range(2):
        update(given)
        assert (shown(given, "team") or {}).get("private") != [wheel("private", "9.0")]
    assert confirm_deletions(given, "team") == 1
    update(given)
    assert (shown(given, "team") or {}).get("private") == [wheel("private", "9.0")]
