"""Pages in the cache, and the version of what upstreams answer."""

from pathlib import Path

import pytest

from appliance.upstream import Upstreams
from tests.upstream.asking import FOO, asked, names, of
from tests.upstream.faulty import Behavior, Exchange, Faulty, status

# --- the cache -----------------------------------------------------------------------------------


def conditional(content: str) -> Behavior:
    def behave(exchange: Exchange) -> None:
        if exchange.headers.get("if-none-match") == '"1"':
            exchange.answer(b"", 304)
        else:
            exchange.answer(content.encode(), Content_Type="text/html", ETag='"1"')

    return behave


def test_second_run_revalidates_page(faulty: Faulty, tmp_path: Path) -> None:
    """A second run sends a conditional request, and reads the stored page."""
    faulty.behaviors[FOO] = conditional('<a href="foo-1.0.tar.gz">')
    for _ in range(2):
        assert names(of(faulty), tmp_path) == ["foo-1.0.tar.gz"]
    conditions = [request.headers.get("if-none-match") for request in faulty.requests]
    assert conditions == [None, '"1"']


@pytest.mark.parametrize("damage", [b"", b"x", b"0" * 64 + b"\n[]\n"])
def test_damaged_cache_counts_as_none(faulty: Faulty, tmp_path: Path, damage: bytes) -> None:
    """A damaged file in the cache is replaced."""
    faulty.behaviors[FOO] = conditional('<a href="foo-1.0.tar.gz">')
    names(of(faulty), tmp_path)
    (stored,) = (tmp_path / "pages").iterdir()
    good = stored.read_bytes()
    stored.write_bytes(damage)
    assert names(of(faulty), tmp_path) == ["foo-1.0.tar.gz"]
    assert stored.read_bytes() == good


# --- versions ------------------------------------------------------------------------------------


def version(upstreams: Upstreams, cache: Path) -> str:
    return asked(upstreams, lambda client: client.version("Foo"), cache)


@pytest.mark.parametrize(
    "changed",
    [
        '<a href="foo-1.0.tar.gz" data-yanked="">',
        '<a href="foo-1.0.tar.gz"><a href="foo-1.1.tar.gz">',
        "",
        None,
    ],
    ids=["yanked", "new file", "no file", "no project"],
)
def test_version_changes_with_page(faulty: Faulty, tmp_path: Path, changed: str | None) -> None:
    """The version of a project is the same from the cache, and another one after any change."""
    faulty.behaviors[FOO] = conditional('<a href="foo-1.0.tar.gz">')
    first = [version(of(faulty), tmp_path) for _ in range(2)]
    assert first[0] == first[1]
    faulty.behaviors[FOO] = (
        status(404)
        if changed is None
        else lambda exchange: exchange.answer(changed.encode(), Content_Type="text/html")
    )
    assert version(of(faulty), tmp_path) != first[0]


def test_version_changes_with_local_files(tmp_path: Path) -> None:
    """The version of a project changes if a file of a directory is added or replaced."""
    links = tmp_path / "links"
    links.mkdir()
    upstreams = Upstreams(find_links=(links.as_uri(),))
    seen = [version(upstreams, tmp_path)]
    for content in (b"", b"1"):
        (links / "foo-1.0.tar.gz").write_bytes(content)
        seen.append(version(upstreams, tmp_path))
    (links / "other-1.0.tar.gz").touch()
    assert version(upstreams, tmp_path) == seen[-1]
    assert len(set(seen)) == 3
