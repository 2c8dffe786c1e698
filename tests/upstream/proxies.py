"""A proxy for HTTPS: it opens connections by CONNECT (RFC 9110, 9.3.6) for those who log in."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"
REFUSED = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="p"\r\n'
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


@dataclass
class Proxy:
    """A running proxy: its port, the login that it wants, and the targets that it opened."""

    login: str
    port: int = 0
    opened: list[str] = field(default_factory=list)
    refused: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split(maxsplit=2)
            if method != "CONNECT" or f"proxy-authorization: {self.login}".lower() not in (
                head.lower()
            ):
                self.refused += 1
                writer.write(REFUSED)
                await writer.drain()
            else:
                self.opened.append(target)
                host, _, port = target.rpartition(":")
                there = await asyncio.open_connection(host, int(port))
                writer.write(OPENED)
                await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def proxying(login: str) -> Iterator[Proxy]:
    """Run a proxy during the context, in a thread of its own."""
    proxy, started, ended = Proxy(login), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        started.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    started.wait(60)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
