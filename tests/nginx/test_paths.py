"""Requests that nginx passes to the application, redirects, and hostile paths."""

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
    ("GET", "/", 200),
    ("GET", "/staging/", 200),
    ("POST", PAGE, 405),
    ("DELETE", "/simple/", 405),
    ("POST", "/simple/Foo", 405),
    ("PUT", WHEEL, 405),
    ("OPTIONS", PAGE, 200),
]


@pytest.mark.parametrize(("method", "path", "status"), ELSEWHERE)
def test_nginx_passes_other_requests_unchanged(
    pair: Pair, method: str, path: str, status: int
) -> None:
    """nginx passes redirects, errors and other APIs of the application unchanged."""
    answer = pair.both(path, {"Content-Length": "0"}, method)
    assert answer.status == status
    if status == 301:
        assert answer.headers["location"].startswith(f"{pair.nginx.prefix}/")
    if status == 405:
        assert answer.headers["allow"]


REASONS = {
    401: "log in with an account or a token",
    403: "Index main accepts no uploads: ",
    404: "No index at this URL; ",
    405: "No uploads at this URL; ",
}


@pytest.mark.parametrize(
    "path", ["/", "/legacy/", "/main/legacy/", "/simple/", PAGE, "/pypi", "/nosuch/legacy/"]
)
@pytest.mark.parametrize("size", [100, 900_000])
def test_upload_is_rejected_with_reason(pair: Pair, path: str, size: int) -> None:
    """An upload that is not accepted gets the reason in status line and body."""
    for server in (pair.nginx, pair.application):
        with closing(server.connect()) as connection:
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            connection.request("POST", f"{server.prefix}{path}", b"x" * size, headers)
            answer = connection.getresponse()
            assert answer.status in REASONS
            assert answer.reason.startswith(REASONS[answer.status])
            assert answer.read().decode() == f"{answer.status} {answer.reason}\n"


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
def test_servers_send_same_redirects(pair: Pair, method: str, path: str, location: str) -> None:
    """Both servers send the same redirect, with a body of text."""
    for server in (pair.nginx, pair.application):
        answer = server.ask(path, method=method)
        assert (answer.status, answer.headers["location"]) == (301, pair.nginx.prefix + location)
        assert answer.headers["content-type"].startswith("text/")


def test_application_sends_client_file_of_index(pair: Pair) -> None:
    """The application sends the client files of a single index, also through nginx."""
    answer = pair.both("/staging/-/pip.conf")
    assert answer.status == 200
    assert f"index-url = {pair.spec.url}/staging/simple/\n".encode() in answer.body


def test_nginx_logs_no_error_for_missing_page(pair: Pair) -> None:
    """nginx logs no error for a missing page, a listing or an unnormalized name."""
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
def test_hostile_path_gets_no_file(pair: Pair, path: str) -> None:
    """Both servers answer a hostile path with 4xx or a redirect to a project, never with a file."""
    for name in ("packages/.hidden", "packages/sub dir/.hidden", "secret"):
        (pair.spec.www / name).write_bytes(b"SQLite format 3 root:")
    for server in (pair.nginx, pair.application):
        answer = server.ask(path)
        if answer.status == 301:
            assert answer.headers["location"].startswith(f"{pair.nginx.prefix}/simple/")
        else:
            assert 400 <= answer.status < 500
        assert not any(word in answer.body for word in (b"SQLite format", b"root:"))


def test_redirect_stays_on_host(pair: Pair) -> None:
    """A redirect never leaves the host, whatever the path or Host."""
    for path in ("//evil.example", "//evil.example/simple/Foo", "/simple//evil.example", "/simple"):
        for server in (pair.nginx, pair.application):
            location = server.ask(path).headers.get("location", f"{pair.nginx.prefix}/")
            assert location.startswith(f"{pair.nginx.prefix}/")
            assert not location.startswith("//")
    if pair.nginx.prefix:
        answer = Server(pair.nginx.port).ask(pair.nginx.prefix)
        assert (answer.status, answer.headers["location"]) == (301, f"{pair.nginx.prefix}/")


def test_nothing_is_served_outside_prefix(pair: Pair) -> None:
    """nginx serves nothing outside the URL prefix."""
    if pair.nginx.prefix:
        for path in (PAGE, f"{PAGE}index.html", WHEEL, "/", "/health"):
            assert Server(pair.nginx.port).ask(path).status == 404
