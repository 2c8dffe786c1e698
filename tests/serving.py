"""`pyindex serve` as a process, for tests."""

import http.client
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ports import free_port
from tests.conftest import eventually

PYINDEX = Path(sys.executable).with_name("pyindex")


class Serving:
    """Running `pyindex serve`."""

    def __init__(
        self,
        root: Path,
        *source: object,
        port: int,
        before: Sequence[str],
        options: Sequence[str] = (),
        makes: bool = True,
    ) -> None:
        self.packages, self.state, self.port = root / "packages", root / "state", port
        if makes:
            self.packages.mkdir(exist_ok=True)
        self.log = root / "log"
        what = source or (self.packages, "--state", self.state)
        self._watch = f"appliance watch .*{root}"
        command = [*before, PYINDEX, "serve", *what, "--port", port, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)

    def get(self, path: str) -> bytes | None:
        """Return the body of an answer, or ``None`` if there is no successful one."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=60) as answer:
                return bytes(answer.read())
        except (OSError, http.client.HTTPException):
            return None

    def watchers(self) -> list[int]:
        """Return the process ids of the watchers."""
        listed = subprocess.run(
            ["pgrep", "-f", self._watch],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(line) for line in listed.stdout.split()]

    def nginx(self) -> list[int]:
        """Return the process ids of nginx's main processes that this server has started."""
        listed = subprocess.run(
            ["pgrep", "-f", "-P", str(self.process.pid), "nginx: master"],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(line) for line in listed.stdout.split()]


@contextmanager
def serving(
    root: Path,
    *source: object,
    port: int | None = None,
    before: Sequence[str] = (),
    options: Sequence[str] = (),
    makes: bool = True,
) -> Iterator[Serving]:
    """Run `pyindex serve` during the context on ``root/packages``, created if ``makes``, or on
    ``source``, after the words ``before``."""
    port = port or free_port()
    server = Serving(root, *source, port=port, before=before, options=options, makes=makes)
    try:
        eventually(lambda: server.get("/health" if makes else "/simple/"))
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        eventually(lambda: not server.watchers())
