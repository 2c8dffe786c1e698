"""What nginx leaves to the application, and paths that lead nowhere."""

from contextlib import closing

import pytest

from tests.nginx.servers import Server
from tests.nginx.sites import PAGE, WHEEL, Pair

ELSEWHERE = [
    ("GET", "/simple", 301),
    ("GET", "/simple/Foo_Bar/", 301),
    ("GET", "/simple/Foo_Bar", 301),
    ("HEAD", "/staging/simple/Foo.Bar/?format=x", 301),
    ("GET", "/simple/nothing/", 404),
    ("GET", "/simple/only-here/", 404),
    ("GET", "/staging/simple/only-here/", 200),
    ("GET", "/simple/-/", 400),
    ("GET", "/simple/foo-bar/index.html", 404),
    ("GET", "/simple/foo-bar/index.json.gz", 404),
    ("GET", "/packages/nothing.whl", 404),
    ("GET", "/packages/.layout", 404),
    ("GET", f"{WHEEL}/", 404),
    ("GET", "/packages/", 200),
    ("GET", "/staging/packages/", 200),
    ("GET", "/pypi/foo-bar/json", 200),
    ("GET", "/pypi/Foo_Bar/json", 301),
    ("GET", "/health", 200),
    ("GET", "/ready", 200),
    ("GET", "/metrics", 200),
    ("GET", "/", 200),
    ("GET", "/staging/", 200),
    ("POST", PAGE, 405),
    ("DELETE", "/simple/", 405),
    ("POST", "/simple/Foo", 405),
    ("PUT", WHEEL, 405),
    ("OPTIONS", PAGE, 200),
]


@pytest.mark.parametrize(("method", "path", "status"), ELSEWHERE)
def test_the_rest_is_the_application_s(pair: Pair, method: str, path: str, status: int) -> None:
    """Redirects, errors and other APIs arrive as they left, below the prefix of the url."""
    answer = pair.both(path, {"Content-Length": "0"}, method)
    assert answer.status == status
    if status == 301:
        assert answer.headers["location"].startswith(f"{pair.nginx.prefix}/")
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize("path", ["/", "/legacy/", "/main/legacy/", "/simple/", PAGE, "/pypi"])
@pytest.mark.parametrize("size", [100, 900_000])
def test_an_upload_is_told_that_there_are_none(pair: Pair, path: str, size: int) -> None:
    """In the reason phrase and in the body, since each client shows one of them."""
    for server in (pair.nginx, pair.application):
        with closing(server.connect()) as connection:
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            connection.request("POST", f"{server.prefix}{path}", b"x" * size, headers)
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
            assert answer.reason.startswith("This version accepts no uploads; ")
            assert answer.read().decode() == f"405 {answer.reason}\n"


REDIRECTED = [
    ("/packages", "/packages/"),
    ("/packages?x=y", "/packages/?x=y"),
    ("/staging/packages", "/staging/packages/"),
    ("/staging", "/staging/"),
    ("/staging?x=y", "/staging/?x=y"),
    ("/main", "/main/"),
    ("/simple", "/simple/"),
    ("/staging/simple", "/staging/simple/"),
    ("/simple/Foo_Bar", "/simple/foo-bar/"),
    ("/staging/Foo_Bar", "/staging/simple/foo-bar/"),
    ("/Foo_Bar/", "/simple/foo-bar/"),
    ("/Foo_Bar/json", "/pypi/foo-bar/json"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "location"), REDIRECTED)
def test_a_redirect_leads_to_the_same_place(
    pair: Pair, method: str, path: str, location: str
) -> None:
    """Whichever of the two says so, and what it says besides is text."""
    for server in (pair.nginx, pair.application):
        answer = server.ask(path, method=method)
        assert (answer.status, answer.headers["location"]) == (301, pair.nginx.prefix + location)
        assert answer.headers["content-type"].startswith("text/")


def test_settings_of_one_index_come_from_the_application(pair: Pair) -> None:
    """nginx has files for all indexes together only."""
    answer = pair.both("/staging/-/pip.conf")
    assert answer.status == 200
    assert f"index-url = {pair.spec.url}/staging/simple/\n".encode() in answer.body


def test_what_is_normal_is_not_logged_as_an_error(pair: Pair) -> None:
    """A page that is missing, a listing or an unnormalised name are all in a day's work."""
    log = pair.spec.state.with_name("nginx") / "errors"
    before = log.read_text().count("[error]")
    for path in ("/simple/nothing/", "/packages/nothing", "/packages/", "/simple/Foo_Bar", "/x"):
        pair.both(path, {"Accept-Encoding": "gzip"})
    assert log.read_text().count("[error]") == before


HOSTILE = [
    *("/simple/../", "/simple/%2e%2e/", "/simple/..%2f..%2fstate/", "/simple/%2e%2e%2f/"),
    *("/packages/../catalog.sqlite", "/packages/..%2fcatalog.sqlite", "/packages/%2e%2e/.layout"),
    *("/packages/..", "/packages/../..", "/packages/../../catalog.sqlite", "/../etc/passwd"),
    *("/packages/%2e%2e/%2e%2e/catalog.sqlite", "/packages/sub%20dir/../../../../etc/passwd"),
    *("/packages//etc/passwd", "/packages/%2fetc/passwd", "//etc/passwd", "/packages/sub%20dir"),
    *("/packages/sub%20dir/", "/packages/..%5c..%5ccatalog.sqlite", "/packages/..\\x"),
    *("/packages/%00", f"{WHEEL}%00", f"{WHEEL}%00.asc", f"{WHEEL}%0a", f"{WHEEL}%0d%0aX:%20y"),
    *("/packages/%c0%ae%c0%ae/catalog.sqlite", "/packages/%ff", "/packages/%e0%80%ae", "/%ff"),
    *("/simple/%00/", "/simple/foo%0abar/", "/simple/%c3%a9/", "/simple/%ff/", "/simple/a%2fb/"),
    *("/packages/%", "/packages/%zz", "/packages/%2", "/packages/%252e%252e/x", "/.layout"),
    *("/packages/" + "x" * 300, "/packages/" + "x/" * 1500, "/simple/" + "x" * 3000 + "/"),
    *("/main/../catalog.sqlite", "/nothing/simple/foo-bar/", "/catalog.sqlite", "/../state"),
    *("/simple/_ask", f"{PAGE}_ask", "/packages/.hidden", "/packages/sub%20dir/.hidden"),
    *("/simple/foo-bar/%3fformat=x", "/packages/x?../catalog.sqlite/.."),
]


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_lead_nowhere(pair: Pair, path: str) -> None:
    """A 4xx, or a redirect to a project of that name, from both; never what is not published."""
    for name in ("packages/.hidden", "packages/sub dir/.hidden", "secret"):
        (pair.spec.www / name).write_bytes(b"SQLite format 3 root:")
    for server in (pair.nginx, pair.application):
        answer = server.ask(path)
        if answer.status == 301:
            assert answer.headers["location"].startswith(f"{pair.nginx.prefix}/simple/")
        else:
            assert 400 <= answer.status < 500
        assert not any(word in answer.body for word in (b"SQLite format", b"root:"))


def test_a_redirect_stays_on_this_host(pair: Pair) -> None:
    """``//evil.example`` is a path of ours, and Host is nobody's business."""
    for path in ("//evil.example", "//evil.example/simple/Foo", "/simple//evil.example", "/simple"):
        for server in (pair.nginx, pair.application):
            location = server.ask(path).headers.get("location", f"{pair.nginx.prefix}/")
            assert location.startswith(f"{pair.nginx.prefix}/")
            assert not location.startswith("//")
    if pair.nginx.prefix:
        answer = Server(pair.nginx.port).ask(pair.nginx.prefix)
        assert (answer.status, answer.headers["location"]) == (301, f"{pair.nginx.prefix}/")


def test_nothing_of_ours_is_outside_the_prefix(pair: Pair) -> None:
    """With a prefix in the url there is nothing at the root."""
    if pair.nginx.prefix:
        for path in (PAGE, f"{PAGE}index.html", WHEEL, "/", "/health"):
            assert Server(pair.nginx.port).ask(path).status == 404
