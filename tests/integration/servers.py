"""The index under test, as processes of its own: the embedded server, and nginx in front of it."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import NormalizedName, canonicalize_name

PYINDEX = Path(sys.executable).with_name("pyindex")
PATIENCE = 60


@dataclass(frozen=True)
class Server:
    """A running index and the folders that it was started on."""

    port: int
    packages: Path
    state: Path

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def command(self, *arguments: str) -> None:
        """Run ``pyindex *arguments`` on this index."""
        source = ("--directory", self.packages, "--state", self.state)
        subprocess.run([PYINDEX, *arguments, *source], check=True, timeout=PATIENCE)


@contextmanager
def embedded(packages: Path, state: Path) -> Iterator[Server]:
    """``pyindex serve`` on the folder *packages*; yields once each file there is on its page."""
    port = free_port()
    state.mkdir(parents=True, exist_ok=True)
    log = state.with_name(f"{state.name}.log")
    command: list[str | Path] = [PYINDEX, "serve", packages, "--port", str(port), "--state", state]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{port}/simple/", process, log)
        server = Server(port, packages, state)
        for path in packages.iterdir():
            wait_until(f"{server.url}/simple/{project(path)}/", path.name)
        yield server
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask *process* to end; one that does not is killed, and that is a failure."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def project(path: Path) -> NormalizedName:
    """The project that the wheel or sdist *path* belongs to, by its file name."""
    stem = path.name.split("-")[0] if path.suffix == ".whl" else path.name.rpartition("-")[0]
    return canonicalize_name(stem)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once *url* answers 200; fails with the log if *process* ends or time runs out."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer:\n{log.read_text()}")


def wait_until(url: str, text: str) -> None:
    """Return once the page at *url* holds *text*; fails when time runs out."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with (
            suppress(urllib.error.HTTPError),
            urllib.request.urlopen(url, timeout=PATIENCE) as page,
        ):
            if text in page.read().decode():
                return
        time.sleep(0.05)
    raise AssertionError(f"{url} does not come to show {text}")


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
