"""Faulty server: real sockets and threads; each path has a behavior of its own."""

import contextlib
import socket
import socketserver
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Behavior = Callable[["Exchange"], None]


@dataclass
class Exchange:
    """One request, and the connection to answer it on.

    Attributes:
        path: Path and query.
        headers: Of the request, with names in lower case.
        number: How many requests for this path came before.
    """

    path: str
    headers: Mapping[str, str]
    number: int
    connection: socket.socket
    closing: threading.Event

    def send(self, content: bytes) -> None:
        self.connection.sendall(content)

    def head(self, status: int = 200, /, **headers: object) -> None:
        """Send status and headers; ``_`` in their names stands for ``-``."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([f"HTTP/1.1 {status} Status", *lines, "", ""]).encode("latin-1"))

    def answer(
        self,
        content: bytes = b"",
        status: int = 200,
        /,
        *,
        length: object = None,
        **headers: object,
    ) -> None:
        """Send a complete response; ``length`` is what it states as its own."""
        self.head(status, Content_Length=len(content) if length is None else length, **headers)
        self.send(content)

    def cut(self) -> None:
        """Close the connection before the end of the response."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Reset the connection."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise ConnectionAbortedError  # the handler ends, and closes

    def stall(self) -> None:
        """Send nothing until the client or the server closes."""
        self.connection.settimeout(0.05)
        while not self.closing.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1):
                    return

    def drip(self, content: bytes) -> None:
        """Send byte by byte until the client closes."""
        for number in range(len(content)):
            self.send(content[number : number + 1])
            if self.closing.wait(0.02):
                return

    @property
    def start(self) -> int:
        """The first byte of the requested range."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])


@dataclass
class Faulty:
    """The server: behaviors by path, and the requests so far."""

    address: tuple[str, int]
    scheme: str = "http"
    behaviors: dict[str, Behavior] = field(default_factory=dict)
    requests: list[Exchange] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address[0]}:{self.address[1]}"

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def counts(self) -> Counter[str]:
        return Counter(self.paths())


def whole(content: bytes, etag: str | None = '"one"') -> Behavior:
    """Serve ``content`` as a good server does, with ranges and conditions."""

    def behave(exchange: Exchange) -> None:
        headers: dict[str, object] = {"ETag": etag} if etag else {}
        is_current = exchange.headers.get("if-range", etag) == etag
        if etag and exchange.headers.get("if-none-match") == etag:
            exchange.answer(b"", 304, **headers)
        elif "range" not in exchange.headers or not is_current:
            exchange.answer(content, **headers)
        else:
            start, stop = _span(exchange.headers["range"], len(content))
            if start >= len(content):
                exchange.answer(b"", 416, Content_Range=f"bytes */{len(content)}")
                return
            span = f"bytes {start}-{stop - 1}/{len(content)}"
            exchange.answer(content[start:stop], 206, Content_Range=span, **headers)

    return behave


def _span(header: str, size: int) -> tuple[int, int]:
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def page(content: str, content_type: str = "text/html", **headers: object) -> Behavior:
    return lambda exchange: exchange.answer(content.encode(), Content_Type=content_type, **headers)


def status(number: int, **headers: object) -> Behavior:
    return lambda exchange: exchange.answer(b"no", number, **headers)


def in_turn(*behaviors: Behavior) -> Behavior:
    """Each behavior once, the last one from then on."""
    return lambda exchange: behaviors[min(exchange.number, len(behaviors) - 1)](exchange)


@contextlib.contextmanager
def serving(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Faulty]:
    """Run a faulty server during the context."""
    closing = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                while self._answer():
                    pass

        def _answer(self) -> bool:
            line = self.rfile.readline(65536).decode("latin-1")
            if not line:
                return False
            headers: dict[str, str] = {}
            while header := self.rfile.readline(65536).decode("latin-1").strip():
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()

            path = line.split()[1]
            number = faulty.counts()[path]
            exchange = Exchange(path, headers, number, self.connection, closing)
            faulty.requests.append(exchange)
            faulty.behaviors.get(path, status(404))(exchange)
            return not closing.is_set()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 64

        def get_request(self) -> tuple[socket.socket, object]:
            connection, address = super().get_request()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection, address

        def finish_request(self, request: object, address: object) -> None:
            if tls is not None and isinstance(request, socket.socket):
                request = tls.wrap_socket(request, server_side=True)
            super().finish_request(request, address)  # type: ignore[arg-type]

        def handle_error(self, request: object, address: object) -> None:
            pass  # a client that closes is expected

    with Server((host, 0), Handler) as server:
        address = (host, server.server_address[1])
        faulty = Faulty(address, "https" if tls else "http")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield faulty
        finally:
            closing.set()
            server.shutdown()
            thread.join()
