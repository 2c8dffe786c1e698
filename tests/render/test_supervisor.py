"""Rendered programs under supervisor 4 and under 3.4.0 on Python 2.7."""

import getpass
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from appliance import render, spec
from appliance.render import escapes
from benchmarks.ports import free_port
from tests.conftest import eventually
from tests.dist import make_wheel
from tests.integration.clients import Client, build
from tests.render import specs

BIN = Path(sys.executable).parent
SUPERVISORS = (
    # supervisor uses pkg_resources, which setuptools 82 removed.
    Client("supervisor-4", "3.11", ("supervisor>=4.2,<5", "setuptools<82")),
    Client("supervisor-3.4.0-py2.7", "2.7", ("supervisor==3.4.0",)),
)
AROUND = """\
[unix_http_server]
file={0}/control
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{0}/control
[supervisord]
logfile={0}/supervisord.log
pidfile={0}/supervisord.pid
[include]
files={0}/pyindex.conf
"""
READ = """\
import sys
from supervisor.options import ServerOptions
options = ServerOptions()
options.realize(['-c', sys.argv[1]])
for program in options.process_group_configs[0].process_configs:
    print(program.command)
    print(program.environment['VALUE'])
"""
HOSTILE = ("two words", "100%(here)s", "a;b#c", "a,b=c", "$HOME", "größe")
both_versions = pytest.mark.parametrize("client", SUPERVISORS, ids=lambda client: client.name)


def rendered(made: spec.Spec, prefix: str) -> str:
    (text,) = (file.content for file in render.files(made) if file.path.startswith(prefix))
    return text


class Supervised:
    """supervisord with the rendered programs, whose paths are all in one directory."""

    def __init__(self, client: Client, directory: Path, bind: str) -> None:
        self.directory, self._bin = directory, build(client) / "bin"
        for name in ("packages", "logs", "run"):
            (directory / name).mkdir()
        self._port = free_port()
        self._socket = str(directory / "run/s") if bind == "socket" else None
        data = {
            "url": "http://pypi.lab.example",
            "state": str(directory / "state"),
            "indexes": {"main": {"packages": str(directory / "packages")}},
            "server": {"manager": "supervisor", "bind": bind, "port": self._port},
            "host": {"system": "debian-12"},
        }
        (directory / "pyindex.yml").write_text(yaml.safe_dump(data))
        text = rendered(spec.load(directory / "pyindex.yml"), "/etc/supervisor")
        for original, local in (
            (render.SOCKET, str(directory / "run/s")),
            (f"{render.RELEASE}/bin", str(BIN)),
            (render.LOGS, str(directory / "logs")),
            (render.SETTINGS, str(directory)),
            (f"user={render.USER}", f"user={getpass.getuser()}"),
        ):
            text = text.replace(original, local)
        (directory / "pyindex.conf").write_text(text)
        (directory / "supervisord.conf").write_text(AROUND.format(directory))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run supervisord during the context."""
        command = self._command("supervisord", "--nodaemon")
        with (self.directory / "console").open("wb") as console:
            process = subprocess.Popen(command, stdout=console, stderr=console, cwd=self.directory)
        try:
            yield
        finally:
            process.terminate()
            process.wait(120)

    def control(self, *arguments: str) -> str:
        """Return the output of supervisorctl; the exit code of 3.4 is always 0."""
        command = self._command("supervisorctl", *arguments)
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [
            str(self._bin / program),
            "-c",
            str(self.directory / "supervisord.conf"),
            *arguments,
        ]

    def pids(self) -> dict[str, int]:
        """Return the process ids of the running programs by name."""
        matches = re.findall(r"^(\S+)\s+RUNNING\s+pid (\d+)", self.control("status"), re.MULTILINE)
        return {name: int(pid) for name, pid in matches}

    def status(self, path: str = "/health") -> int | None:
        """Return the status of an answer, or ``None`` if there is none."""
        try:
            with self._connected() as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
                return int(connection.makefile("rb").readline().split()[1])
        except (OSError, IndexError):
            return None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            return socket.create_connection(("127.0.0.1", self._port))
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._socket)
        return connection


@pytest.mark.integration
@pytest.mark.parametrize("bind", ["socket", "port"])
@both_versions
def test_supervisor_restarts_programs(client: Client, bind: str, tmp_path: Path) -> None:
    """supervisor starts the programs as a group, restarts killed ones, and stops all processes."""
    supervised = Supervised(client, tmp_path, bind)
    server, watch = "pyindex:pyindex-server", "pyindex:pyindex-watch"
    log = tmp_path / "logs/pyindex-server.log"
    with supervised.running():
        eventually(lambda: supervised.status() == 200 and len(supervised.pids()) == 2)
        make_wheel(tmp_path / "packages", "first", "1.0")
        eventually(lambda: supervised.status("/simple/first/") == 200)

        before = supervised.pids()
        os.kill(before[server], signal.SIGKILL)
        os.kill(before[watch], signal.SIGKILL)
        make_wheel(tmp_path / "packages", "second", "1.0")
        eventually(lambda: supervised.status("/simple/second/") == 200)

        def restarted() -> bool:
            """Return whether both programs run and the new server listens on the address."""
            pids = supervised.pids()
            is_logged = f"({pids.get(server)})" in log.read_text()
            return len(pids) == 2 and is_logged and not set(pids.values()) & set(before.values())

        eventually(restarted)
        after = supervised.pids()
        assert after.keys() == before.keys() == {server, watch}

        supervised.control("signal", "HUP", server)
        assert supervised.status() == 200
        assert supervised.pids() == after

        supervised.control("stop", "pyindex:*")
        assert supervised.pids() == {}
        eventually(lambda: not any(alive(group) for group in after.values()))
        assert "shutting down" in log.read_text().lower()
    assert supervised.status() is None


@pytest.mark.integration
@both_versions
def test_programs_that_cannot_start_are_tried_again(client: Client, tmp_path: Path) -> None:
    """supervisor waits between the tries, and the programs run when the cause is gone."""
    supervised = Supervised(client, tmp_path, "port")
    (tmp_path / "pyindex.yml").rename(tmp_path / "away.yml")
    with supervised.running():
        eventually(lambda: "BACKOFF" in supervised.control("status"))
        (tmp_path / "away.yml").rename(tmp_path / "pyindex.yml")
        eventually(lambda: supervised.status() == 200 and len(supervised.pids()) == 2)


def alive(group: int) -> bool:
    """Return whether the process group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.integration
@both_versions
def test_supervisor_reads_escaped_values(client: Client, tmp_path: Path) -> None:
    """supervisor reads each escaped value as one word, in a command line and in the environment."""
    programs = "".join(
        f"[program:p{number}]\ncommand=/bin/echo {escapes.supervisor(value)}\n"
        f'environment=VALUE={escapes.supervisor(value)},OTHER="1"\n'
        for number, value in enumerate(HOSTILE)
    )
    names = ",".join(f"p{number}" for number in range(len(HOSTILE)))
    path = tmp_path / "supervisord.conf"
    path.write_text(
        f"[supervisord]\nlogfile={tmp_path}/log\n[group:g]\nprograms={names}\n{programs}"
    )
    done = subprocess.run(
        [build(client) / "bin/python", "-c", READ, path],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    lines = done.stdout.splitlines()
    assert lines == [line for value in HOSTILE for line in (f'/bin/echo "{value}"', value)]


@pytest.mark.parametrize("name", ["debian-12-supervisor", "centos-7-supervisor"])
def test_environment_is_same_for_all_managers(name: str, tmp_path: Path) -> None:
    """Programs have the same environment under systemd, supervisor and cron."""
    made = specs.load(name, tmp_path)
    expected = dict(
        re.findall(r"^(\w+)=(.*)$", rendered(made, "/etc/pyindex/environment"), re.MULTILINE)
    )
    conf = rendered(made, "/etc/supervisor")
    for line in re.findall(r"^environment=(.*)$", conf, re.MULTILINE):
        assert dict(re.findall(r'(\w+)="([^"]*)"', line)) == expected
    cron = rendered(made, "/etc/cron.d/pyindex")
    assert dict(re.findall(r"^(PY\w+)=(.*)$", cron, re.MULTILINE)) == expected
    assert "%" not in cron  # which ends a command in a crontab
