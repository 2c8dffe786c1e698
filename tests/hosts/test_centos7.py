"""The same play on CentOS 7, where its root file system is at hand.

``PYINDEX_CENTOS7_ROOT`` names it (a directory). A host needs a relocatable CPython built for glibc
2.17, ``PYINDEX_CENTOS7_PYTHON`` (a .tar.gz), and, if the tree has no nginx, a folder of .rpm files
with it, ``PYINDEX_CENTOS7_RPMS``.
"""

import hashlib
import os
from pathlib import Path

import pytest

from appliance.render import files
from tests.conftest import eventually
from tests.hosts.control import Control
from tests.hosts.machines import Network, Workstation
from tests.hosts.specs import settings
from tests.render.specs import load

pytestmark = pytest.mark.hosts

NAME = "pypi7.lab.example"

# In the place of both programs: says what it may write to, is ready, and answers.
STAND_IN = b"""\
#!/usr/bin/python2.7
import os, socket, sys, time
place = os.environ.get("NOTIFY_SOCKET")
if place:
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.connect(place.replace("@", chr(0), 1) if place[0] == "@" else place)
    told.send("READY=1")
for folder in ("/srv/pyindex/packages", "/srv/pyindex/staging", "/var/lib/pyindex", "/etc"):
    sys.stderr.write("%s %s\\n" % (folder, os.statvfs(folder).f_flag & 1 and "shut" or "open"))
if os.environ.get("LISTEN_FDS"):
    listening = socket.fromfd(3, socket.AF_INET, socket.SOCK_STREAM)
    while True:
        client = listening.accept()[0]
        client.recv(1000)
        client.send("HTTP/1.0 200 OK" + 2 * chr(13) + 2 * chr(10) + "here")
        client.close()
while "watch" in sys.argv:
    time.sleep(9)
"""


def given(name: str) -> Path | None:
    """What an environment variable names, or nothing."""
    value = os.environ.get(name)
    return Path(value).absolute() if value else None


def test_a_bare_centos_7_becomes_an_index(
    network: Network, centos: Path, control: Control, workstation: Workstation, tmp_path: Path
) -> None:
    """Bare to verified, a second run changes nothing, and an old pip installs from it."""
    python, rpms = given("PYINDEX_CENTOS7_PYTHON"), given("PYINDEX_CENTOS7_RPMS")
    if python is None:
        pytest.skip("PYINDEX_CENTOS7_PYTHON does not name an archive of a CPython for glibc 2.17")
    if rpms is None and not (centos / "usr/sbin/nginx").exists():
        pytest.skip("the tree has no nginx; PYINDEX_CENTOS7_RPMS does not name a folder with one")
    spec = settings(tmp_path, NAME, "centos-7")
    variables = {
        "pyindex_spec": str(spec),
        "pyindex_cache": str(tmp_path / "cache"),
        "pyindex_os_packages": str(rpms or ""),
        "pyindex_python_archive": str(python),
        "pyindex_python_sha256": hashlib.sha256(python.read_bytes()).hexdigest(),
    }
    with network.machine("centos", centos, NAME) as machine:
        first = control.play(machine, variables=variables)
        second = control.play(machine, variables=variables)
        assert first.recap["centos"]["failed"] == second.recap["centos"]["changed"] == 0
        environment = workstation.environment("pip-18.1-py2.7")
        index = ("--index-url", f"http://{NAME}/simple/", "--trusted-host", NAME)
        environment.run("-m", "pip", "install", *index, "pyindex-probe")
        machine.reboot()
        wanted = ("curl", "-sf", f"http://{NAME}/pypi/pyindex-probe/json")
        eventually(lambda: "pyindex-probe" in workstation.run(*wanted, code=None))


def test_its_systemd_understands_the_units(network: Network, centos: Path, tmp_path: Path) -> None:
    """systemd 219 knows every directive, shuts what is to be shut, and does what it is told."""
    with network.machine("centos", centos, NAME) as machine:
        for user in ("nginx", "pyindex"):
            machine.run("useradd", "--system", user)
        for folder in ("/srv/pyindex/packages", "/srv/pyindex/staging", "/var/lib/pyindex"):
            machine.run("install", "-d", "-o", "pyindex", folder)
        for program in ("gunicorn", "pyindex"):
            machine.put(STAND_IN, f"/opt/pyindex/current/bin/{program}", 0o755)
        for file in files(load("centos-7-full", tmp_path)):
            machine.put(file.content.encode(), file.path, file.mode)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "pyindex.service", "pyindex-backup.timer")
        for verb, state in (("start", "active"), ("restart", "active"), ("stop", "inactive")):
            machine.run("systemctl", verb, "pyindex")
            if state == "active":
                assert machine.run("curl", "-s", "http://127.0.0.1:8080/") == "here"
            # The socket is closed a moment after the service.
            units = ("pyindex", "pyindex.socket", "pyindex-watch")
            ask = ("systemctl", "is-active", *units)
            eventually(lambda: machine.run(*ask, code=None).split() == [state] * 3)  # noqa: B023
        machine.run("systemctl", "start", "pyindex-backup")
        said = machine.run("journalctl", "--no-pager")
        assert "Unknown" not in said
        for program, packages in (("gunicorn", "open"), ("pyindex", "shut")):
            assert f"{program}[" in said
            lines = [line for line in said.splitlines() if f" {program}[" in line]
            assert any(line.endswith(f"/srv/pyindex/packages {packages}") for line in lines)
            assert not any(line.endswith(("/staging open", "/etc open")) for line in lines)
