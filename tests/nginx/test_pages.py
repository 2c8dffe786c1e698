"""Pages from nginx and from the application: equal answers."""

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
def test_servers_send_same_pages(pair: Pair, path: str, encoding: str | None) -> None:
    """Both servers send the same status, headers and body for any form and coding."""
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


def test_http_1_0_proxy_gets_gzip(pair: Pair) -> None:
    """Both servers send gzip through an HTTP/1.0 proxy."""
    for server in (pair.nginx, pair.application):
        with socket.create_connection((HOST, server.port), timeout=PATIENCE) as connection:
            request = f"GET {server.prefix}{PAGE} HTTP/1.0\r\nVia: 1.0 x\r\nAccept-Encoding: gzip"
            connection.sendall(f"{request}\r\n\r\n".encode())
            head = connection.makefile("rb").read().partition(b"\r\n\r\n")[0].lower()
        assert b"content-encoding: gzip" in head


@pytest.mark.parametrize("accept", [text for text, _ in accepts.RULES])
def test_servers_follow_same_accept_rules(pair: Pair, accept: str) -> None:
    """Both servers answer each Accept header equally, with 406 too."""
    pair.both(PAGE, {"Accept": accept.strip()})


@given(accept=accepts.headers())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_servers_agree_on_any_accept(pair: Pair, accept: str) -> None:
    """Both servers answer any generated Accept header equally."""
    pair.both(PAGE, {"Accept": accept})


@pytest.mark.parametrize(("client", "accept", "offer"), accepts.CLIENTS)
def test_nginx_serves_known_clients_without_application(
    pair: Pair, client: str, accept: str | None, offer: str | None
) -> None:
    """nginx serves pages to installers and browsers without the application."""
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
def test_nginx_passes_queries_to_application(pair: Pair, query: str, accept: str | None) -> None:
    """nginx passes a query to the application and does not confuse it with a header."""
    pair.both(f"{PAGE}?{query}", {"Accept": accept} if accept else {})


def test_servers_send_changes_immediately(pair: Pair) -> None:
    """Both servers send a replaced page immediately, and a deleted file for a second at most."""
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
