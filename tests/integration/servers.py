"""The index under test, as processes of its own: the embedded server, and nginx in front of it."""

import os
import shutil
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
from benchmarks.ports import HOST, free_port

PYINDEX = Path(sys.executable).with_name("pyindex")
PATIENCE = 60
NGINX = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    {temporary}
    {site}
}}
"""


@dataclass(frozen=True)
class Server:
    """A running index: its port, its package files, the options that name it to ``pyindex``."""

    port: int
    packages: Path
    source: tuple[str | Path, ...]

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{HOST}:{self.port}"

    def command(self, *arguments: str) -> None:
        """Run ``pyindex *arguments`` on this index."""
        subprocess.run([PYINDEX, *arguments, *self.source], check=True, timeout=PATIENCE)


@contextmanager
def embedded(packages: Path, folder: Path) -> Iterator[Server]:
    """``pyindex serve`` on *packages*; yields once each file there is on its page.

    *folder* is for state and log.
    """
    port, state = free_port(), folder / "state"
    serve = (PYINDEX, "serve", packages, "--state", state, "--port", str(port))
    with _running(serve, folder / "serve.log"):
        server = Server(port, packages, ("--directory", packages, "--state", state))
        _wait_for_files(server)
        yield server


@contextmanager
def behind_nginx(packages: Path, folder: Path) -> Iterator[Server]:
    """nginx as ``appliance.render`` sets it up, before a ``pyindex serve`` with a spec.

    Yields once each file is on its page; *folder* is for all that the two write.
    """
    port, path = free_port(), folder / "pyindex.yml"
    settings = {
        "url": f"http://{HOST}:{port}",
        "state": str(folder / "state"),
        "indexes": {"main": {"packages": str(packages)}},
        "server": {"port": free_port()},
    }
    path.write_text(yaml.safe_dump(settings))
    nginx = (_nginx(), "-c", _nginx_settings(render.nginx(spec.load(path), HOST), folder))
    with (
        _running((PYINDEX, "serve", "--spec", path), folder / "serve.log"),
        _running(nginx, folder / "nginx.log"),
    ):
        server = Server(port, packages, ("--spec", path))
        _wait_for_files(server)
        yield server


def project(path: Path) -> NormalizedName:
    """The project that the wheel or sdist *path* belongs to, by its file name."""
    stem = path.name.split("-")[0] if path.suffix == ".whl" else path.name.rpartition("-")[0]
    return canonicalize_name(stem)


def wait_until(url: str, text: str) -> None:
    """Return once the page at *url* holds *text*; fails when time runs out."""
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
        wait_until(f"{server.url}/simple/{project(path)}/", path.name)


@contextmanager
def _running(command: Sequence[str | Path], log: Path) -> Iterator[None]:
    """Run *command* meanwhile; when the caller fails, what it wrote is shown too."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    except BaseException:
        print(f"{command}:\n{log.read_text()}")
        raise
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _nginx() -> str:
    places = os.environ.get("PATH", os.defpath) + ":/usr/sbin"
    found = shutil.which("nginx", path=places)
    assert found, "nginx is not installed here: run tests/system-packages nginx"
    return found


def _nginx_settings(site: str, folder: Path) -> Path:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    path = folder / "nginx.conf"
    path.write_text(
        NGINX.format(
            folder=folder,
            # Else its workers become another user, for whom pytest's folders are closed.
            user="user root;" if os.geteuid() == 0 else "",
            temporary=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
            site=site,
        )
    )
    return path
