"""Programs load the files that were placed: once, in order, and again after a failure."""

from pathlib import Path

import pytest

from appliance.errors import PyindexError
from appliance.host import HostPaths, load_files, rollback
from appliance.host.load import run as run_program
from tests.host.hosts import (
    FIRST,
    SECOND,
    SERVICE,
    SITE,
    SOCKET,
    SUPERVISOR,
    SYSTEMD,
    load,
    new_host,
    run,
)

RELOAD, RESTART = "systemctl daemon-reload", "systemctl restart pyindex.service"
STOP = "systemctl stop pyindex.service pyindex.socket"
UPDATE = ["supervisorctl reread", "supervisorctl update"]
PROGRAMS = ["supervisorctl restart pyindex:*", "supervisorctl status pyindex:*"]
TMPFILES = "systemd-tmpfiles --create /etc/tmpfiles.d/pyindex.conf"
MAIN = "systemctl show --property=MainPID nginx.service"
NGINX = ["nginx -q -t", RELOAD, MAIN, "systemctl reload-or-restart nginx.service"]


@pytest.fixture
def host(tmp_path: Path) -> HostPaths:
    """A host with two releases, whose programs have loaded the files of the first."""
    host = new_host(tmp_path, FIRST, SECOND)
    run(host, FIRST)
    load(host)
    return host


def test_the_first_apply_loads_everything(tmp_path: Path) -> None:
    """A second load runs no program."""
    host = new_host(tmp_path, FIRST)
    run(host, FIRST)
    assert load(host) == [TMPFILES, RELOAD, RESTART, *NGINX]
    assert load(host) == []
    run(host, FIRST)
    assert load(host) == []


# (files of the next apply, what is run then)
CHANGES = [
    ({SITE: "server { listen 81; }\n"}, NGINX),
    ({SERVICE: "# head\n[Service]\nUMask=0\n"}, [RELOAD, RESTART]),
    ({SOCKET: "# another head\n[Socket]\n"}, [RELOAD, RESTART]),
    ({SOCKET: "# head\n[Socket]\nBacklog=7\n"}, [RELOAD, STOP, RESTART]),
]


@pytest.mark.parametrize(("files", "commands"), CHANGES)
def test_programs_load_what_changed(
    host: HostPaths, files: dict[str, str], commands: list[str]
) -> None:
    """The socket closes only if its unit changed below the first line."""
    run(host, FIRST, SYSTEMD | files)
    assert load(host) == commands
    assert load(host) == []


def test_another_release_restarts_the_service(host: HostPaths) -> None:
    """And so does a rollback, even if the service was not restarted in between."""
    run(host, SECOND)
    assert load(host, "service") == [RELOAD, RESTART]
    run(host, FIRST)
    rollback(host)
    rollback(host)
    assert load(host) == [RELOAD, RESTART]


def test_supervisor_takes_over_and_gives_back(host: HostPaths) -> None:
    """Programs that were removed are stopped, before the units start."""
    run(host, FIRST, SUPERVISOR)
    assert load(host, "service") == [RELOAD, *UPDATE, *PROGRAMS]
    run(host, FIRST)
    run(host, FIRST)
    assert load(host, "service") == [RELOAD, *UPDATE, RESTART]
    run(host, SECOND)
    assert load(host, "service") == [RELOAD, RESTART]


def test_a_part_that_fails_stays_pending(host: HostPaths) -> None:
    """The error has the output of the program; the next load runs it again."""
    run(host, FIRST, SYSTEMD | {SITE: "garbage\n"})

    def fail(*command: str, **_options: bool) -> str:
        raise PyindexError(f"{command[0]}: unknown directive")

    with pytest.raises(PyindexError, match="nginx: unknown directive"):
        load_files(host, "nginx", run=fail)
    assert load(host) == NGINX


def test_force_loads_again(host: HostPaths) -> None:
    """As for a certificate, which is no file of the appliance."""
    commands: list[str] = []

    def record(*command: str, **_options: bool) -> str:
        commands.append(" ".join(command))
        return ""

    assert load_files(host, "nginx", force=True, run=record)
    assert commands == NGINX
    assert not load_files(host, "nginx", run=record)


@pytest.mark.parametrize("output", ["ERROR: bad file", "unix:///run/x refused connection"])
def test_supervisor_s_complaints_are_errors(host: HostPaths, output: str) -> None:
    """Its exit code says nothing."""
    run(host, FIRST, SUPERVISOR)
    with pytest.raises(PyindexError, match=f"supervisorctl reread: {output}"):
        load_files(host, "service", run=lambda *_command, **_options: output)


def test_programs_that_do_not_start_are_an_error(
    host: HostPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time, with their status."""
    monkeypatch.setattr("appliance.host.load._START_SECONDS", 0)
    run(host, FIRST, SUPERVISOR)
    with pytest.raises(PyindexError, match="expected two running programs, got FATAL; read /var"):
        load_files(host, "service", run=lambda *_command, **_options: "FATAL\n")


def test_a_program_s_output_is_in_the_error() -> None:
    """The command, and both of its outputs."""
    assert run_program("sh", "-c", "echo good") == "good\n"
    assert run_program("sh", "-c", "echo bad; exit 1", check=False) == "bad\n"
    with pytest.raises(PyindexError, match="sh -c echo bad >&2; exit 1: bad"):
        run_program("sh", "-c", "echo bad >&2; exit 1")
    with pytest.raises(PyindexError, match="pyindex-missing: command not found"):
        run_program("pyindex-missing")
