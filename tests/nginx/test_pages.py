"""What nginx sends itself is what the application would have sent: pages."""

import socket
from email.utils import formatdate

import pytest
from hypothesis import HealthCheck, given, settings

from appliance.operations.update import update
from appliance.web.negotiate import HTML, JSON, OLD_HTML
from benchmarks.ports import HOST
from tests.conftest import eventually
from tests.dist import make_wheel, uploaded
from tests.nginx.servers import PATIENCE
from tests.nginx.sites import MADE, PAGE, Pair
from tests.web import accepts

SHOWN = ["/simple/", PAGE, "/main/simple/", f"/main{PAGE}", f"/staging{PAGE}"]
ENCODINGS = [None, "gzip", "gzip, deflate, zstd", "identity", "gzip;q=0", "br;q=1, gzip;q=0.1", "*"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("path", SHOWN)
def test_pages_are_the_same_from_both(pair: Pair, path: str, encoding: str | None) -> None:
    """Status, every header and the body, whatever form and coding a client wants."""
    for accept in (None, OLD_HTML, HTML, JSON, *(text for _, text, _ in accepts.CLIENTS)):
        headers = {"Accept": accept, "Accept-Encoding": encoding}
        asked = {name: value for name, value in headers.items() if value is not None}
        answer = pair.both(path, asked)
        assert answer.status == 200
        assert answer.headers["x-pypi-last-serial"].isdecimal()
        assert "last-modified" not in answer.headers
        assert pair.both(path, asked, "HEAD").headers == answer.headers
        known = {"If-None-Match": f'"x", W/{answer.headers["etag"]}'}
        assert pair.both(path, asked | known).status == 304
        changed = formatdate(int(answer.headers["x-pypi-last-serial"], 16), usegmt=True)
        assert pair.both(path, asked | {"If-Modified-Since": changed}).status == 200


def test_old_proxies_get_gzip_too(pair: Pair) -> None:
    """What a client accepts is all that counts, not by which protocol or through whom it asks."""
    for server in (pair.nginx, pair.application):
        with socket.create_connection((HOST, server.port), timeout=PATIENCE) as connection:
            request = f"GET {server.prefix}{PAGE} HTTP/1.0\r\nVia: 1.0 x\r\nAccept-Encoding: gzip"
            connection.sendall(f"{request}\r\n\r\n".encode())
            head = connection.makefile("rb").read().partition(b"\r\n\r\n")[0].lower()
        assert b"content-encoding: gzip" in head


@pytest.mark.parametrize("accept", [text for text, _ in accepts.RULES])
def test_every_rule_is_kept_by_both(pair: Pair, accept: str) -> None:
    """What nginx does not send itself it leaves to the application, 406 among it."""
    pair.both(PAGE, {"Accept": accept.strip()})


@given(accept=accepts.headers())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_accept_gets_the_same_from_both(pair: Pair, accept: str) -> None:
    """No header can be found that nginx weighs differently."""
    pair.both(PAGE, {"Accept": accept})


@pytest.mark.parametrize(("client", "accept", "offer"), accepts.CLIENTS)
def test_nginx_alone_serves_clients(
    pair: Pair, client: str, accept: str | None, offer: str | None
) -> None:
    """Neither installers nor browsers cost any Python."""
    assert pair.sender(PAGE, {"Accept": accept} if accept is not None else {}) == "nginx"


QUERIES = [
    f"format={JSON}",
    "format=x",
    "x",
    "",
    f"{JSON},",
    f"#{JSON}",
    f",{JSON},",
    f"%23{JSON}",
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("accept", [None, OLD_HTML, "image/png"])
def test_queries_are_left_to_the_application(pair: Pair, query: str, accept: str | None) -> None:
    """``?format=`` is kept, and nothing in a query passes for a header."""
    pair.both(f"{PAGE}?{query}", {"Accept": accept} if accept else {})


def test_what_changes_shows_at_once(pair: Pair) -> None:
    """Neither server keeps a page that has been replaced, nor for long a file that is gone."""
    packages = pair.spec.indexes["main"].packages
    before = pair.both("/simple/later/").status, pair.both("/simple/").headers["etag"]
    wheel = uploaded(make_wheel(packages, "later", "1.0"), MADE)
    update(pair.spec)
    shown = pair.both("/simple/later/")
    assert (before[0], shown.status) == (404, 200)
    assert pair.both("/simple/").headers["etag"] != before[1]
    assert pair.both(f"/packages/{wheel.name}").status == 200
    uploaded(make_wheel(packages, "later", "2.0"), MADE)
    wheel.unlink()
    assert pair.application.ask(f"/packages/{wheel.name}").status == 404
    eventually(lambda: pair.nginx.ask(f"/packages/{wheel.name}").status == 404)
    update(pair.spec)
    assert pair.both("/simple/later/").headers["etag"] != shown.headers["etag"]
    assert wheel.name not in pair.both("/simple/later/").body.decode()
