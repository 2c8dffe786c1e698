"""The client: project pages and core metadata over HTTP, within limits."""

import asyncio
import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pypi_simple
import pytest

from appliance.upstream import Client, Limits, RemoteFile, UpstreamError, Upstreams
from tests.attacks.files import zip_with
from tests.dist import make_sdist, make_wheel
from tests.integration.servers import embedded
from tests.upstream.conftest import IMPATIENT, LIMITS
from tests.upstream.faulty import Behavior, Exchange, Faulty, in_turn, page, serving, status, whole

T = TypeVar("T")
JSON = "application/vnd.pypi.simple.v1+json"
FOO = "/simple/foo/"


def asked(
    upstreams: Upstreams,
    question: Callable[[Client], Awaitable[T]],
    cache: Path | None = None,
    limits: Limits = LIMITS,
) -> T:
    """The answer of a new client."""

    async def main() -> T:
        async with Client(upstreams, cache, limits) as client:
            return await question(client)

    return asyncio.run(main())


def of(*servers: Faulty, is_merged: bool = False) -> Upstreams:
    return Upstreams(tuple(f"{server.url}/simple/" for server in servers), is_merged)


def names(
    upstreams: Upstreams, cache: Path | None = None, limits: Limits = LIMITS
) -> list[str] | None:
    """The names of the files of foo; ``None`` if there is no such project."""
    project = asked(upstreams, lambda client: client.project("Foo"), cache, limits)
    return None if project is None else [file.filename for file in project.files]


def links(*filenames: str) -> Behavior:
    return page("".join(f'<a href="/f/{name}">{name}</a>' for name in filenames), ETag='"1"')


GOOD = links("foo-1.0.tar.gz")


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


# --- core metadata -------------------------------------------------------------------------------

METADATA = b"Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"
DIGESTS = {"sha256": hashlib.sha256(METADATA).hexdigest()}
WHEEL = "foo-1.0-py3-none-any.whl"
MEMBER = "foo-1.0.dist-info/METADATA"


def wheel(faulty: Faulty, **fields: object) -> RemoteFile:
    return RemoteFile(WHEEL, f"{faulty.url}/f.whl", **fields)  # type: ignore[arg-type]


def metadata(file: RemoteFile, cache: Path | None = None) -> bytes | None:
    return asked(Upstreams(), lambda client: client.metadata(file), cache)


def large_wheel(count: int = 3000) -> bytes:
    """A wheel whose directory does not fit into the first request."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, METADATA * 2000)
        for number in range(count):
            archive.writestr(f"foo/{number:030}.py", b"")
    return content.getvalue()


def test_metadata_is_fetched_and_verified(faulty: Faulty, tmp_path: Path) -> None:
    """Metadata beside the file is verified, and never fetched again."""
    faulty.behaviors["/f.whl.metadata"] = whole(METADATA)
    file = wheel(faulty, has_metadata=True, metadata_hashes=DIGESTS)
    for _ in range(2):
        assert metadata(file, tmp_path) == METADATA
    assert faulty.paths() == ["/f.whl.metadata"]


def test_wrong_metadata_is_reported(faulty: Faulty) -> None:
    """Metadata with another digest is an error."""
    faulty.behaviors["/f.whl.metadata"] = whole(b"other")
    with pytest.raises(UpstreamError) as caught:
        metadata(wheel(faulty, has_metadata=True, metadata_hashes=DIGESTS))
    digest = hashlib.sha256(b"other").hexdigest()
    problem = f"sha256 is {digest}, expected {DIGESTS['sha256']}"
    assert str(caught.value) == (
        f"{faulty.url}/f.whl.metadata: {problem}; report it to the operator of the index"
    )


@pytest.mark.parametrize("count", [0, 10, 3000])
def test_metadata_is_read_by_ranges(faulty: Faulty, count: int) -> None:
    """Without metadata beside it, that of a wheel is read by few range requests."""
    content = large_wheel(count)
    faulty.behaviors["/f.whl"] = whole(content)
    assert metadata(wheel(faulty, has_metadata=True)) == METADATA * 2000
    assert faulty.counts()["/f.whl"] <= 3


def test_sdist_has_no_metadata_by_ranges(faulty: Faulty) -> None:
    """An sdist causes no request."""
    assert metadata(RemoteFile("foo-1.0.tar.gz", f"{faulty.url}/f")) is None
    assert faulty.requests == []


def bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, bytes(200_000))
    return content.getvalue()


def lying(content: bytes) -> bytes:
    """The directory states a small size of the member."""
    at = content.rindex(b"PK\1\2") + 24
    return content[:at] + (100).to_bytes(4, "little") + content[at + 4 :]


GOOD_WHEEL = zip_with((MEMBER, METADATA))
USELESS: dict[str, Behavior] = {
    "no ranges": lambda exchange: exchange.answer(GOOD_WHEEL),
    "404": status(404),
    "405": status(405),
    "416": status(416),
    "no zip": whole(b"x" * 1000),
    "empty": whole(b""),
    "truncated": whole(GOOD_WHEEL[:-30]),
    "two METADATA": whole(zip_with((MEMBER, METADATA), ("foo-2.dist-info/METADATA", METADATA))),
    "other project": whole(zip_with(("bar-1.0.dist-info/METADATA", METADATA))),
    "bomb": whole(bomb()),
    "lying bomb": whole(lying(bomb())),
    "bzip2": whole(zip_with((MEMBER, METADATA), method=zipfile.ZIP_BZIP2)),
    "other size": lambda exchange: exchange.answer(b"x", 206, Content_Range="bytes 0-9/10"),
    "huge directory": lambda exchange: exchange.answer(
        b"PK\5\6" + bytes(8) + b"\xff\xff\xff\x7f" + bytes(4) + bytes(2),
        206,
        Content_Range="bytes 4294967274-4294967295/4294967296",
    ),
}


@pytest.mark.parametrize("fault", USELESS)
def test_useless_wheel_has_no_metadata_by_ranges(faulty: Faulty, fault: str) -> None:
    """A server without ranges or a hostile archive gives None after few small requests."""
    faulty.behaviors["/f.whl"] = USELESS[fault]
    assert metadata(wheel(faulty)) is None
    assert len(faulty.requests) <= 6


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
