"""Index under test as processes: the embedded server, and nginx in front of it."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from packaging.utils import NormalizedName, canonicalize_name

from appliance import render, spec
from appliance.index.names import COMPANIONS
from benchmarks.ports import HOST, free_port
from tests.nginx.servers import listens, running, serving

PYINDEX = Path(sys.executable).with_name("pyindex")
PATIENCE = 60


@dataclass(frozen=True)
class Server:
    """Running index: port, package files, and the options that name it to ``pyindex``."""

    port: int
    packages: Path
    source: tuple[str | Path, ...]

    @property
    def url(self) -> str:
        """Return the base URL, without a trailing slash."""
        return f"http://{HOST}:{self.port}"

    def command(self, *arguments: str) -> None:
        """Run ``pyindex *arguments`` on this index."""
        subprocess.run([PYINDEX, *arguments, *self.source], check=True, timeout=PATIENCE)


@contextmanager
def embedded(packages: Path, directory: Path, before: Sequence[str] = ()) -> Iterator[Server]:
    """Run `pyindex serve` on *packages*; yield once each file is on its page.

    *directory* is for state and log; the words *before* precede the command.
    """
    port, state = free_port(), directory / "state"
    serve = [PYINDEX, "serve", packages, "--state", state, "--port", str(port), "--no-nginx"]
    with running([*before, *map(str, serve)], directory / "serve.log", lambda: listens(port)):
        server = Server(port, packages, ("--directory", packages, "--state", state))
        _wait_for_files(server)
        yield server


@contextmanager
def behind_nginx(packages: Path, directory: Path, before: Sequence[str] = ()) -> Iterator[Server]:
    """Run nginx as ``appliance.render`` configures it, before a `pyindex serve` with a spec.

    Yield once each file is on its page; *directory* is for the files of both, *before* as in
    :func:`embedded`.
    """
    port, path = free_port(), directory / "pyindex.yml"
    settings = {
        "url": f"http://{HOST}:{port}",
        "state": str(directory / "state"),
        "indexes": {"main": {"packages": str(packages)}},
        "server": {"port": (own_port := free_port())},
    }
    path.write_text(yaml.safe_dump(settings))
    serve = [*before, str(PYINDEX), "serve", "--spec", str(path), "--no-nginx"]
    with (
        running(serve, directory / "serve.log", lambda: listens(own_port)),
        serving(directory / "nginx", render.nginx(spec.load(path), HOST)),
    ):
        server = Server(port, packages, ("--spec", path))
        _wait_for_files(server)
        yield server


def project(path: Path) -> NormalizedName:
    """Return the project of the wheel or sdist *path*, by its file name."""
    stem = path.name.split("-")[0] if path.suffix == ".whl" else path.name.rpartition("-")[0]
    return canonicalize_name(stem)


def wait_until(url: str, text: str) -> None:
    """Return once the page at *url* contains *text*; fail after a timeout."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(urllib.error.URLError, ConnectionError):
            page = urllib.request.urlopen(url, timeout=PATIENCE)
            with page:
                if text in page.read().decode():
                    return
        time.sleep(0.05)
    raise AssertionError(f"{url} does not come to show {text}")


def _wait_for_files(server: Server) -> None:
    for path in server.packages.iterdir():
        if path.name.endswith(COMPANIONS):
            continue
        wait_until(f"{server.url}/simple/{project(path)}/", path.name)
