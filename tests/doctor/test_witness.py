"""Clients that install through the proxy of the doctor."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.doctor import witness
from appliance.doctor.finding import Finding
from benchmarks.ports import free_port

PROGRAM = """
import sys
from appliance.doctor import witness
witness._SECONDS = float(sys.argv[2])
for finding in witness.install(sys.argv[1], "foo==1.0", {"client": sys.argv[3:]}, ()):
    print(finding.text)
"""
PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]


def installed(index: str, seconds: float, *command: str) -> subprocess.CompletedProcess[str]:
    """Run the installation with a client ``command`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, index, str(seconds), *command],
        env={"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.integration
def test_silent_index_ends_with_the_time_limit() -> None:
    """An index that accepts connections and never answers is left after the time limit, and
    nothing but the finding is printed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = installed(f"http://127.0.0.1:{server.getsockname()[1]}/simple/", 3, *PIP)
    assert ended.stdout.startswith("cannot install foo==1.0: not done after 3 s")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_processes_of_a_client_end_with_it(tmp_path: Path) -> None:
    """What a client has started does not outlive the time limit."""
    file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {file}; wait"
    ended = installed("http://127.0.0.1:9/simple/", 1, "sh", "-c", script)
    assert ended.stdout == "cannot install foo==1.0: not done after 1 s\n"
    status = Path(f"/proc/{file.read_text().strip()}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("defaulted", "text"),
    [
        ((), "also asks 127.0.0.1:{other}; remove them from its settings"),
        (("pip",), "also asks 127.0.0.1:{other}, its default; set the index as said above"),
    ],
)
def test_other_host_is_named_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, defaulted: tuple[str, ...], text: str
) -> None:
    """Another host is the default of a client that has no settings, or in its settings."""
    other = free_port()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{other}/simple/")
    found = list(witness.install("http://127.0.0.1:9/", "foo==1.0", {"pip": PIP}, defaulted))
    assert found == [Finding("problem", "pip", text.format(other=other))]


def test_clients_do_not_retry() -> None:
    """pip is told to ask once, as a host that is refused stays so."""
    assert re.search(r"--retries 0\b", " ".join(witness.clients()["pip"]))
