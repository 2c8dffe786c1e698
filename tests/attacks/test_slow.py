"""Clients that are slow on purpose: all that they hold up is themselves."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.attacks.sites import WAYS
from tests.conftest import eventually
from tests.nginx.servers import PATIENCE, Server
from tests.nginx.sites import LARGE, PAGE, WHEEL

ATTACKER = "127.0.0.2"  # its address is counted apart from that of the others
FORM = "Content-Type: multipart/form-data; boundary=x"
XML = "Content-Type: text/xml"


def text(*lines: str, end: bytes = b"") -> bytes:
    return "\r\n".join((*lines, "")).encode() + end


# What each client sends at first, and then, byte for byte; and how many clients there are.
ATTACKS: dict[str, tuple[int, bytes, bytes]] = {
    "nothing at all": (200, b"", b""),
    "half a head": (200, text("GET /simple/ HTTP/1.1", "Host: x"), b""),
    "a head for ever": (200, text("GET / HTTP/1.1", "Host: x"), b"X-Header: value\r\n" * 50),
    "a file that is not read": (100, text(f"GET {LARGE} HTTP/1.1", "Host: x", "", "") * 4, b""),
    "pages that are not read": (40, text(f"GET {PAGE} HTTP/1.1", "Host: x", "") * 2000, b""),
    "answers that are not read": (
        40,
        text("GET /pypi/nix/json HTTP/1.1", "Host: x", "") * 800,
        b"",
    ),
    "a form that does not end": (
        60,
        text("POST /legacy/ HTTP/1.1", "Host: x", FORM, "Content-Length: 1000000", end=b"\r\n--x"),
        b"x" * 1000,
    ),
    "chunks that do not end": (
        60,
        text("POST / HTTP/1.1", "Host: x", FORM, "Transfer-Encoding: chunked", end=b"\r\n9\r\nabc"),
        b"defghi\r\n" + b"1\r\nx\r\n" * 100,
    ),
    "a search that does not end": (
        60,
        text("POST /RPC2 HTTP/1.1", "Host: x", XML, "Content-Length: 60000", end=b"\r\n<method"),
        b"<a>" * 1000,
    ),
    "a form that must be asked for": (
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
    with WAYS[request.param](tmp_path_factory.mktemp("slow")) as found:
        yield found


def attack(server: Server, first: bytes, source: str = ATTACKER) -> socket.socket:
    """A client that has sent ``first``, as far as it is taken, and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.bind((source, 0))
    client.settimeout(PATIENCE)
    client.connect((server.address, server.port))
    client.setblocking(False)
    send(client, first)
    return client


def send(client: socket.socket, data: bytes) -> None:
    """Send what is taken now; one may have been shut out, which is all right."""
    with suppress(OSError):
        client.send(data)


@pytest.mark.parametrize("kind", ATTACKS)
def test_others_are_answered_meanwhile(server: Server, kind: str) -> None:
    """While all of them are connected and go on, each request of others has its answer."""
    number, first, then = ATTACKS[kind]
    good = {path: server.ask(path).status for path in ASKED}
    with ExitStack() as stack:
        clients = [attack(server, first) for _ in range(number)]
        for client in clients:
            stack.callback(client.close)
        for turn in range(20):
            for client in clients:
                send(client, then[turn : turn + 1])
            for path in ASKED:
                assert server.ask(path).status == good[path]


@pytest.mark.parametrize("server", ["nginx"], indirect=True)
def test_one_address_has_a_bounded_number_of_requests(server: Server) -> None:
    """Twenty that send, and whatever comes beyond that is told so at once."""
    _, first, _ = ATTACKS["a search that does not end"]
    first = first.replace(b"/RPC2", b"/")
    with ExitStack() as stack:
        clients = [attack(server, first, "127.0.0.3") for _ in range(30)]
        for client in clients:
            stack.callback(client.close)

        def told() -> int:
            ready = select.select(clients, (), (), 0)[0]
            return sum(
                client.recv(100, socket.MSG_PEEK).startswith(b"HTTP/1.1 429") for client in ready
            )

        eventually(lambda: told() >= 10)
        assert told() == 10
        assert server.ask(PAGE).status == server.ask("/health").status == 200


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
def test_more_clients_than_there_is_room_for(server: Server) -> None:
    """Who has waited longest is let go for those who come."""
    with ExitStack() as stack:
        for _ in range(2500):
            stack.callback(attack(server, b"GET / HTTP/1.1\r\n").close)
        for path in ASKED * 3:
            assert server.ask(path).status < 500
