"""Pages and files as the application sends them."""

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
    """An index of one wheel with a signature, and a client of it."""

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
    """For tests that only read."""
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
def test_a_page_is_a_file_as_published(
    site: Site, project: str, headers: dict[str, str], file: str, content_type: str
) -> None:
    """Each form has its own file, length and ETag; HEAD answers the same without a body."""
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


def test_a_large_page_is_whole(tmp_path: Path) -> None:
    """A page too large to be read at once is sent as it is."""
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
def test_a_query_may_name_the_form(client: TestClient, query: str, content_type: str) -> None:
    """``+`` may stand for itself; what is not known is passed over."""
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
def test_who_has_it_is_told_so(client: TestClient, url: str, header: str, status: int) -> None:
    """If-None-Match is compared weakly, as a list; a 304 has the validators and no body."""
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
def test_files_have_dates_and_pages_have_none(client: TestClient, date: str, status: int) -> None:
    """If-Modified-Since is for files: the time of a page is its serial."""
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
def test_urls_have_one_spelling(client: TestClient, path: str, query: str, location: str) -> None:
    """GET and HEAD move to the normalised name with a slash; Host has no part in where."""
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
def test_what_is_not_there_is_not_given(
    client: TestClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """A line of text says what is wrong; 405 has Allow, and no POST is ever redirected."""
    answer = client.simulate_request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert method == "HEAD" or answer.text.startswith(answer.status)
    if status == 405:
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_406_says_what_is_offered(client: TestClient) -> None:
    """The text names the three forms, and caches learn that Accept decides."""
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
def test_a_file_is_sent_as_it_is(site: Site, suffix: str, content_type: str) -> None:
    """Whatever the client could decompress, and cacheable for ever."""
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
    for place in (url, f"/main{url}", url.replace("%2B", "+")):
        got = site.client.simulate_get(place, headers=headers)
        assert got.content == content
        for answer in (got, head(site.client, place, headers)):
            assert (answer.status_code, answer.headers) == (200, expected)


def test_metadata_is_that_of_the_wheel(client: TestClient) -> None:
    """Byte for byte what pip would find in the file (PEP 658)."""
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


@pytest.mark.parametrize(("header", "wanted"), RANGES)
def test_one_range_is_sent(site: Site, header: str, wanted: slice | int | None) -> None:
    """Several get the whole file; none of it or nonsense 416 with the size, as from nginx."""
    content = site.wheel.read_bytes()
    answer = site.client.simulate_get(WHEEL, headers={"Range": header})
    if isinstance(wanted, int):
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{len(content)}"
        return
    part = content[wanted or slice(None)]
    assert answer.content == part
    assert answer.headers["content-length"] == str(len(part))
    assert answer.headers["etag"] == f'"5e379bf2-{len(content):x}"'
    if wanted is WHOLE:
        assert answer.status_code == 200
        assert "content-range" not in answer.headers
    else:
        start = range(len(content))[wanted].start
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
def test_a_range_of_another_file_is_the_whole_of_this(
    client: TestClient, validator: str, status: int
) -> None:
    """If-Range is compared strongly, and its date exactly."""
    etag = client.simulate_get(WHEEL).headers["etag"]
    headers = {"Range": "bytes=1-2", "If-Range": validator.format(etag=etag)}
    assert client.simulate_get(WHEEL, headers=headers).status_code == status


def test_pages_and_head_have_no_ranges(client: TestClient) -> None:
    """Range is only for GET, and a page is small and may change between two requests."""
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
def test_the_door_leads_to_files_only(tmp_path: Path, path: str) -> None:
    """No path leads out of the tree, to a directory, a pipe, a hidden file, or into an error."""
    www = tmp_path / "www"
    (www / "packages" / "sub").mkdir(parents=True)
    for place in (tmp_path, www / "packages"):
        (place / ".secret").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    (www / "secret").write_bytes(b"open")
    (www / "loop").symlink_to("loop")
    os.mkfifo(www / "pipe")
    with pytest.raises(falcon.HTTPNotFound):
        OpenFile(str(www), path)
    with OpenFile(str(www), "secret") as file:
        assert file.read() == b"open"


def test_nothing_stays_open(client: TestClient) -> None:
    """Whatever is asked, no descriptor is left when it is answered."""

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


def test_what_is_taken_away_is_gone_at_once(tmp_path: Path) -> None:
    """Nothing that was sent once is kept."""
    site = Site(tmp_path)
    ask = site.client.simulate_get
    assert [ask(url).status_code for url in (WHEEL, f"{WHEEL}.metadata", PAGE)] == [200, 200, 200]
    site.wheel.unlink()
    assert ask(WHEEL).status_code == 404
    site.once()
    assert ask(f"{WHEEL}.metadata").status_code == 404
    assert "Foo_Bar" not in ask(PAGE).text


def test_each_index_has_its_own_place_below_the_prefix(tmp_path: Path) -> None:
    """The url's path stands in redirects only: a proxy has stripped it from what is asked."""
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
    places = [
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
    assert [(path, client.simulate_get(path).status_code) for path, _ in places] == places
    for at in ("", "/main", "/staging"):
        moved = client.simulate_get(f"{at}/simple/Only_Main")
        assert moved.headers["location"] == f"/team/python{at}/simple/only-main/"
