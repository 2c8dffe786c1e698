"""nginx and the application behind it: connections, uploads, failures of the application."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from appliance import render, spec
from appliance.web.negotiate import JSON
from benchmarks.ports import HOST, free_port
from tests.conftest import eventually
from tests.nginx.servers import PATIENCE, Server, serving
from tests.nginx.sites import PAGE, SECURITY, WHEEL, Pair, load, make_spec, nginx_port, publish

UNAVAILABLE = b"503 Service Unavailable: the application behind nginx does not answer"


def test_nginx_keeps_connection_to_application(pair: Pair) -> None:
    """nginx keeps its connection to the application open after a request."""
    established, peer = "01", f":{pair.application.port:04X}"

    def kept() -> bool:  # a read during a change may lack a line
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return any(line[2].endswith(peer) and line[3] == established for line in lines)

    assert pair.nginx.ask("/health").status == 200
    eventually(kept)


def test_nginx_serves_pages_without_application(tmp_path: Path) -> None:
    """nginx serves pages and files without the application, and answers 503 for everything else."""
    alone = spec.load(make_spec(tmp_path))
    with serving(tmp_path / "nginx", render.nginx(alone, HOST)):
        server = Server(nginx_port(alone))
        for path in ("/simple/", PAGE, f"/staging{PAGE}", WHEEL, f"{WHEEL}.metadata"):
            assert server.ask(path).status == 200
        for path in ("/", "/simple/Foo_Bar", "/simple/nothing/", "/packages/x", "/packages/"):
            answer = server.ask(path)
            assert (answer.status, answer.headers["content-type"]) == (503, "text/plain")
            assert UNAVAILABLE in answer.body
        assert server.ask(PAGE, {"Accept": f"{JSON};q=0.5"}).status == 503
        assert server.ask(PAGE, method="POST").status == 503


class Slow:
    """Application that answers after it received ``last``, and sets an event at ``first``."""

    def __init__(self, path: Path, first: bytes, last: bytes) -> None:
        self.seen = threading.Event()
        self._first, self._last = first, last
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.bind(str(path))
        self._socket.listen()

    def run(self) -> None:
        with self._socket, self._socket.accept()[0] as connection:
            connection.settimeout(PATIENCE)
            data = b""
            while self._last not in data:
                more = connection.recv(1 << 16)
                assert more, "nginx has closed the connection"
                data += more
                if self._first in data:
                    self.seen.set()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@contextmanager
def on_socket(
    directory: Path, socket_path: Path, surroundings: str = "", hurried: bool = False
) -> Iterator[Server]:
    """Run nginx before a Unix socket; ``hurried`` sets timeouts of one second."""
    port = free_port()
    given = load(directory, {"url": f"http://{HOST}:{port}/x"}, None, "debian-12")
    publish(given)
    site = render.nginx(given, HOST).replace(render.SOCKET, str(socket_path))
    if hurried:
        site = site.replace("timeout 10m", "timeout 1s").replace("timeout 2m", "timeout 1s")
    with serving(directory / "nginx", site, surroundings):
        yield Server(port, host=f"{HOST}:{port}")


@pytest.mark.parametrize("length", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "10"}])
@pytest.mark.parametrize("path", ["/x/", "/x/1-x/", "/x/legacy", "/x/legacy/", "/x/main/legacy/"])
def test_upload_is_not_buffered(tmp_path: Path, path: str, length: dict[str, str]) -> None:
    """nginx sends the first bytes of an upload on before the client has sent the last."""
    application = Slow(tmp_path / "sock", b"first", b"last!")
    thread = threading.Thread(target=application.run)
    thread.start()
    with on_socket(tmp_path, tmp_path / "sock") as server, closing(server.connect()) as connection:
        chunks = [b"first", b"last!"]
        if "Transfer-Encoding" in length:
            chunks = [b"5\r\nfirst\r\n", b"5\r\nlast!\r\n0\r\n\r\n"]
        connection.putrequest("POST", path)
        for name, value in length.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(chunks[0])
        assert application.seen.wait(PATIENCE)
        connection.send(chunks[1])
        assert connection.getresponse().status == 200
    thread.join()


@pytest.mark.parametrize("fault", ["missing", "no listener", "hangs"])
def test_silent_application_is_503(tmp_path: Path, fault: str) -> None:
    """nginx answers 503 with a reason if the application is silent, and serves pages and files."""
    place = tmp_path / "sock"
    listening = socket.socket(socket.AF_UNIX)
    if fault != "missing":
        listening.bind(str(place))
    if fault == "hangs":
        listening.listen()
    surroundings = "proxy_read_timeout 1s;"
    with closing(listening), on_socket(tmp_path, place, surroundings, hurried=True) as server:
        for method, path, status in (
            ("GET", "/x/", 503),
            ("POST", "/x/legacy/", 503),
            ("PUT", "/x/simple/", 503),
            ("GET", "/x/health", 503),
            ("GET", "/x/simple/nothing/", 503),
            ("GET", "/x/simple/foo-bar/", 200),
            ("GET", "/x/packages/foo_bar-1.0-py2.py3-none-any.whl", 200),
        ):
            with closing(server.connect()) as connection:
                body = b"x" * 500_000 if method == "POST" else None
                # nginx may answer and close before it has read the whole body.
                with suppress(ConnectionError):
                    connection.request(method, path, body)
                answer = connection.getresponse()
                assert answer.status == status
                assert {name: answer.headers[name] for name in SECURITY} == SECURITY
                if status == 503:
                    assert answer.headers["Content-Type"] == "text/plain"
                    assert UNAVAILABLE in answer.read()
