"""Servers of Pythons and repositories, and the programs that make those."""

import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.integration.clients import CACHE, ROOT, locked
from tests.pack.openpgp import Keys, make_keys

PROGRAMS = ("rpm:rpmbuild", "gnupg:gpg", "apt-utils:apt-ftparchive", "dpkg-dev:dpkg-scanpackages")


class Server:
    """Serves the files below ``root`` at ``url``; ``requested`` are the paths that were asked."""

    def __init__(self, root: Path) -> None:
        self.root, self.requested = root, list[str]()
        requested = self.requested

        class Handler(SimpleHTTPRequestHandler):
            def log_request(self, code: object = "", size: object = "") -> None:
                requested.append(self.path)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = Thread(target=self._http.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    root = tmp_path / "served"
    root.mkdir()
    server = Server(root)
    yield server
    server.close()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory, programs: None) -> Keys:
    """The keys of a repository."""
    return make_keys(tmp_path_factory.mktemp("g"))


@pytest.fixture(scope="session")
def programs() -> None:
    """Programs that make packages and repositories; skips the test without them."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "packages.lock"):
        command = [str(ROOT / "tests" / "system-packages"), *PROGRAMS]
        process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        pytest.skip(f"no packages can be made here: {process.stderr.strip()}")
