"""Pages and package files as the application sends them, without nginx."""

import gzip
import os
from email.utils import formatdate
from pathlib import Path

import falcon
import pytest
from falcon.testing import Result, TestClient

from appliance import spec
from appliance.atomic import Batch
from appliance.operations.update import update
from appliance.site.tree import page_time
from appliance.web.app import create_app
from appliance.web.negotiate import HTML, JSON, OLD_HTML
from appliance.web.static import OpenFile
from tests.conftest import Lab
from tests.dist import make_wheel, uploaded

MADE = "2020-02-03T04:05:06+00:00"
WHEEL = "/packages/Foo_Bar-1.0%2Blocal-py2.py3-none-any.whl"
PAGE = "/simple/foo-bar/"
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
PAGE_HEADERS = SECURITY | {
    "cache-control": "no-cache",
    "vary": "Accept, Accept-Encoding",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "X-PyPI-Last-Serial",
}
FILE_HEADERS = SECURITY | {
    "cache-control": "max-age=365000000, immutable, public",
    "accept-ranges": "bytes",
}


class Site(Lab):
    """Index of one wheel with a signature, and a client."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.wheel = uploaded(make_wheel(self.packages, "Foo_Bar", "1.0+local"), MADE)
        signature = self.wheel.with_name(f"{self.wheel.name}.asc")
        signature.write_bytes(b"-----BEGIN PGP SIGNATURE-----")
        uploaded(signature, MADE)
        self.once()
        self.client = TestClient(create_app(self.spec))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Site for tests that only read."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def client(site: Site) -> TestClient:
    return site.client


FORMS = [
    ({}, "index.html", "text/html; charset=utf-8"),
    ({"Accept": OLD_HTML}, "index.html", "text/html; charset=utf-8"),
    ({"Accept": HTML}, "index.html", HTML),
    ({"Accept": JSON}, "index.json", JSON),
    ({"Accept-Encoding": "gzip"}, "index.html.gz", "text/html; charset=utf-8"),
    ({"Accept": HTML, "Accept-Encoding": "gzip"}, "index.html.gz", HTML),
    ({"Accept": JSON, "Accept-Encoding": "br, gzip"}, "index.json.gz", JSON),
    ({"Accept": JSON, "Accept-Encoding": "gzip;q=0"}, "index.json", JSON),
]


@pytest.mark.parametrize(("headers", "file", "content_type"), FORMS)
@pytest.mark.parametrize("project", ["", "foo-bar"])
def test_page_is_published_file(
    site: Site, project: str, headers: dict[str, str], file: str, content_type: str
) -> None:
    """The server sends each form of a page as published, and HEAD has the same headers."""
    path, serial = site.page_path(project, file), site.journal()[-1].serial
    expected = PAGE_HEADERS | {
        "content-type": content_type,
        "content-length": str(path.stat().st_size),
        "etag": f'"{serial}-{path.stat().st_size:x}"',
        "x-pypi-last-serial": str(serial),
    }
    if file.endswith(".gz"):
        expected["content-encoding"] = "gzip"
    url = f"/simple/{project}/" if project else "/simple/"
    got = site.client.simulate_get(url, headers=headers)
    for answer in (got, head(site.client, url, headers)):
        assert (answer.status_code, answer.headers) == (200, expected)
    assert got.content == path.read_bytes()
    plain = site.page_path(project, file.removesuffix(".gz")).read_bytes()
    assert not file.endswith(".gz") or gzip.decompress(path.read_bytes()) == plain


def head(client: TestClient, url: str, headers: dict[str, str] | None = None) -> Result:
    answer = client.simulate_head(url, headers=headers)
    assert answer.content == b""
    return answer


def test_large_page_is_sent_completely(tmp_path: Path) -> None:
    """The server sends a page completely that is too large for one read."""
    site, content = Site(tmp_path), os.urandom(300_000)
    with Batch() as batch:
        batch.write(site.page_path("foo-bar"), content, page_time(99))
    answer = site.client.simulate_get(PAGE, headers={"Accept": JSON})
    assert answer.content == content
    assert answer.headers["content-length"] == "300000"
    assert answer.headers["x-pypi-last-serial"] == "99"


@pytest.mark.parametrize(
    ("query", "content_type"),
    [
        (f"format={JSON}", JSON),
        (f"format={JSON.replace('+', '%2B').replace('/', '%2F')}", JSON),
        (f"x=1&format={HTML}", HTML),
        ("format=pdf", "text/html; charset=utf-8"),
        ("x", "text/html; charset=utf-8"),
    ],
)
def test_query_names_form(client: TestClient, query: str, content_type: str) -> None:
    """The parameter ``format`` names the form, quoted or not; an unknown form is ignored."""
    assert client.simulate_get(PAGE, query_string=query).headers["content-type"] == content_type


MATCHES = [
    ("{}", 304),
    ("W/{}", 304),
    ('"1-2", W/"x",{} , "y"', 304),
    ("*", 304),
    ('"1-2"', 200),
    ('"1-2", W/"3,4"', 200),
    ("", 200),
    ("nonsense", 200),
]


@pytest.mark.parametrize("url", [PAGE, WHEEL])
@pytest.mark.parametrize(("header", "status"), MATCHES)
def test_known_etag_gets_not_modified(
    client: TestClient, url: str, header: str, status: int
) -> None:
    """A matching If-None-Match gets 304 with validators and without a body; comparison is weak."""
    whole = client.simulate_get(url)
    headers = {
        "If-None-Match": header.format(whole.headers["etag"]),
        "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
    }
    for answer in (client.simulate_get(url, headers=headers), head(client, url, headers)):
        assert answer.status_code == status
        assert answer.headers["etag"] == whole.headers["etag"]
        assert answer.headers["cache-control"] == whole.headers["cache-control"]
    if status == 304:
        assert answer.content == b""
        assert not {"content-type", "content-length", "content-encoding"} & set(answer.headers)


DATES = [
    ("Mon, 03 Feb 2020 04:05:06 GMT", 304),
    ("Mon, 03 Feb 2020 04:05:07 GMT", 304),
    ("Monday, 03-Feb-20 04:05:06 GMT", 304),
    ("Mon, 03 Feb 2020 04:05:05 GMT", 200),
    ("", 200),
    ("yesterday", 200),
    ("Mon, 99 Feb 99999 04:05:05 GMT", 200),
]


@pytest.mark.parametrize(("date", "status"), DATES)
def test_if_modified_since_applies_to_files(client: TestClient, date: str, status: int) -> None:
    """If-Modified-Since applies to files and not to pages, whose mtime is a serial."""
    headers = {"If-Modified-Since": date}
    assert client.simulate_get(WHEEL, headers=headers).status_code == status
    assert client.simulate_get(PAGE, headers=headers).status_code == 200


MOVED = [
    ("/simple", "", "/simple/"),
    ("/main/simple", "", "/main/simple/"),
    ("/simple/foo-bar", "", "/simple/foo-bar/"),
    ("/simple/Foo_Bar/", "", "/simple/foo-bar/"),
    ("/simple/foo.-_BAR", "", "/simple/foo-bar/"),
    ("/simple/No_Such/", "", "/simple/no-such/"),
    ("/main/simple/Foo_Bar/", "", "/main/simple/foo-bar/"),
    ("/simple/Foo_Bar/", f"format={JSON}&x=%0d%0a", f"/simple/foo-bar/?format={JSON}&x=%0d%0a"),
    ("/simple", "format=x", "/simple/?format=x"),
    ("//simple/Foo", "", "/simple/foo/"),
]


@pytest.mark.parametrize(("path", "query", "location"), MOVED)
def test_url_redirects_to_normalized_name(
    client: TestClient, path: str, query: str, location: str
) -> None:
    """GET and HEAD redirect to the normalized name with a slash, without the Host header."""
    headers = {"Host": "evil.example"}
    answer = client.simulate_get(path, query_string=query, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (301, location)
    answer = client.simulate_head(path, query_string=query, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (301, location)


REFUSED = [
    ("GET", "/simple/nothing/", {}, 404),
    ("GET", "/packages/nothing-1.0.tar.gz", {}, 404),
    ("GET", f"{WHEEL}.sig", {}, 404),
    ("GET", f"{WHEEL}/", {}, 404),
    ("GET", "/simple/foo-bar/index.html", {}, 404),
    ("GET", "/simple/foo-bar/index.json.gz", {}, 404),
    ("GET", "/simple/foo bar/", {}, 400),
    ("GET", "/simple/-foo/", {}, 400),
    ("GET", "/simple/foo\n/", {}, 400),
    ("GET", "/simple/föö/", {}, 400),
    ("GET", "/simple//", {}, 400),
    ("GET", "/simple/../", {}, 400),
    ("GET", PAGE, {"Accept": "application/json"}, 406),
    ("HEAD", PAGE, {"Accept": "image/png"}, 406),
    *(
        (method, path, {}, 405)
        for method in ("POST", "PUT", "DELETE", "PATCH")
        for path in ("/simple/", PAGE, "/simple/Foo", "/simple", WHEEL, f"{WHEEL}.metadata")
    ),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), REFUSED)
def test_error_is_one_line_of_text(
    client: TestClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """An error is plain text with its status; 405 has Allow, and no POST is redirected."""
    answer = client.simulate_request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert method == "HEAD" or answer.text.startswith(answer.status)
    if status == 405:
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_406_names_offered_forms(client: TestClient) -> None:
    """The text of a 406 names the three forms, and Vary names Accept."""
    answer = client.simulate_get("/simple/", headers={"Accept": "application/json"})
    assert f"a page is offered as {JSON}, {HTML}, {OLD_HTML}" in answer.text
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("suffix", "content_type"),
    [
        ("", "application/octet-stream"),
        (".metadata", "application/octet-stream"),
        (".asc", "text/plain; charset=utf-8"),
    ],
)
def test_file_is_sent_unchanged(site: Site, suffix: str, content_type: str) -> None:
    """A file is sent without compression and with headers for permanent caching."""
    name = f"{site.wheel.name}{suffix}"
    path = (site.spec.www / "packages" if suffix == ".metadata" else site.packages) / name
    content, modified = path.read_bytes(), path.stat().st_mtime
    headers = {"Accept-Encoding": "gzip", "Accept": "image/png"}
    expected = FILE_HEADERS | {
        "content-type": content_type,
        "content-length": str(len(content)),
        "etag": f'"{int(modified):x}-{len(content):x}"',
        "last-modified": formatdate(modified, usegmt=True),
    }
    url = f"{WHEEL}{suffix}"
    for target in (url, f"/main{url}", url.replace("%2B", "+")):
        got = site.client.simulate_get(target, headers=headers)
        assert got.content == content
        for answer in (got, head(site.client, target, headers)):
            assert (answer.status_code, answer.headers) == (200, expected)


def test_metadata_is_sent_from_wheel(client: TestClient) -> None:
    """The metadata file is that of the wheel (PEP 658)."""
    assert client.simulate_get(f"{WHEEL}.metadata").text.startswith(
        "Metadata-Version: 2.1\nName: F"
    )


WHOLE = None
RANGES: list[tuple[str, slice | int | None]] = [
    ("bytes=0-0", slice(0, 1)),
    ("bytes=5-9", slice(5, 10)),
    ("BYTES=5-9", slice(5, 10)),
    ("bytes= 5 - 9 ", slice(5, 10)),
    ("bytes=0-", slice(0, None)),
    ("bytes=7-", slice(7, None)),
    ("bytes=-5", slice(-5, None)),
    ("bytes=-99999999", slice(0, None)),
    ("bytes=5-99999999", slice(5, None)),
    ("bytes=5-9,99999999-", slice(5, 10)),
    ("bytes=0-1,3-4", WHOLE),
    ("bytes=0-1,-1", WHOLE),
    ("lines=0-1", WHOLE),
    ("bytes", WHOLE),
    ("bytes=", WHOLE),
    ("bytes=99999999-", 416),
    ("bytes=-0", 416),
    ("bytes=9-5", 416),
    ("bytes=-", 416),
    ("bytes=a-b", 416),
    ("bytes=1-2-3", 416),
    ("bytes=1-2,", 416),
    ("bytes=0x1-0x2", 416),
    ("bytes=0-99999999999999999999", 416),
    ("bytes=\u0661-".encode().decode("latin-1"), 416),
]


@pytest.mark.parametrize(("header", "expected_part"), RANGES)
def test_single_range_is_sent(site: Site, header: str, expected_part: slice | int | None) -> None:
    """One range gets 206, several get the whole file, and an invalid one gets 416 as from nginx."""
    content = site.wheel.read_bytes()
    answer = site.client.simulate_get(WHEEL, headers={"Range": header})
    if isinstance(expected_part, int):
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{len(content)}"
        return
    part = content[expected_part or slice(None)]
    assert answer.content == part
    assert answer.headers["content-length"] == str(len(part))
    assert answer.headers["etag"] == f'"5e379bf2-{len(content):x}"'
    if expected_part is WHOLE:
        assert answer.status_code == 200
        assert "content-range" not in answer.headers
    else:
        start = range(len(content))[expected_part].start
        expected = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        assert (answer.status_code, answer.headers["content-range"]) == (206, expected)


@pytest.mark.parametrize(
    ("validator", "status"),
    [
        ("{etag}", 206),
        ("Mon, 03 Feb 2020 04:05:06 GMT", 206),
        ("W/{etag}", 200),
        ('"1-2"', 200),
        ("Mon, 03 Feb 2020 04:05:07 GMT", 200),
        ("nonsense", 200),
    ],
)
def test_if_range_compares_strongly(client: TestClient, validator: str, status: int) -> None:
    """A range is sent only if If-Range is the strong ETag or the exact date."""
    etag = client.simulate_get(WHEEL).headers["etag"]
    headers = {"Range": "bytes=1-2", "If-Range": validator.format(etag=etag)}
    assert client.simulate_get(WHEEL, headers=headers).status_code == status


def test_range_is_ignored_for_pages_and_head(client: TestClient) -> None:
    """The server ignores Range for pages and for HEAD."""
    headers = {"Range": "bytes=0-1"}
    assert client.simulate_get(PAGE, headers=headers).status_code == 200
    assert head(client, WHEEL, headers).status_code == 200


HOSTILE = [
    *("", ".", "..", "/", "//", "a//b", "/etc/passwd", "a/", "./secret", "a/./b"),
    *("../secret", "packages/../../secret", "packages/../secret", "packages/.."),
    *("packages", "packages/sub", "pipe", "loop", ".secret", "packages/.secret", "secret/x"),
    *("..\\secret", "a\\b", "a\0b", "secret\0", "a\nb", "\x7f", "a\x1f"),
    *(
        "\ufffd",
        b"\xc0\xae\xc0\xae/secret".decode("utf-8", "replace"),
        "x" * 300,
        "x/" * 3000 + "x",
    ),
]


@pytest.mark.parametrize("path", HOSTILE)
def test_open_file_rejects_hostile_paths(tmp_path: Path, path: str) -> None:
    """OpenFile finds no path outside the tree, no directory, no pipe and no hidden file."""
    www = tmp_path / "www"
    (www / "packages" / "sub").mkdir(parents=True)
    for directory in (tmp_path, www / "packages"):
        (directory / ".secret").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    (www / "secret").write_bytes(b"open")
    (www / "loop").symlink_to("loop")
    os.mkfifo(www / "pipe")
    with pytest.raises(falcon.HTTPNotFound):
        OpenFile(str(www), path)
    with OpenFile(str(www), "secret") as file:
        assert file.read() == b"open"


def test_requests_leave_no_open_descriptors(client: TestClient) -> None:
    """No request leaves a file descriptor open."""

    def ask() -> None:
        for headers in ({}, {"Range": "bytes=1-2"}, {"Range": "x"}, {"If-None-Match": "*"}):
            for path in (PAGE, WHEEL, "/packages/", "/packages/sub", "/packages/nothing"):
                client.simulate_get(path, headers=headers)
                client.simulate_head(path, headers=headers)
        client.simulate_get(WHEEL, headers={"Range": "bytes=9-5"})

    ask()
    before = set(Path("/proc/self/fd").iterdir())
    ask()
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_deleted_file_is_not_served(tmp_path: Path) -> None:
    """The server stops serving a deleted file, and its metadata after the next scan."""
    site = Site(tmp_path)
    ask = site.client.simulate_get
    assert [ask(url).status_code for url in (WHEEL, f"{WHEEL}.metadata", PAGE)] == [200, 200, 200]
    site.wheel.unlink()
    assert ask(WHEEL).status_code == 404
    site.once()
    assert ask(f"{WHEEL}.metadata").status_code == 404
    assert "Foo_Bar" not in ask(PAGE).text


def test_each_index_has_its_url_prefix(tmp_path: Path) -> None:
    """Each index has its URL prefix; redirects also have the path of the spec's ``url``."""
    for name in ("main", "staging"):
        (tmp_path / name).mkdir()
        make_wheel(tmp_path / name, f"only-{name}", "1.0")
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "url: https://pypi.lab.example/team/python\nstate: state\n"
        "indexes: {main: {packages: main}, staging: {packages: staging, bases: [main]}}\n"
    )
    given = spec.load(path)
    update(given)
    client = TestClient(create_app(given))
    statuses = [
        ("/simple/only-main/", 200),
        ("/main/simple/only-main/", 200),
        ("/staging/simple/only-main/", 200),
        ("/staging/simple/only-staging/", 200),
        ("/simple/only-staging/", 404),
        ("/packages/only_main-1.0-py2.py3-none-any.whl", 200),
        ("/main/packages/only_main-1.0-py2.py3-none-any.whl.metadata", 200),
        ("/staging/packages/only_staging-1.0-py2.py3-none-any.whl", 200),
        ("/staging/packages/only_main-1.0-py2.py3-none-any.whl", 404),
        ("/other/simple/only-main/", 404),
    ]
    assert [(path, client.simulate_get(path).status_code) for path, _ in statuses] == statuses
    for prefix in ("", "/main", "/staging"):
        moved = client.simulate_get(f"{prefix}/simple/Only_Main")
        assert moved.headers["location"] == f"/team/python{prefix}/simple/only-main/"
