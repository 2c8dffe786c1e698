"""Hostile requests: each gets an appropriate status, and other clients are served."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.requests import CLOSED, REQUESTS
from tests.attacks.sites import WAYS
from tests.nginx.servers import PATIENCE, Server
from tests.nginx.sites import PAGE


@pytest.fixture(scope="module", params=WAYS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Server, Path]]:
    directory = tmp_path_factory.mktemp("requests")
    with WAYS[request.param](directory) as running:
        yield request.param, running, directory


def exchange(server: Server, data: bytes) -> bytes:
    """Return all bytes that the server sends to a client that sends ``data``."""
    answer = b""
    with socket.create_connection((server.address, server.port), timeout=PATIENCE) as client:
        try:
            client.sendall(data)
            while more := client.recv(1 << 16):
                answer += more
        except ConnectionError:
            pass  # closed before everything was sent
    return answer


@pytest.mark.parametrize("name", REQUESTS)
def test_hostile_request_gets_allowed_status(place: tuple[str, Server, Path], name: str) -> None:
    """The server answers a hostile request with an allowed status and serves the next client."""
    way, server, directory = place
    sent, allowed, nginx = REQUESTS[name]
    answer = exchange(server, sent)
    status = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    got = int(status[1]) if status else CLOSED
    assert got in (nginx if nginx is not None and way == "nginx" else allowed), answer[:300]
    assert b"root:" not in answer
    assert server.ask(PAGE).status == 200
    for log in ("log", "gunicorn.log"):
        if (directory / log).exists():
            assert "Traceback" not in (directory / log).read_text()
