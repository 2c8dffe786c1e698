"""A wheel of 3 GB that goes in and out, through nginx and without: how much memory that takes, and
how long other clients wait meanwhile."""

import hashlib
import http.client
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path

from benchmarks import corpus, processes, servers, uploads
from benchmarks.ports import HOST
from benchmarks.report import Figure, Goal, number
from benchmarks.servers import Server, ServerError
from benchmarks.tools import Tools

GROUP = "A wheel of 3 GB"
_GIBIBYTES = 3
_MEBI = 1 << 20
_PROJECT = "huge"
_LIMIT_SECONDS = 900.0
_PAUSE_SECONDS = 0.1


@dataclass
class _Others:
    """Requests of other clients: how many seconds each took, and what went wrong."""

    port: int
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def ask(self, has_ended: threading.Event) -> None:
        while not has_ended.wait(_PAUSE_SECONDS):
            for path in ("/health", f"/simple/{corpus.PROBE_PROJECT}/"):
                start = time.perf_counter()
                if not servers.answers(self.port, path):
                    self.problems.append(path)
                self.seconds.append(time.perf_counter() - start)


def measure(tools: Tools, packages: Path, work: Path) -> Iterator[Figure]:
    """Measure with the server alone, then with nginx before it."""
    wheel = _wheel(work)
    for how in ("pyindex serve", "nginx and pyindex"):
        folder = work / how.replace(" ", "-")
        with ExitStack() as stack:
            application = stack.enter_context(uploads.ours(tools, packages, folder))
            running = [application]
            if how != "pyindex serve":
                nginx = servers.accounts_nginx(tools.nginx, folder, application)
                running.append(stack.enter_context(nginx))
            port = running[-1].port
            for way, move in (("in", _send), ("out", _fetch)):
                what = f"memory while it goes {way}, {how}"
                yield _figure(what, running, partial(move, port, wheel))
    wheel.unlink()


def _figure(what: str, running: Sequence[Server], move: Callable[[], None]) -> Figure:
    """Measure how much larger a process becomes at most than it was, or than a new one is."""
    others = _Others(running[-1].port)
    before = _memory(running, "VmRSS")
    _forget_peaks(running)
    with _asking(others):
        start = time.perf_counter()
        move()
        seconds = time.perf_counter() - start
    after = _memory(running, "VmHWM")
    if others.problems:
        raise ServerError(f"{what}: {len(others.problems)} other requests failed")
    grown = max(peak - before.get(pid, 0) for pid, peak in after.items())
    detail = f"{seconds:.0f} s; others waited {number(1000 * max(others.seconds))} ms at most"
    return Figure(GROUP, what, 1, max(grown, 0), "MiB more", Goal("at most", 64), detail)


@contextmanager
def _asking(others: _Others) -> Iterator[None]:
    has_ended = threading.Event()
    thread = threading.Thread(target=others.ask, args=(has_ended,))
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def _memory(running: Sequence[Server], key: str) -> dict[int, float]:
    """Return a size of /proc/PID/status in MiB of each process of servers."""
    sizes: dict[int, float] = {}
    for pid in _processes(running):
        with suppress(OSError, KeyError):  # it has ended
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            sizes[pid] = int(dict(line.split(":\t", 1) for line in lines)[key].split()[0]) / 1024
    return sizes


def _forget_peaks(running: Sequence[Server]) -> None:
    """Reset VmHWM of each process, see proc(5)."""
    for pid in _processes(running):
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _processes(running: Sequence[Server]) -> list[int]:
    return [pid for server in running for pid in processes.session(server.pid)]


def _wheel(folder: Path) -> Path:
    """Write the wheel, of one member that does not compress."""
    path = folder / corpus.wheel_name(_PROJECT, "1.0")
    noise = os.urandom(_MEBI)
    with zipfile.ZipFile(path, "w") as archive:
        info = f"{_PROJECT}-1.0.dist-info"
        with archive.open(f"{_PROJECT}.bin", "w", force_zip64=True) as member:
            for count in range(_GIBIBYTES << 10):
                member.write(count.to_bytes(8) + noise[8:])
        metadata = f"Metadata-Version: 2.1\nName: {_PROJECT}\nVersion: 1.0\n"
        for name, text in (("METADATA", metadata), ("WHEEL", ""), ("RECORD", "")):
            archive.writestr(f"{info}/{name}", text)
    return path


def _send(port: int, wheel: Path) -> None:
    """Upload the wheel. Raises ServerError if it is not stored."""
    with wheel.open("rb") as file:
        digest = {"sha256_digest": hashlib.file_digest(file, "sha256").hexdigest()}
        file.seek(0)
        head, tail = uploads.around(wheel.name, servers.upload_fields(wheel.name, b"") | digest)
        length = len(head) + wheel.stat().st_size + len(tail)
        chunks = iter(lambda: file.read(_MEBI), b"")

        def body() -> Iterator[bytes]:
            yield head
            yield from chunks
            yield tail

        connection = http.client.HTTPConnection(HOST, port, timeout=_LIMIT_SECONDS)
        headers = uploads.HEADERS | {"Content-Length": str(length)}
        connection.request("POST", "/legacy/", body(), headers)
        _check(connection.getresponse())


def _fetch(port: int, wheel: Path) -> None:
    """Download the wheel. Raises ServerError if it is another one."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_LIMIT_SECONDS)
    connection.request("GET", f"/packages/{wheel.name}")
    response = connection.getresponse()
    size = 0
    while chunk := response.read(_MEBI):
        size += len(chunk)
    if (response.status, size) != (HTTPStatus.OK, wheel.stat().st_size):
        raise ServerError(f"port {port}: {response.status} with {size} bytes")


def _check(response: http.client.HTTPResponse) -> None:
    text = response.read()
    if response.status != HTTPStatus.OK:
        raise ServerError(f"{response.status} {text[:300]!r}")
