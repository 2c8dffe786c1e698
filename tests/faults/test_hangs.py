"""Hanging disks and stopped watchers: served pages, reports, end on a signal."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from appliance.operations.report import STALE_SECONDS
from benchmarks.ports import free_port
from tests.attacks.target import JSON
from tests.conftest import eventually
from tests.dist import make_wheel
from tests.faults.commands import attach, detach
from tests.integration.servers import PYINDEX
from tests.nginx.servers import PATIENCE, Server, listens

pytestmark = pytest.mark.integration
# Calls of a traced process are delayed until long after the end of the test.
DELAY = "delay_enter=3600s"


@pytest.fixture
def serving(strace: None, tmp_path: Path) -> Iterator[tuple[Server, "subprocess.Popen[bytes]"]]:
    """Run `pyindex serve` on a packages directory with one file."""
    packages, port = tmp_path / "packages", free_port()
    packages.mkdir()
    make_wheel(packages, "foo", "1.0")
    state = tmp_path / "state"
    command = [PYINDEX, "serve", packages, "--state", state, "--port", str(port)]
    command += ["--threads", "2", "--no-nginx"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)
    server = Server(port)
    try:
        eventually(lambda: listens(port))
        eventually(lambda: is_served(server) and health(server)["status"] == "ok")
        yield server, process
    finally:
        family = descendants(process.pid)
        process.kill()
        process.wait()
        for pid in family:
            kill(pid)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the children of a process and their descendants."""
    pids = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            pids += [child, *descendants(child)]
    return pids


def watcher(pid: int) -> int:
    """Return the watcher among the processes that `pyindex serve` has started."""
    for child in descendants(pid):
        if b"watch" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
            return child
    raise AssertionError("no watcher")


@contextmanager
def hanging(pids: list[int], names: str, *more: str) -> Iterator[None]:
    """Let the named calls of these processes hang during the context."""
    options = ["-o", "/dev/null", "-e", f"trace={names}", "-e", f"inject={names}:{DELAY}"]
    tracer = attach(pids, ["-f", *options, *more])
    try:
        yield
    finally:
        tracer.kill()  # on SIGTERM strace waits for the calls
        detach(tracer)


def health(server: Server) -> dict[str, object]:
    answer = server.ask("/health")
    assert answer.status in (200, 503)
    body: dict[str, object] = json.loads(answer.body)
    return body


def is_served(server: Server) -> bool:
    return "foo-1.0" in server.ask("/simple/foo/", JSON).body.decode()


def ends(process: "subprocess.Popen[bytes]") -> None:
    """Check that SIGTERM ends the process and all its descendants."""
    family = [process.pid, *descendants(process.pid)]
    process.terminate()
    process.wait(PATIENCE)
    eventually(lambda: not [pid for pid in family if is_running(pid)])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_health_reports_hanging_watcher(
    serving: tuple[Server, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    """Health answers while the watcher hangs on a disk, and reports it after a while."""
    server, process = serving
    with hanging([watcher(process.pid)], "newfstatat,openat,getdents64"):
        make_wheel(tmp_path / "packages", "bar", "1.0")
        for _ in range(20):
            assert is_served(server)
            health(server)
        age(tmp_path / "state" / "watcher.json")
        eventually(lambda: health(server)["status"] != "ok", PATIENCE * 2)


def age(report: Path) -> None:
    """Set an older time in a report, so that it becomes stale soon unless the watcher renews it."""
    content = json.loads(report.read_bytes())
    content["beat"] -= STALE_SECONDS - 20
    report.write_text(json.dumps(content))


def test_server_ends_with_hanging_watcher(
    serving: tuple[Server, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    """The server ends on SIGTERM while its watcher hangs on a disk."""
    _, process = serving
    with hanging([watcher(process.pid)], "newfstatat,openat,getdents64"):
        make_wheel(tmp_path / "packages", "bar", "1.0")
        process.terminate()
        process.wait(PATIENCE)


def test_stopped_watcher_resumes(
    serving: tuple[Server, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    """A watcher publishes files after SIGCONT that arrived while it was stopped."""
    server, process = serving
    stopped = watcher(process.pid)
    os.kill(stopped, signal.SIGSTOP)
    try:
        wheel = make_wheel(tmp_path / "packages", "bar", "1.0")
        assert is_served(server)
        health(server)
    finally:
        os.kill(stopped, signal.SIGCONT)
    eventually(lambda: wheel.name in server.ask("/simple/bar/", JSON).body.decode())
    eventually(lambda: health(server)["status"] == "ok")
    ends(process)


def test_hanging_packages_directory_does_not_block_health(
    serving: tuple[Server, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    """The server answers health requests and serves pages while the packages directory hangs."""
    server, process = serving
    workers = [pid for pid in descendants(process.pid) if pid != watcher(process.pid)]
    only = ("-P", str(tmp_path / "packages"))
    with hanging(workers, "access,faccessat,faccessat2,newfstatat,openat,statfs,statx", *only):
        for _ in range(12):
            health(server)
            assert is_served(server)


def test_server_ends_with_its_processes(
    serving: tuple[Server, "subprocess.Popen[bytes]"],
) -> None:
    """The server ends with all its processes on SIGTERM."""
    ends(serving[1])
