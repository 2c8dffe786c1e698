"""``pyindex serve`` as a process: what it starts, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests.conftest import eventually
from tests.dist import make_wheel

PYINDEX = Path(sys.executable).with_name("pyindex")


class Serving:
    """A running ``pyindex serve`` on a folder."""

    def __init__(self, root: Path) -> None:
        self.packages, self.state = root / "packages", root / "state"
        self.packages.mkdir(exist_ok=True)
        self.port = free_port()
        self.log = root / "log"
        command = [PYINDEX, "serve", self.packages, "--state", self.state, "--port", self.port]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)

    def get(self, path: str) -> bytes | None:
        """The body of an answer, ``None`` if there is none that is good."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=60) as answer:
                return bytes(answer.read())
        except OSError:
            return None

    def watchers(self) -> list[int]:
        """The processes that follow the folder."""
        found = subprocess.run(
            ["pgrep", "-f", f"appliance watch {self.packages}"],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(line) for line in found.stdout.split()]


@contextmanager
def serving(root: Path) -> Iterator[Serving]:
    server = Serving(root)
    try:
        eventually(lambda: server.get("/health"))
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        eventually(lambda: not server.watchers())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as found:
        yield found


def test_a_folder_is_served_and_followed(server: Serving) -> None:
    """Files that are there and files that come are served, with nothing but a folder given."""
    path = make_wheel(server.packages, "foo", "1.0")
    eventually(lambda: server.get("/simple/foo/"))
    assert server.get(f"/packages/{path.name}") == path.read_bytes()
    assert server.get(f"/packages/{path.name}.metadata")
    health = server.get("/health")
    assert health is not None
    eventually(lambda: json.loads(server.get("/health") or "{}").get("status") == "ok")


def test_a_killed_watch_is_started_again(server: Serving) -> None:
    """Files are followed again soon after the process that follows them was killed."""
    eventually(server.watchers)
    for pid in server.watchers():
        os.kill(pid, signal.SIGKILL)
    make_wheel(server.packages, "foo", "1.0")
    eventually(lambda: server.get("/simple/foo/"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running(server: Serving, number: int) -> None:
    """However gunicorn ends, the watch ends with it."""
    eventually(server.watchers)
    server.process.send_signal(number)
    server.process.wait(timeout=60)
    eventually(lambda: not server.watchers())


def test_a_second_start_shows_the_same(tmp_path: Path) -> None:
    """What was published is there from the first moment of the next start."""
    with serving(tmp_path) as first:
        make_wheel(first.packages, "foo", "1.0")
        eventually(lambda: first.get("/simple/foo/"))
        page = first.get("/simple/foo/")
    with serving(tmp_path) as second:
        assert second.get("/simple/foo/") == page
    assert page is not None


WRONG = [
    (["serve", "/nowhere"], 1, "pyindex: '/nowhere': No such file"),
    (["serve", "-c", "/nowhere.yml"], 1, "/nowhere.yml: no such file; .* to start from"),
    (["serve", ".", "-c", "x.yml"], 1, "give a directory or a spec, not both"),
    (["serve", "--state", "x"], 1, "--state goes with a directory"),
    (["status"], 1, r"no spec at pyindex.yml or .*: give a directory, -c SPEC"),
    (["status", "-d", "."], 1, "start the index once to make it"),
    (["yank", "-d", ".", "--index", "nix", "x"], 1, "no index 'nix'; the spec has main"),
    (["serve", ".", "--port", "99999"], 2, "'99999' is not a port: wanted 0 to 65535"),
    (["watch", ".", "--once", "--state", "/dev/null"], 1, "pyindex: .*/dev/null.*irectory"),
    (["nix"], 2, "invalid choice"),
    ([], 2, "required: COMMAND"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_wrong_usage_is_told_in_a_line(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    """What, where and what to do, without a traceback."""
    folder = tmp_path / "folder"
    folder.mkdir()
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}
    environment.pop("PYINDEX_SPEC", None)
    ended = subprocess.run(
        [PYINDEX, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code
    assert re.search(message, ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
