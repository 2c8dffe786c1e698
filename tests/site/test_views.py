"""Views: atomic replacement of page trees, and no answers from bases before the first scan."""

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
    """Return a spec of indexes over directories of their names, with later ones as bases."""
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
    """Return the files of each project in a view, or ``None`` before its first publication."""
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


def test_view_waits_for_scan_of_lineage(tmp_path: Path) -> None:
    """A view is published only after all indexes of its lineage were scanned."""
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
        Publisher(given, catalog).publish(lists=True)
        assert shown(given, "team") == expected
        assert (shown(given, "main") is None) == (index == "")


def test_base_does_not_answer_for_unscanned_index(tmp_path: Path) -> None:
    """A new index has no pages, and no base answers for it, until its first scan."""
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


def test_new_base_keeps_pages_until_scanned(tmp_path: Path) -> None:
    """Pages of an index stay unchanged until its new base was scanned."""
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


def test_pages_of_lost_catalog_stay_until_scan(lab: Lab) -> None:
    """Pages and files of a lost catalog stay published until the new ones replace them together."""
    deleted = make_wheel(lab.packages, "gone", "1.0")
    make_wheel(lab.packages, "stays", "1.0")
    lab.once()
    before = shown(lab.spec, lab.index)
    for path in lab.spec.state.glob("catalog*"):
        path.unlink()
    deleted.unlink()
    catalog = Catalog(lab.spec.catalog, create=True)
    Publisher(lab.spec, catalog).publish()
    assert shown(lab.spec, lab.index) == before
    assert lab.accepted() == {wheel("gone", "1.0"), wheel("stays", "1.0")}
    lab.once()
    assert shown(lab.spec, lab.index) == {"stays": [wheel("stays", "1.0")]}
    assert lab.accepted() == {wheel("stays", "1.0")}
    assert list((lab.spec.www / ".new").iterdir()) == []


class Killed(BaseException):
    """Kill of the process at any statement."""


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_killed_exchange_of_pages_is_repaired(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """The next update completes a killed exchange of page trees, also without renameat2."""

    class Without:
        """C library without renameat2."""

    remaining = [steps]
    rename = Path.rename

    def count(self: Path, target: Path) -> Path:
        if any(part in f"{self}{target}" for part in (".tmp", ".new")):
            if not remaining[0]:
                raise Killed
            remaining[0] -= 1
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


def test_killed_removal_of_old_files_is_repaired(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next update removes markers of a former catalog that a killed one left."""
    deleted = make_wheel(lab.packages, "gone", "1.0")
    make_wheel(lab.packages, "stays", "1.0")
    lab.once()
    for path in lab.spec.state.glob("catalog*"):
        path.unlink()
    deleted.unlink()
    unlink = atomic.unlink

    def kill(path: str | Path) -> None:
        if "/.accepted/" in str(path) and deleted.name in str(path):
            raise Killed
        unlink(path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("appliance.site.tree.unlink", kill)
        lab.once()
    assert shown(lab.spec, lab.index) == {"stays": [wheel("stays", "1.0")]}
    assert lab.accepted() == {wheel("gone", "1.0"), wheel("stays", "1.0")}
    lab.once()
    assert lab.accepted() == {wheel("stays", "1.0")}


def test_tree_of_older_layout_is_rebuilt(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An update rebuilds a published tree of another layout and removes its links."""
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


def test_base_does_not_answer_for_unreadable_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No base answers for an index with a directory that no scan could read yet."""
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
    problems = health(given, Catalog(given.catalog)).problems
    assert any(
        text.startswith("team: parts of the packages directory not read") for text in problems
    )
    is_shut = False
    update(given)
    team = {"private": [wheel("private", "1.0")], "known": [wheel("known", "1.0")]}
    assert shown(given, "team") == team
    is_shut = True
    update(given)
    assert shown(given, "team") == team


def test_base_does_not_answer_for_unmounted_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No base answers for an unmounted disk after a catalog loss, before confirmation."""
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
