"""Links by digest and pages of the index that an appliance stands in for (``nginx.stand_in``)."""

import gzip
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import spec
from appliance.catalog.database import Catalog
from appliance.cli import main
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.operations.verify import verify
from appliance.operations.watch import Watcher
from appliance.site.publish import Publisher
from appliance.site.tree import PAGES, STAND_IN_PAGES
from appliance.spec import Spec
from tests.conftest import eventually, watched
from tests.dist import make_wheel

FILES = "https://files.example/packages/"
FOO = "foo-1.0-py2.py3-none-any.whl"


def load(directory: Path, stand_in: str = "[index.example, files.example]") -> Spec:
    """Load a spec of two indexes, of which the first has the second as its base, and a third."""
    for name in ("main", "base", "other"):
        (directory / name).mkdir(exist_ok=True)
    path = directory / "pyindex.yml"
    path.write_text(
        "url: https://pypi.lab.example\nstate: state\n"
        "indexes:\n"
        "  main: {packages: main, bases: [base]}\n"
        "  base: {packages: base}\n"
        "  other: {packages: other}\n"
        f"nginx: {{tls: {{certificate: c.pem, key: k.pem}}, stand_in: {stand_in}}}\n"
    )
    return spec.load(path)


def digest_path(package: Path) -> str:
    """Return the path of a file in an index that arranges files by digest."""
    digest = hashlib.blake2b(package.read_bytes(), digest_size=32).hexdigest()
    return f"{digest[:2]}/{digest[2:4]}/{digest[4:]}/{package.name}"


def linked(of: Spec) -> dict[str, str]:
    """Return the path below ``.accepted`` of the marker that each link leads to; each exists."""
    top = of.www / ".digests"
    links = [path for path in top.rglob("*") if path.is_symlink()]
    markers = (of.www / ".accepted").resolve()
    return {
        str(link.relative_to(top)): str(link.resolve(strict=True).relative_to(markers))
        for link in links
    }


def test_each_file_has_link_by_digest(tmp_path: Path) -> None:
    """Each file of the first index and its bases has a link by digest; other indexes have none."""
    given = load(tmp_path)
    (tmp_path / "main/sub dir").mkdir()
    foo = make_wheel(tmp_path / "main/sub dir", "foo", "1.0")
    bar = make_wheel(tmp_path / "base", "bar", "1.0+local")
    make_wheel(tmp_path / "other", "baz", "1.0")
    update(given)
    assert linked(given) == {
        f"main/{digest_path(foo)}": f"main/packages/sub dir/{foo.name}",
        f"base/{digest_path(bar)}": f"base/packages/{bar.name}",
    }


def test_pages_of_other_index_have_its_urls(tmp_path: Path) -> None:
    """The pages of the other index equal those of the first index, except for their URLs."""
    given = load(tmp_path)
    foo = make_wheel(tmp_path / "main", "foo", "1.0", requires_python=">=3")
    bar = make_wheel(tmp_path / "base", "bar", "1.0+local")
    update(given)
    for package, packages in ((foo, "../../packages/"), (bar, "/base/packages/")):
        directory = given.www / "simple" / package.name.partition("-")[0]
        own, other = (package.name, digest_path(package))
        for page, same in zip(PAGES, STAND_IN_PAGES, strict=True):
            first, second = ((directory / name).read_bytes() for name in (page, same))
            if page.endswith(".gz"):
                first, second = gzip.decompress(first), gzip.decompress(second)
            urls = [text.replace("+", "%2B") for text in (f"{packages}{own}", f"{FILES}{other}")]
            assert first.decode().strip().replace(urls[0], urls[1]) == second.decode().strip()
            assert (directory / page).stat().st_mtime == (directory / same).stat().st_mtime
    assert not list((given.www / "base").rglob("stand-in*"))


def replaced(directory: Path, given: Spec) -> None:
    make_wheel(directory / "main", "foo", "1.0", summary="other bytes")


def moved(directory: Path, given: Spec) -> None:
    (directory / "main/deeper").mkdir()
    (directory / "main" / FOO).rename(directory / "main/deeper" / FOO)


def deleted(directory: Path, given: Spec) -> None:
    (directory / "main" / FOO).unlink()


def yanked(directory: Path, given: Spec) -> None:
    decisions.yank(given, "main", FOO, "broken")


def quarantined(directory: Path, given: Spec) -> None:
    decisions.set_status(given, "main", "foo", "quarantined", None)


def rejected(directory: Path, given: Spec) -> None:
    (directory / "main" / FOO).write_bytes(b"no zip file")


CHANGES: list[tuple[Callable[[Path, Spec], None], str | None]] = [
    (replaced, FOO),
    (moved, f"deeper/{FOO}"),
    (deleted, None),
    (yanked, FOO),
    (quarantined, None),
    (rejected, None),
]


@pytest.mark.parametrize(("change", "path"), CHANGES)
def test_links_follow_changes(
    tmp_path: Path, change: Callable[[Path, Spec], None], path: str | None
) -> None:
    """After a change of a file, exactly the digest of its present bytes leads to its path."""
    given = load(tmp_path)
    make_wheel(tmp_path / "main", "foo", "1.0")
    make_wheel(tmp_path / "main", "foo", "2.0")
    update(given)
    change(tmp_path, given)
    update(given)
    expected = {}
    if path:
        package = tmp_path / "main" / path
        expected[f"main/{digest_path(package)}"] = f"main/packages/{path}"
    assert {k: v for k, v in linked(given).items() if k.endswith(FOO)} == expected
    assert list(verify(given, ["main", "base", "other"]))[-1].damage == []


def test_quarantine_ends_with_links(tmp_path: Path) -> None:
    """The files of a project that leaves quarantine have their links again."""
    given = load(tmp_path)
    make_wheel(tmp_path / "main", "foo", "1.0")
    update(given)
    before = linked(given)
    quarantined(tmp_path, given)
    assert linked(given) == {}
    decisions.set_status(given, "main", "foo", "active", None)
    assert linked(given) == before != {}


def test_mode_is_switched_by_spec(tmp_path: Path) -> None:
    """The next start adds or removes links and pages for another ``stand_in``, and no other files
    change."""
    package = make_wheel(_made(tmp_path / "main"), "foo", "1.0")
    plain = load(tmp_path, "[]")
    update(plain)
    before = _names(plain.www)
    for stand_in, host in (
        ("[index.example]", "index.example"),
        ("[index.example, FILES.example, more.example]", "files.example"),
    ):
        given = load(tmp_path, stand_in)
        update(given)
        page = json.loads((given.www / "simple/foo/stand-in.json").read_bytes())
        [file] = page["files"]
        assert file["url"] == f"https://{host}/packages/{digest_path(package)}"
        assert len(linked(given)) == 1
        added = _names(given.www) - before
        assert added == {f"simple/foo/{page}" for page in STAND_IN_PAGES} | {
            f".digests/{link}" for link in linked(given)
        }
    update(load(tmp_path, "[]"))
    assert _names(plain.www) == before
    assert list(verify(plain, ["main"]))[-1].damage == []


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _names(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir()}


def lose_link(link: Path, marker: Path) -> None:
    link.unlink()


def turn_link(link: Path, marker: Path) -> None:
    link.unlink()
    link.symlink_to("/etc/passwd")


def empty_marker(link: Path, marker: Path) -> None:
    marker.write_text("")


def lose_page(link: Path, marker: Path) -> None:
    (marker.parents[3] / "simple/foo/stand-in.html.gz").unlink()


DAMAGE: list[tuple[Callable[[Path, Path], None], str, str]] = [
    (lose_link, FOO, "not served by its digest: link missing"),
    (turn_link, FOO, "not served by its digest: link missing"),
    (empty_marker, FOO, "not served by its digest: link missing"),
    (lose_page, "simple/foo/stand-in.html.gz", "published page: missing"),
]


@pytest.mark.parametrize(("spoil", "path", "problem"), DAMAGE)
def test_damage_is_found_and_repaired(
    tmp_path: Path, spoil: Callable[[Path, Path], None], path: str, problem: str
) -> None:
    """`pyindex verify` reports a damaged link or page, and a running watcher rewrites it."""
    given = load(tmp_path)
    make_wheel(tmp_path / "main", "foo", "1.0")
    update(given)
    before = linked(given)
    [link] = [each for each in (given.www / ".digests").rglob("*") if each.is_symlink()]
    spoil(link, given.www / ".accepted/main/packages" / FOO)
    *_, last = verify(given, ["main"])
    assert (path, f"{problem}; run `pyindex rebuild` to rewrite it") in {
        (each.path, each.problem) for each in last.damage
    }
    with watched(Watcher(given)):
        eventually(lambda: not list(verify(given, ["main"]))[-1].damage)
    assert linked(given) == before


def test_link_of_no_file_is_found_and_removed(tmp_path: Path) -> None:
    """`pyindex verify` reports a link that leads to no file, or to one of other bytes, and
    `pyindex rebuild` removes it."""
    given = load(tmp_path)
    make_wheel(tmp_path / "main", "foo", "1.0")
    update(given)
    before = linked(given)
    strays = [f"00/11/{'2' * 60}/{FOO}", f"00/11/{'2' * 60}/gone.whl"]
    for path in strays:
        stray = given.www / ".digests/main" / path
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.symlink_to(f"../../../../../.accepted/main/packages/{stray.name}")
    *_, last = verify(given, ["main"])
    text = "link by digest, but no such file; run `pyindex rebuild` to remove it"
    assert sorted((each.path, each.problem) for each in last.damage) == [
        (path, text) for path in sorted(strays)
    ]
    assert main(["rebuild", "-c", str(tmp_path / "pyindex.yml")]) == 0
    assert linked(given) == before


def test_publication_with_links_is_repeatable(tmp_path: Path) -> None:
    """A second publication changes no link, and one that was interrupted after a link of replaced
    bytes was removed is completed."""
    given = load(tmp_path)
    package = make_wheel(tmp_path / "main", "foo", "1.0")
    update(given)
    before = linked(given)
    times = {path: os.lstat(path).st_mtime_ns for path in (given.www / ".digests").rglob("*")}
    publisher = Publisher(given, Catalog(given.catalog))
    publisher.publish(everything=True)
    assert times == {path: os.lstat(path).st_mtime_ns for path in times}
    (given.www / ".digests/main" / digest_path(package)).unlink()
    publisher.publish(everything=True)
    assert linked(given) == before


def test_html_page_of_other_index_links_by_digest(tmp_path: Path) -> None:
    """The HTML page of the other index has the digest of each file in its link, and its SHA-256."""
    given = load(tmp_path)
    package = make_wheel(tmp_path / "main", "foo", "1.0")
    update(given)
    text = (given.www / "simple/foo/stand-in.html").read_text()
    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
    assert re.findall('href="(.*?)"', text) == [f"{FILES}{digest_path(package)}#sha256={sha256}"]
