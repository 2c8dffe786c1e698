"""The client: project pages and core metadata over HTTP, within limits."""

import asyncio
import gzip
import json
from pathlib import Path

import pypi_simple
import pytest

from appliance.upstream import Client, RemoteFile, UpstreamError, Upstreams
from tests.dist import make_sdist, make_wheel
from tests.integration.servers import embedded
from tests.upstream.asking import FOO, GOOD, JSON, asked, links, metadata, names, of
from tests.upstream.conftest import IMPATIENT
from tests.upstream.faulty import Behavior, Exchange, Faulty, in_turn, page, serving, status

# --- project pages -------------------------------------------------------------------------------


def stalls(exchange: Exchange) -> None:
    exchange.head(Content_Type="text/html", Content_Length=9)
    exchange.send(b"<a ")
    exchange.stall()


def cuts(exchange: Exchange) -> None:
    exchange.head(Content_Type="text/html", Content_Length=9)
    exchange.send(b"<a ")
    exchange.cut()


def packed(content: bytes, cut: int | None = None) -> Behavior:
    headers: dict[str, object] = {"Content_Type": "text/html", "Content_Encoding": "gzip"}
    body = gzip.compress(content)[:cut]
    return lambda exchange: exchange.answer(body, **headers)


def unpackable(exchange: Exchange) -> None:
    exchange.answer(b"<a href=x>", Content_Type="text/html", Content_Encoding="gzip")


PASSING: dict[str, Behavior] = {
    "good": GOOD,
    "gzip": packed(b'<a href="/f/foo-1.0.tar.gz">'),
    "stall": in_turn(stalls, GOOD),
    "cut": in_turn(cuts, GOOD),
    "500": in_turn(status(500), status(502), GOOD),
    "429": in_turn(status(429, Retry_After="7200"), GOOD),
    "gzip cut": in_turn(packed(b'<a href="/f/foo-1.0.tar.gz">', -3), GOOD),
}


@pytest.mark.parametrize("fault", PASSING)
def test_page_is_read_despite_fault(faulty: Faulty, fault: str) -> None:
    """A fault that passes costs retries only."""
    faulty.behaviors[FOO] = PASSING[fault]
    assert names(of(faulty), limits=IMPATIENT) == ["foo-1.0.tar.gz"]


NETWORK = "check the network and the server"
STAYING: dict[str, tuple[Behavior, str]] = {
    "stall": (stalls, f"timed out; {NETWORK}"),
    "cut": (cuts, f"connection lost: body cut short or malformed; {NETWORK}"),
    "500": (status(500), "the server answered 500; retry later"),
    "418": (status(418), "the server answered 418; check the URL"),
    "401": (
        status(401),
        "the server answered 401, and no password is known; add one to ~/.netrc or the URL",
    ),
    "circle": (status(301, Location=FOO), "redirects in a circle; check the URL"),
    "huge": (page("x" * 100_001), "larger than 100,000 bytes; check the URL"),
    "bomb": (packed(bytes(50_000_000)), "larger than 100,000 bytes; check the URL"),
    "gzip damaged": (
        unpackable,
        "damaged gzip data: Error -3 while decompressing data: incorrect header check;"
        " check the server and proxy",
    ),
    "content type": (
        page("{}", "image/png"),
        f"expected a content type such as {JSON} or text/html, got 'image/png';"
        " check the URL of the index",
    ),
    "JSON": (
        page("{}", JSON),
        "not a project page: meta: missing; check the URL of the index",
    ),
}


@pytest.mark.parametrize("fault", STAYING)
def test_page_fault_is_reported(faulty: Faulty, fault: str) -> None:
    """A fault that stays is an error with the URL; no index answers as if it had no project."""
    faulty.behaviors[FOO], problem = STAYING[fault]
    with pytest.raises(UpstreamError) as caught:
        names(of(faulty), limits=IMPATIENT)
    assert str(caught.value) == f"{faulty.url}{FOO}: {problem}"


@pytest.mark.parametrize("number", [404, 410])
def test_missing_project_is_none(faulty: Faulty, number: int) -> None:
    """An index without the project answers None."""
    faulty.behaviors[FOO] = status(number)
    assert names(of(faulty)) is None


@pytest.mark.parametrize("name", ["../foo", "", "foo/bar", "foo\n", "-", "\u0430bc"])
def test_client_rejects_names_of_no_project(faulty: Faulty, name: str) -> None:
    """A name that is none is an error before any request."""
    with pytest.raises(UpstreamError, match="not the name of a project; correct it"):
        asked(of(faulty), lambda client: client.project(name))
    assert faulty.requests == []


def test_redirect_changes_base(faulty: Faulty) -> None:
    """Links are relative to the page that a redirect leads to."""
    faulty.behaviors |= {
        FOO: status(301, Location="/other/foo/"),
        "/other/foo/": page('<a href="foo-1.0.tar.gz">'),
    }
    project = asked(of(faulty), lambda client: client.project("foo"))
    assert project
    assert project.files[0].url == f"{faulty.url}/other/foo/foo-1.0.tar.gz"


def test_project_is_asked_once(faulty: Faulty) -> None:
    """Several tasks that ask for a project cause one request."""
    faulty.behaviors[FOO] = GOOD

    async def all_spellings(client: Client) -> int:
        spellings = ("foo", "Foo", "FOO")
        projects = await asyncio.gather(*(client.project(name) for name in spellings))
        return len({id(project) for project in projects})

    assert asked(of(faulty), all_spellings) == 1
    assert faulty.paths() == [FOO]


def test_threads_share_client(faulty: Faulty) -> None:
    """A thread asks the client by run_coroutine_threadsafe."""
    faulty.behaviors[FOO] = GOOD

    async def question(client: Client) -> bool:
        loop = asyncio.get_running_loop()

        def resolve() -> bool:
            future = asyncio.run_coroutine_threadsafe(client.project("foo"), loop)
            return future.result() is not None

        return await asyncio.to_thread(resolve)

    assert asked(of(faulty), question)


# (whether merged, pages of both indexes, files)
ANSWERS: list[tuple[bool, Behavior, Behavior, list[str] | None]] = [
    (False, links("foo-1.0.tar.gz"), links("foo-2.0.tar.gz"), ["foo-1.0.tar.gz"]),
    (False, status(404), links("foo-2.0.tar.gz"), ["foo-2.0.tar.gz"]),
    (False, links(), links("foo-2.0.tar.gz"), []),
    (True, links("foo-1.0.tar.gz"), links("foo-2.0.tar.gz"), ["foo-1.0.tar.gz", "foo-2.0.tar.gz"]),
    (True, status(404), links("foo-2.0.tar.gz"), ["foo-2.0.tar.gz"]),
    (True, status(404), status(404), None),
]


@pytest.mark.parametrize(("is_merged", "one", "two", "expected"), ANSWERS)
def test_indexes_answer_in_order_or_together(
    faulty: Faulty, is_merged: bool, one: Behavior, two: Behavior, expected: list[str] | None
) -> None:
    """The first index that has a project answers alone, or all together if they are merged."""
    with serving() as other:
        faulty.behaviors[FOO], other.behaviors[FOO] = one, two
        assert names(of(faulty, other, is_merged=is_merged)) == expected


def test_index_that_fails_is_not_skipped(faulty: Faulty) -> None:
    """An index that cannot answer is an error: the next one may have another project."""
    with serving() as other:
        faulty.behaviors[FOO], other.behaviors[FOO] = status(503), GOOD
        with pytest.raises(UpstreamError, match="the server answered 503; retry later"):
            names(of(faulty, other))


# --- find-links and local indexes ----------------------------------------------------------------


def test_find_links_add_files(faulty: Faulty, tmp_path: Path) -> None:
    """Directories, pages and single files of find-links add the files of a project."""
    make_wheel(tmp_path, "foo", "3.0")
    make_wheel(tmp_path, "bar", "3.0")
    local = tmp_path / "links.html"
    local.write_text('<a href="https://files.example/foo-4.0.zip">')
    faulty.behaviors |= {FOO: GOOD, "/links/": links("foo-2.0.tar.gz", "bar-1.0.tar.gz", "x")}
    find_links = (
        f"{faulty.url}/links/",
        tmp_path.as_uri(),
        local.as_uri(),
        "https://files.example/foo-5.0.tar.gz",
    )
    assert names(Upstreams((f"{faulty.url}/simple/",), find_links=find_links)) == [
        "foo-1.0.tar.gz",
        "foo-2.0.tar.gz",
        "foo-3.0-py2.py3-none-any.whl",
        "foo-4.0.zip",
        "foo-5.0.tar.gz",
    ]


def test_missing_find_links_are_reported(faulty: Faulty, tmp_path: Path) -> None:
    """Find-links that do not exist are an error."""
    for url, problem in [
        ((tmp_path / "none").as_uri(), "No such file or directory; correct find-links"),
        (f"{faulty.url}/none/", "the server answered 404; correct find-links"),
    ]:
        with pytest.raises(UpstreamError) as caught:
            names(Upstreams(find_links=(url,)))
        assert str(caught.value) == f"{url}: {problem}"


def test_local_index_is_read(tmp_path: Path) -> None:
    """An index in a directory of HTML pages is read as pip does."""
    project = tmp_path / "simple" / "foo"
    project.mkdir(parents=True)
    path = make_wheel(tmp_path, "foo", "1.0")
    (project / "index.html").write_text(f'<a href="../../{path.name}">')
    upstreams = Upstreams((f"{(tmp_path / 'simple').as_uri()}/",))
    assert names(upstreams) == [path.name]
    assert asked(upstreams, lambda client: client.project("bar")) is None
    found = metadata(RemoteFile(path.name, path.as_uri()))
    assert found
    assert b"Name: foo" in found


# --- an index that we serve ----------------------------------------------------------------------


@pytest.mark.integration
def test_served_index_is_read_as_by_pypi_simple(tmp_path: Path) -> None:
    """From a real index the client reads what pypi-simple reads, from HTML and JSON."""
    packages = tmp_path / "packages"
    packages.mkdir()
    make_wheel(packages, "foo", "1.0")
    make_sdist(packages, "foo", "1.1")
    (tmp_path / "server").mkdir()
    with embedded(packages, tmp_path / "server") as server:
        server.command("yank", "foo==1.1", "--reason", "bad & old")
        upstreams = Upstreams((f"{server.url}/simple/",))
        project = asked(upstreams, lambda client: client.project("foo"), tmp_path / "cache")
        with pypi_simple.PyPISimple(f"{server.url}/simple/") as theirs:
            expected = theirs.get_project_page("foo")
            assert project
            for file, other in zip(project.files, expected.packages, strict=True):
                assert (file.filename, file.url) == (other.filename, other.url)
                assert (file.hashes, file.size) == (other.digests, other.size)
                assert (file.yanked is not None) == other.is_yanked
                assert file.has_metadata == bool(other.has_metadata)
                if other.has_metadata:
                    assert metadata(file) == theirs.get_package_metadata_bytes(other)
    stored = json.loads(next((tmp_path / "cache/pages").iterdir()).read_bytes().split(b"\n")[1])
    assert stored[0] == f"{server.url}/simple/foo/"
