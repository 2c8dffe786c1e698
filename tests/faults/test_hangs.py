"""What hangs: a disk that does not answer, a watcher that is stopped. The rest goes on, says so,
and ends when it is told to."""

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
# Long after the test has ended: the calls of a process that is traced begin that much later.
DELAY = "delay_enter=3600s"


@pytest.fixture
def serving(strace: None, tmp_path: Path) -> Iterator[tuple[Server, "subprocess.Popen[bytes]"]]:
    """``pyindex serve`` on a packages directory with one file."""
    packages, port = tmp_path / "packages", free_port()
    packages.mkdir()
    make_wheel(packages, "foo", "1.0")
    state = tmp_path / "state"
    command = [PYINDEX, "serve", packages, "--state", state, "--port", str(port), "--threads", "2"]
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
    """The processes that a process has started, and those that they have."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def watcher(pid: int) -> int:
    """The watcher among the processes that ``serve`` has started."""
    for child in descendants(pid):
        if b"watch" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
            return child
    raise AssertionError("no watcher")


@contextmanager
def hanging(pids: list[int], names: str, *more: str) -> Iterator[None]:
    """Let the named calls of these processes not come back until the block ends."""
    options = ["-o", "/dev/null", "-e", f"trace={names}", "-e", f"inject={names}:{DELAY}"]
    tracer = attach(pids, ["-f", *options, *more])
    try:
        yield
    finally:
        tracer.kill()  # it would wait for the calls
        detach(tracer)


def health(server: Server) -> dict[str, object]:
    answer = server.ask("/health")
    assert answer.status in (200, 503)
    found: dict[str, object] = json.loads(answer.body)
    return found


def is_served(server: Server) -> bool:
    return "foo-1.0" in server.ask("/simple/foo/", JSON).body.decode()


def ends(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM ends it, and all that it has started."""
    family = [process.pid, *descendants(process.pid)]
    process.terminate()
    process.wait(PATIENCE)
    eventually(lambda: not [pid for pid in family if is_running(pid)])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_health_tells_of_a_watcher_whose_disk_hangs(
    serving: tuple[Server, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    """Pages are served and ``/health`` answers; after a while it says that nothing moves."""
    server, process = serving
    with hanging([watcher(process.pid)], "newfstatat,openat,getdents64"):
        make_wheel(tmp_path / "packages", "bar", "1.0")
        for _ in range(20):
            assert is_served(server)
            health(server)
        age(tmp_path / "state" / "watcher.json")
        eventually(lambda: health(server)["status"] != "ok", PATIENCE * 2)


def age(report: Path) -> None:
    """Make a report old, so that there is not all of the time to wait: a watcher that is alive
    would write another long before this one is too old."""
    found = json.loads(report.read_bytes())
    found["beat"] -= STALE_SECONDS - 20
    report.write_text(json.dumps(found))


def test_a_watcher_whose_disk_hangs_ends_with_its_server(
    serving: tuple[Server, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    """Whoever stops the service does not wait for the disk."""
    _, process = serving
    with hanging([watcher(process.pid)], "newfstatat,openat,getdents64"):
        make_wheel(tmp_path / "packages", "bar", "1.0")
        process.terminate()
        process.wait(PATIENCE)


def test_a_stopped_watcher_goes_on(
    serving: tuple[Server, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    """SIGSTOP is no end: what waited comes in when it goes on; ``/health`` answers meanwhile."""
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


def test_a_packages_directory_that_hangs_takes_no_health_along(
    serving: tuple[Server, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    """However often ``/health`` is asked while the disk hangs, pages are served."""
    server, process = serving
    workers = [pid for pid in descendants(process.pid) if pid != watcher(process.pid)]
    only = ("-P", str(tmp_path / "packages"))
    with hanging(workers, "access,faccessat,faccessat2,newfstatat,openat,statfs,statx", *only):
        for _ in range(12):
            health(server)
            assert is_served(server)


def test_a_server_ends_with_all_that_it_started(
    serving: tuple[Server, "subprocess.Popen[bytes]"],
) -> None:
    """SIGTERM ends it always."""
    ends(serving[1])
