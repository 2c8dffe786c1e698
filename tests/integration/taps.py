"""TCP relay in front of a server, which records requests and can cut connections."""

import re
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

HEAD = re.compile(rb"(?:^|(?<=\r\n\r\n))([A-Z]+) (\S+) HTTP/1\.[01]\r\n(.*?)\r\n\r\n", re.DOTALL)


@dataclass(frozen=True)
class Request:
    """Recorded request; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Tap:
    """Records of a relay: its port and, in order within each connection, the requests."""

    port: int
    heard: list[bytearray] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return the relay's base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """Return all requests so far; none of them may have a body."""
        return [
            Request(method.decode(), path.decode(), _headers(lines))
            for heard in self.heard
            for method, path, lines in HEAD.findall(bytes(heard))
        ]

    def asked(self, ending: str) -> list[Request]:
        """Return the requests for paths with this ending."""
        return [request for request in self.requests if request.path.endswith(ending)]


@contextmanager
def tapped(upstream: int, *, cut_after: int = 0, cuts: int = 0) -> Iterator[Tap]:
    """Relay a new port to *upstream*; cut the first *cuts* connections after *cut_after* bytes of
    answers."""
    cut_permits = threading.Semaphore(cuts)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            heard = bytearray()
            tap.heard.append(heard)
            with socket.create_connection(("127.0.0.1", upstream)) as server:
                up = threading.Thread(target=_pump_up, args=(self.request, server, heard))
                up.start()
                carried = 0
                with suppress(OSError):
                    while data := server.recv(16384):
                        self.request.sendall(data)
                        carried += len(data)
                        if carried > cut_after and cut_permits.acquire(blocking=False):
                            break
                for end in (self.request, server):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                up.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Relay) as listener:
        tap = Tap(listener.server_address[1])
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield tap
        finally:
            listener.shutdown()
            thread.join()


def _pump_up(client: socket.socket, server: socket.socket, heard: bytearray) -> None:
    with suppress(OSError):
        while data := client.recv(16384):
            heard += data
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)


def _headers(lines: bytes) -> Mapping[str, str]:
    pairs = (line.split(":", 1) for line in lines.decode("latin-1").split("\r\n") if ":" in line)
    return {name.lower(): value.strip() for name, value in pairs}
