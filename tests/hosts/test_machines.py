"""The machines that the other tests boot are what they are taken for."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.hosts.control import PLAYBOOKS, Control, recap
from tests.hosts.machines import Machine, Network, Workstation, taken
from tests.hosts.machines import network as another_network
from tests.integration.clients import ROOT

pytestmark = pytest.mark.hosts

OUTSIDE = "192.0.2.1"  # RFC 5737: an address that is nobody's


def test_a_host_is_a_bare_debian(machine: Machine) -> None:
    """systemd is process 1, all units are well, and nothing that we need is there yet."""
    assert machine.run("cat", "/proc/1/comm") == "systemd\n"
    assert machine.run("systemctl", "is-system-running") == "running\n"
    assert machine.run("hostname") == "host\n"
    assert 'VERSION_ID="12"' in machine.run("cat", "/etc/os-release")
    for program in ("nginx", "supervisord", "pip", "pip3", "gcc", "curl"):
        machine.run("which", program, code=1)


def test_no_route_leads_out_of_a_host(machine: Machine) -> None:
    """A host reaches its own network, knows no name server, and has no source of packages."""
    assert machine.run("ip", "route", "show", "default") == ""
    assert "unreachable" in machine.run("ip", "route", "get", OUTSIDE, code=2)
    assert machine.run("cat", "/etc/resolv.conf") == ""
    assert machine.run("apt-cache", "search", "nginx") == ""


def test_no_route_leads_out_of_a_workstation(workstation: Workstation) -> None:
    """A workstation reaches its own network alone."""
    assert "unreachable" in workstation.run("ip", "route", "get", OUTSIDE, code=2)
    unknown = workstation.run("getent", "hosts", "example.org", code=2)
    assert unknown == ""


def test_a_file_is_put_where_and_how_it_was_said(machine: Machine, tmp_path: Path) -> None:
    """Any bytes arrive, from memory or from a file, in folders that need not be there."""
    content = bytes(range(256))
    (tmp_path / "file").write_bytes(content)
    machine.put(content, "/srv/some where/it's", 0o640)
    machine.put(tmp_path / "file", "/srv/other")
    assert (machine.root / "srv/some where/it's").read_bytes() == content
    assert (machine.root / "srv/other").read_bytes() == content
    assert machine.run("stat", "-c", "%a %U", "/srv/some where/it's", "/srv/other") == (
        "640 root\n644 root\n"
    )


@pytest.mark.parametrize("again", ["reboot", "kill and boot", "stop and boot"])
def test_a_host_comes_back(machine: Machine, again: str) -> None:
    """However it went down, a host boots again with its files, and as a new boot."""
    started = "systemctl", "show", "-P", "UserspaceTimestampMonotonic"
    machine.put(b"kept", "/var/lib/kept")
    before = machine.run(*started)
    for step in again.split(" and "):
        getattr(machine, step)()
    assert machine.run("cat", "/var/lib/kept") == "kept"
    assert machine.run(*started) != before


def test_a_host_goes_on_where_another_was(network: Network, machine: Machine) -> None:
    """A stopped host's files are the tree of another one, by another name and address."""
    machine.put(b"kept", "/var/lib/kept")
    machine.run("rm", "-r", "/etc/cron.d", "/etc/cron.daily")
    machine.run("mkdir", "/etc/cron.daily")
    machine.stop()
    with network.machine("second", machine, "second.lab.example") as second:
        assert second.run("cat", "/var/lib/kept") == "kept"
        assert second.run("ls", "-A", "/etc/cron.daily") == ""
        second.run("ls", "/etc/cron.d", code=2)
        assert second.run("hostname") == "second\n"
        assert second.address != machine.address
        assert second.run("getent", "hosts", "second.lab.example").split()[0] == second.address


def test_machines_see_one_another(
    network: Network, debian: Path, machine: Machine, workstation: Workstation
) -> None:
    """Two hosts, a workstation and this machine reach one another; names lead there, too."""
    greeting = (
        "python3",
        "-c",
        "import sys, socket; print(socket.create_connection((sys.argv[1], 22)).recv(3))",
    )
    with network.machine("second", debian, "second.lab.example") as second:
        for here, address in (
            (machine, second.address),
            (second, machine.address),
            (workstation, second.address),
            (workstation, "pypi.lab.example"),
            (workstation, "second.lab.example"),
        ):
            assert here.run(*greeting, address) == "b'SSH'\n", (here.name, address)
        with socket.create_connection((second.address, 22)) as connection:
            assert connection.recv(3) == b"SSH"
    unknown = workstation.run("getent", "hosts", "second.lab.example", code=2)
    assert unknown == ""


def test_a_workstation_has_real_clients(workstation: Workstation) -> None:
    """An old pip and uv run there as they do in the other tests."""
    old = workstation.environment("pip-18.1-py2.7")
    assert "pip 18.1" in old.run("-m", "pip", "--version")
    assert "python 2.7" in old.run("-m", "pip", "--version")
    assert workstation.environment("uv").run("-m", "uv", "--version").startswith("uv ")


def test_packages_are_carried(machine: Machine, debian_packages: Path) -> None:
    """nginx and supervisor are installed from the folder of packages alone."""
    for package in debian_packages.iterdir():
        machine.put(package, f"/root/debs/{package.name}")
    machine.run("sh", "-c", "DEBIAN_FRONTEND=noninteractive dpkg --install /root/debs/*.deb")
    for unit in ("nginx", "supervisor"):
        assert machine.run("systemctl", "is-active", unit) == "active\n"


def test_ansible_reaches_hosts(
    network: Network, debian: Path, machine: Machine, control: Control, tmp_path: Path
) -> None:
    """A play runs on several hosts over ssh; what changed and what failed is told for each."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        "- hosts: pyindex\n"
        "  tasks:\n"
        "    - ansible.builtin.copy: {content: kept, dest: /etc/kept, mode: '0644'}\n"
        "    - ansible.posix.sysctl: {name: vm.swappiness, value: '1', reload: false}\n"
        "    - ansible.builtin.command: 'false'\n"
        "      when: fails\n"
    )
    with network.machine("second", debian) as second:
        hosts = (machine, second)
        first = control.play(*hosts, playbook=str(playbook), variables={"fails": False})
        again = control.play(*hosts, playbook=str(playbook), variables={"fails": False})
        broken = control.play(machine, playbook=str(playbook), variables={"fails": True}, code=2)
    assert {name: counts["changed"] for name, counts in first.recap.items()} == {
        "host": 2,
        "second": 2,
    }
    assert [counts["changed"] for counts in again.recap.values()] == [0, 0]
    assert broken.recap["host"]["failed"] == 1
    assert machine.run("cat", "/etc/kept") == "kept"


def test_a_centos_7_is_a_host_like_others(
    network: Network, centos: Path, control: Control, tmp_path: Path
) -> None:
    """It boots with its own systemd, comes back, and ansible reaches its Python 2.7."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        "- hosts: pyindex\n"
        "  tasks:\n"
        "    - ansible.builtin.copy: {content: kept, dest: /etc/kept, mode: '0644'}\n"
        "    - ansible.builtin.systemd_service: {daemon_reload: true}\n"
    )
    with network.machine("centos", centos, "pypi.lab.example") as machine:
        assert machine.run("systemctl", "--version").startswith("systemd 219")
        played = control.play(machine, playbook=str(playbook))
        assert played.recap["centos"]["changed"] == 1
        machine.reboot()
        assert machine.run("cat", "/etc/kept") == "kept"


@pytest.mark.parametrize("ending", ["end", "SIGINT", "SIGKILL"])
def test_nothing_is_left(ending: str, workstation: Workstation, debian: Path) -> None:
    """However another run ends, all of it goes, with the next run at the latest; nothing else."""
    command = (sys.executable, "-c", RUN, str(debian))
    # Its standard error is ours: pytest shows it with a failure.
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) as run:
        assert run.stdout is not None
        bridge = run.stdout.readline().strip()
        assert bridge, "the other run did not get as far as its network"
        assert len(_traces(bridge)) > 5
        if ending != "end":
            run.send_signal(signal.Signals[ending])
        run.communicate("end")
    if ending == "SIGKILL":
        with another_network():
            pass
    # Its number is free: a run beside this one may take it, too.
    with taken(int(bridge.removeprefix("pyindex"))) as free:
        if free is None:
            pytest.skip("another run has a network of that number now")
        assert _traces(bridge) == []
    assert f"inet {workstation.address}/" in workstation.run("ip", "address", "show", "eth0")


RUN = """
import sys
from pathlib import Path
from tests.hosts.machines import network

with network() as lan:
    lan.machine("host", Path(sys.argv[1]))
    lan.workstation()
    print(lan.bridge, flush=True)
    sys.stdin.read(1)
"""


def _traces(bridge: str) -> list[Path]:
    """What is on this machine of the network with that bridge."""
    number = bridge.removeprefix("pyindex")
    name = re.compile(rf"pyindex{number}([-.].*)?|pyindex-hosts-{number}")
    groups = (path for path in Path("/sys/fs/cgroup").iterdir() if path.is_dir())
    folders = ("/run/netns", "/sys/class/net", "/sys/fs/cgroup", "/run/systemd/nspawn/propagate")
    places = [
        *(path for folder in (*map(Path, folders), *groups) for path in _inside(folder)),
        *(Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()),
        *Path(tempfile.gettempdir()).iterdir(),
    ]
    return [place for place in places if any(name.fullmatch(part) for part in place.parts)]


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:  # another run's, which has ended
        return []


def test_what_lies_beside_an_inventory_is_none(control: Control, tmp_path: Path) -> None:
    """ansible reads hosts.yml and group_vars of the example, and says nothing of what is carried,
    kept or specified beside them."""
    lab = tmp_path / "lab"
    shutil.copytree(PLAYBOOKS / "inventories" / "example", lab)
    (lab / "pypi2.yml").write_text("url: http://pypi2.lab.example\n")
    for name in (
        "carried/debs/nginx.deb",
        "carried/key.pem",
        "cpython.tar.gz",
        "private-ca/ca.key",
    ):
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / name).write_bytes(b"\x00\xff")
    output = control.run("ansible-inventory", "-i", lab / "hosts.yml", "--list")
    listed = json.loads(output)
    assert listed["pyindex"]["hosts"] == ["pypi.lab.example"]
    spec = listed["_meta"]["hostvars"]["pypi.lab.example"]["pyindex_spec"]
    assert spec == "{{ inventory_dir }}/pyindex.yml"


def test_the_recap_is_read() -> None:
    """Each host's counts are read from the last recap of a run."""
    first = "PLAY RECAP ***\nhost-1 : ok=1 changed=0\n\n"
    last = "PLAY RECAP ***\nhost-1   : ok=12   changed=3 failed=1\n"
    assert recap(first + last) == {"host-1": {"ok": 12, "changed": 3, "failed": 1}}
