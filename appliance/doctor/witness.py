"""Clients that install through a proxy which reaches one host alone, and notes all others."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.doctor.finding import Finding, ok, problem
from appliance.errors import PyindexError
from appliance.mirror import running
from appliance.text import printable
from appliance.upstream.urls import origin

_SECONDS = 120.0
_CONNECT_SECONDS = 10.0
_TARGET = re.compile(
    rb"(?:CONNECT (?P<authority>\S+)|[A-Z]+ http://(?P<host>[^/\s]+)(?P<path>\S*)) "
)
_VARIABLE = re.compile(r"(?:https?|all|no|ftp)_proxy", re.IGNORECASE)
_HEAD_BYTES = 1 << 16


@dataclass
class Witness:
    """A proxy that connects clients with ``host``, ``name:port``, and refuses ``others``."""

    host: str
    others: set[str] = field(default_factory=set)
    asked: int = 0
    url: str = ""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen on a loopback port, which is in ``url`` then; connections end with the context."""
        server = await asyncio.start_server(self._start, "127.0.0.1", 0, limit=_HEAD_BYTES)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()  # Since Python 3.12, wait_closed() waits for all connections.
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = _TARGET.match(head)
            if target is not None:
                await self._connect(target, head, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _connect(
        self,
        target: re.Match[bytes],
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        is_tunnel = target["authority"] is not None
        name = (target["authority"] or target["host"]).decode("latin-1").lower()
        host = name if re.search(r":\d+\Z", name) else f"{name}:80"
        if host != self.host:
            self.others.add(printable(host))
            writer.write(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            await writer.drain()
            return

        self.asked += 1
        there, port = host.rsplit(":", 1)
        async with asyncio.timeout(_CONNECT_SECONDS):
            upstream, sink = await asyncio.open_connection(there.strip("[]"), int(port))
        try:
            if is_tunnel:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:  # one request a connection, as each may be for another host
                line = head.replace(b"http://" + target["host"], b"", 1)
                sink.write(re.sub(rb"(?i)\r\n(proxy-)?connection:[^\r]*", b"", line, count=2)[:-2])
                sink.write(b"Connection: close\r\n\r\n")
            await asyncio.gather(_copy(reader, sink), _copy(upstream, writer))
        finally:
            sink.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end; then tell the other side, if it is still there."""
    with contextlib.suppress(OSError):
        while content := await reader.read(_HEAD_BYTES):
            writer.write(content)
            await writer.drain()
        writer.write_eof()


def install(
    index: str, requirement: str, clients: Mapping[str, list[str]], defaulted: Container[str]
) -> Iterator[Finding]:
    """Install ``requirement``, of one small wheel, with each of ``clients`` into a new directory.

    Yields for each client whether it got the wheel from ``index``, and whom else it asked; no
    setting names those in ``defaulted`` an index.
    """
    for name, command in clients.items():
        witness, failure = asyncio.run(_install(index, requirement, command))
        yield _judged(name, requirement, witness, failure, name in defaulted)


async def _install(index: str, requirement: str, command: list[str]) -> tuple[Witness, str]:
    """What the proxy has seen of an installation, and why that failed; empty if it did not."""
    _, host, port = origin(index)
    witness = Witness(f"{f'[{host}]' if ':' in host else host}:{port}")
    kept = {key: value for key, value in os.environ.items() if not _VARIABLE.fullmatch(key)}
    with tempfile.TemporaryDirectory(prefix="pyindex-doctor-") as directory:
        async with witness.listening():
            own = {f"{kind}_proxy": witness.url for kind in ("http", "https", "all")}
            own |= {"PIP_PROXY": witness.url, "UV_HTTP_RETRIES": "0", "TMPDIR": directory}
            arguments = (*command, "--target", str(Path(directory, "target")), requirement)
            try:
                what = f"cannot install {requirement}"
                await running.run(what, arguments, Path(directory), kept | own, _SECONDS)
            except PyindexError as error:
                first, *others = str(error).splitlines()
                return witness, ": ".join((first, *(line.strip() for line in others[-1:])))
    return witness, ""


def _judged(
    name: str, requirement: str, witness: Witness, failure: str, is_default: bool
) -> Finding:
    if witness.others:
        others = ", ".join(sorted(witness.others))
        advice = "remove them from its settings"
        if is_default:
            others, advice = f"{others}, its default", "set the index as said above"
        return problem(name, f"also asks {others}; {advice}")
    if failure:
        return problem(name, failure)
    if not witness.asked:
        return problem(name, f"installed {requirement} without asking the index; clear find-links")
    return ok(name, f"installed {requirement} from {witness.host}, and asked no other host")


def clients() -> dict[str, list[str]]:
    """The clients on this machine, each with the command that installs one wheel."""
    found = {}
    if pip := shutil.which("pip") or shutil.which("pip3"):
        found["pip"] = [pip, "install", "--disable-pip-version-check", "--quiet", "--no-deps"]
        found["pip"] += ["--retries", "0", "--no-cache-dir", "--only-binary=:all:"]
    if uv := shutil.which("uv"):
        found["uv"] = [uv, "pip", "install", "--python", sys.executable, "--quiet", "--no-deps"]
        found["uv"] += ["--no-cache", "--no-build", "--no-python-downloads"]
    return found
