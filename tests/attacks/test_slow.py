"""Slow clients: other clients are served in the meantime."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.attacks.sites import WAYS
from tests.conftest import eventually
from tests.nginx.servers import PATIENCE, Server
from tests.nginx.sites import LARGE, PAGE, WHEEL

ATTACKER = "127.0.0.2"  # nginx counts it apart from the address of other clients
FORM = "Content-Type: multipart/form-data; boundary=x"
XML = "Content-Type: text/xml"


def text(*lines: str, end: bytes = b"") -> bytes:
    return "\r\n".join((*lines, "")).encode() + end


# (number of clients, first data, data sent byte by byte afterwards)
ATTACKS: dict[str, tuple[int, bytes, bytes]] = {
    "no data": (200, b"", b""),
    "incomplete head": (200, text("GET /simple/ HTTP/1.1", "Host: x"), b""),
    "endless head": (200, text("GET / HTTP/1.1", "Host: x"), b"X-Header: value\r\n" * 50),
    "unread file": (100, text(f"GET {LARGE} HTTP/1.1", "Host: x", "", "") * 4, b""),
    "unread pages": (40, text(f"GET {PAGE} HTTP/1.1", "Host: x", "") * 2000, b""),
    "unread answers": (
        40,
        text("GET /pypi/nix/json HTTP/1.1", "Host: x", "") * 800,
        b"",
    ),
    "endless form": (
        60,
        text("POST /legacy/ HTTP/1.1", "Host: x", FORM, "Content-Length: 1000000", end=b"\r\n--x"),
        b"x" * 1000,
    ),
    "endless chunks": (
        60,
        text("POST / HTTP/1.1", "Host: x", FORM, "Transfer-Encoding: chunked", end=b"\r\n9\r\nabc"),
        b"defghi\r\n" + b"1\r\nx\r\n" * 100,
    ),
    "endless search": (
        60,
        text("POST /RPC2 HTTP/1.1", "Host: x", XML, "Content-Length: 60000", end=b"\r\n<method"),
        b"<a>" * 1000,
    ),
    "form with Expect: 100-continue": (
        60,
        text("POST / HTTP/1.1", "Host: x", FORM, "Content-Length: 999", "Expect: 100-continue", ""),
        b"x" * 999,
    ),
}
ASKED = ["/health", "/simple/", PAGE, WHEEL, "/pypi/foo-bar/json", "/", "/simple/Foo_Bar", "/nix/"]


@pytest.fixture(scope="module", params=WAYS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with WAYS[request.param](tmp_path_factory.mktemp("slow")) as running:
        yield running


def attack(server: Server, first: bytes, source: str = ATTACKER) -> socket.socket:
    """Return a client that has sent what the server accepts of ``first`` and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.bind((source, 0))
    client.settimeout(PATIENCE)
    client.connect((server.address, server.port))
    client.setblocking(False)
    send(client, first)
    return client


def send(client: socket.socket, data: bytes) -> None:
    """Send what the server accepts now; ignore that it may have closed the connection."""
    with suppress(OSError):
        client.send(data)


@pytest.mark.parametrize("kind", ATTACKS)
def test_slow_clients_do_not_block_others(server: Server, kind: str) -> None:
    """The server answers other clients while slow clients of one kind are connected."""
    number, first, then = ATTACKS[kind]
    good = {path: server.ask(path).status for path in ASKED}
    with ExitStack() as stack:
        clients = [attack(server, first) for _ in range(number)]
        for client in clients:
            stack.callback(client.close)
        for turn in range(8):
            for client in clients:
                send(client, then[turn : turn + 1])
            for path in ASKED:
                assert server.ask(path).status == good[path]


@pytest.mark.parametrize("server", ["nginx"], indirect=True)
def test_nginx_limits_requests_of_address(server: Server) -> None:
    """nginx processes at most 20 requests of an address at a time and answers 429 to the others."""
    _, first, _ = ATTACKS["endless search"]
    first = first.replace(b"/RPC2", b"/")
    with ExitStack() as stack:
        clients = [attack(server, first, "127.0.0.3") for _ in range(30)]
        for client in clients:
            stack.callback(client.close)

        def rejected() -> int:
            ready = select.select(clients, (), (), 0)[0]
            return sum(
                client.recv(100, socket.MSG_PEEK).startswith(b"HTTP/1.1 429") for client in ready
            )

        eventually(lambda: rejected() >= 10)
        assert rejected() == 10
        assert server.ask(PAGE).status == server.ask("/health").status == 200


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
def test_server_closes_oldest_idle_connections(server: Server) -> None:
    """The server closes the connections that are idle longest when it has too many clients."""
    with ExitStack() as stack:
        for _ in range(2500):
            stack.callback(attack(server, b"GET / HTTP/1.1\r\n").close)
        for path in ASKED * 3:
            assert server.ask(path).status < 500
