"""nginx in front of `pyindex serve`."""

import json
import os
import signal
import socket
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from appliance import spec
from appliance.cli import main
from appliance.errors import PyindexError
from appliance.web import front
from appliance.web.child import Child
from tests.conftest import eventually
from tests.dist import make_wheel
from tests.serving import Serving, serving

pytestmark = pytest.mark.integration

FILE = "/packages/foo-1.0-py2.py3-none-any.whl"


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with one wheel, which no test ends."""
    with serving(tmp_path_factory.mktemp("steady"), options=["--host", "::"]) as running:
        wheel = make_wheel(running.packages, "foo", "1.0")
        assert wheel.name == FILE.rpartition("/")[2]
        eventually(lambda: running.get("/simple/foo/"))
        yield running


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in listed.split()]


def contains(path: Path, text: str) -> bool:
    return text in path.read_text()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nginx_sends_pages_and_files_alone(steady: Serving) -> None:
    """Pages, files and metadata are sent while the application is stopped."""
    commands = {
        pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children(steady.process.pid)
    }
    workers = [
        pid for pid, command in commands.items() if "serve" in command and "nginx" not in command
    ]
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        for path in ("/simple/foo/", FILE, f"{FILE}.metadata"):
            assert steady.get(path)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def test_any_address_is_that_of_both_families(steady: Serving) -> None:
    """With `--host ::` the server answers over IPv6 and IPv4."""
    for address in ("::1", "127.0.0.1"):
        with socket.create_connection((address, steady.port), timeout=60) as connection:
            connection.sendall(b"GET /simple/foo/ HTTP/1.0\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("sent", "expected"), [("https", "https"), ("", "http"), ("gopher", "http")]
)
def test_proxy_on_this_machine_says_the_scheme(steady: Serving, sent: str, expected: str) -> None:
    """Links have the scheme that a proxy in front of it, on the same machine, says."""
    url = f"http://127.0.0.1:{steady.port}/pypi/foo/json"
    request = urllib.request.Request(url, headers={"X-Forwarded-Proto": sent} if sent else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        links = [file["url"] for file in json.load(answer)["urls"]]
    assert [link.partition(":")[0] for link in links] == [expected]


def test_killed_nginx_is_restarted(tmp_path: Path) -> None:
    """The server restarts a killed nginx, whose workers do not keep the port, now or later."""
    with serving(tmp_path) as server:
        (pid,) = server.nginx()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: server.nginx() not in ([], [pid]))
        eventually(lambda: server.get("/simple/"))
        server.process.terminate()
        server.process.wait(timeout=60)
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", server.port)):
            pass


def test_workers_do_not_outlive_their_program() -> None:
    """What a program with workers leaves behind is killed."""
    child = Child(["sh", "-c", "trap '' TERM; sleep 1000 & wait; wait"], has_workers=True)
    child.keep()
    process = child._process
    assert process is not None
    eventually(lambda: len(children(process.pid)) == 1)
    (worker,) = children(process.pid)
    child.stop()
    child.wait(0.1)
    eventually(lambda: not is_running(worker))


def test_port_that_another_has_taken_is_reported(tmp_path: Path) -> None:
    """nginx that cannot listen is known to have failed, so that the server ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken, short_directory() as directory:
        given = spec.for_directory(directory, tmp_path / "state")
        made = front.prepare(given, f"127.0.0.1:{taken.getsockname()[1]}", None)
        made.child.keep()
        eventually(lambda: made.child.has_failed_to_start)
        os.close(made.listener)
        made.end()


def test_client_without_a_host_gets_links_that_work(steady: Serving) -> None:
    """HTTP/1.0 has no Host: links name the address that the server listens on."""
    with socket.create_connection(("127.0.0.1", steady.port), timeout=60) as connection:
        connection.sendall(b"GET /pypi/foo/json HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as answer:
            content = answer.read()
    assert f'"url": "http://[::]:{steady.port}{FILE}"'.encode() in content


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="t") as name:
        yield Path(name)


def test_directories_of_killed_servers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start removes what killed servers have left, and nothing of those that run."""
    with short_directory() as temporary, socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        for name in ("killed", "running"):
            (temporary / f"pyindex-serve-{name}").mkdir()
        listener.bind(str(temporary / "pyindex-serve-running" / "pyindex.sock"))
        listener.listen()
        with socket.socket(socket.AF_UNIX) as ended:
            ended.bind(str(temporary / "pyindex-serve-killed" / "pyindex.sock"))
        made = front.prepare(spec.for_directory(tmp_path, temporary / "state"), "127.0.0.1:1", None)
        os.close(made.listener)
        expected = {temporary / "pyindex-serve-running", made.directory}
        assert set(temporary.glob("pyindex-serve-*")) == expected


def test_access_log_is_no_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe that nobody reads would stop the server before its first word."""
    packages, pipe = tmp_path / "packages", tmp_path / "pipe"
    packages.mkdir()
    os.mkfifo(pipe)
    words = ["serve", str(packages), "--state", str(tmp_path / "state")]
    assert main([*words, "--access-log", str(pipe)]) == 1
    assert "pipe, which nobody may read; name a file" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nginx_ends_with_server(tmp_path: Path, number: int) -> None:
    """nginx ends with the server, whatever signal ends it."""
    with serving(tmp_path) as server:
        (pid,) = server.nginx()
        processes = [pid, *children(pid)]
        server.process.send_signal(number)
        server.process.wait(timeout=60)
        eventually(lambda: not any(map(is_running, processes)))


@pytest.mark.parametrize("log", ["-", "access.log"])
def test_access_log_has_each_request(tmp_path: Path, log: str) -> None:
    """The access log has what nginx answers and what the application answers, as a file or on
    standard output, which is shared with others here; it has no token in the place of a user."""
    path = tmp_path / "log" if log == "-" else tmp_path / log
    with serving(tmp_path, options=["--access-log", log if log == "-" else str(path)]) as server:
        make_wheel(server.packages, "foo", "1.0")
        eventually(lambda: server.get("/simple/foo/"))
        server.get("/pypi/foo/json")
        for asked in ("/simple/foo/", "/pypi/foo/json"):
            line = f'"GET {asked} HTTP/1.1" 200'
            eventually(partial(contains, path, line))
        assert "nginx" in server.log.read_text()
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}/simple/foo/?typed")
        request.add_header("Authorization", "Basic cHlpLXNlY3JldDp4")  # pyi-secret:x
        urllib.request.urlopen(request).close()
        eventually(partial(contains, path, "/simple/foo/?typed"))
        assert " pyi-... [" in path.read_text()
        assert "secret" not in path.read_text()


def program(text: str) -> str:
    return f"#!/bin/sh\n{text}\n"


UNUSABLE = {
    "none": (None, "nginx is not installed"),
    "old": (
        program("echo nginx version: nginx/1.16.1 >&2"),
        "{}: 1.16.1; 1.18 or newer is required",
    ),
    "other program": (program("echo hello"), "{}: no nginx; 1.18 or newer is required"),
    "not a program": ("", "{}: [Errno 8] Exec format error: '{}'"),
    "too few modules": (
        program(
            """if [ "$1" = -v ]; then echo nginx version: nginx/1.22.0 >&2; exit; fi
            echo 'unknown directive "gzip_static"' >&2; exit 1"""
        ),
        'nginx -t: unknown directive "gzip_static"',
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_nginx_is_left_out_with_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Without an nginx that can send the site the reason is given, and nothing is left behind."""
    content, reason = UNUSABLE[case]
    path = tmp_path / "bin" / "nginx"
    path.parent.mkdir()
    if content is not None:
        path.write_text(content)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.setattr(front, "SYSTEM_PROGRAMS", "/nowhere")
    with short_directory() as temporary:
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        with pytest.raises(PyindexError) as error:
            front.prepare(spec.for_directory(path.parent, tmp_path / "state"), "127.0.0.1:1", None)
        assert str(error.value) == reason.replace("{}", str(path))
        assert not list(temporary.iterdir())


def test_server_runs_without_nginx(tmp_path: Path) -> None:
    """Without nginx the server says so and answers by itself."""
    deep = tmp_path / "/".join(["too-long"] * 10)
    deep.mkdir(parents=True)
    with serving(tmp_path, before=["env", f"TMPDIR={deep}"]) as server:
        assert server.nginx() == []
        assert "without nginx, which sends pages" in server.log.read_text()
        assert "set TMPDIR to another directory" in server.log.read_text()
