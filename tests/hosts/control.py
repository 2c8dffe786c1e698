"""The machine that ansible runs on: this one."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.hosts.machines import SSH_OPTIONS, Machine, Network
from tests.hosts.processes import output
from tests.integration.clients import ROOT, Client, build

PLAYBOOKS = ROOT / "ansible"
LINT = "ansible-lint==26.10.1"


@dataclass(frozen=True)
class Play:
    """What ``ansible-playbook`` did.

    Attributes:
        output: All that it printed.
        recap: For each host the counts of ``PLAY RECAP``: ok, changed, failed, unreachable, ...
    """

    output: str
    recap: Mapping[str, Mapping[str, int]]

    def counts(self, name: str = "host") -> tuple[int, int]:
        """How many tasks changed something on a host, and how many failed."""
        return self.recap[name]["changed"], self.recap[name]["failed"]


@dataclass(frozen=True)
class Control:
    """Runs playbooks against the machines of *network*.

    Attributes:
        prefix: The environment that has ansible and ansible-lint.
    """

    network: Network
    prefix: Path

    def play(
        self,
        *hosts: Machine,
        playbook: str = "site.yml",
        group: str = "pyindex",
        arguments: Sequence[str | Path] = (),
        variables: Mapping[str, object] = MappingProxyType({}),
        code: int | None = 0,
    ) -> Play:
        """Run a playbook of ``ansible/`` on *hosts*; fails unless it exits with *code*.

        Args:
            hosts: The machines of the inventory.
            playbook: Its name in ``ansible/``, or the path of another.
            group: The inventory's group of all hosts.
            arguments: More arguments, as ``--check`` or ``--tags``.
            variables: Given as extra variables, over all others.
            code: Wanted exit code (2: a task failed); ``None`` takes any.
        """
        extra = self.network.folder / "variables.json"
        extra.write_text(json.dumps(dict(variables)))
        command = ("ansible-playbook", "-i", self.inventory(*hosts, group=group))
        try:
            text = self.run(*command, f"-e@{extra}", *arguments, playbook, code=code)
        finally:
            self._hang_up()
        return Play(text, recap(text))

    def run(self, *command: str | Path, code: int | None = 0) -> str:
        """Run a program of ansible's environment, or ``pyindex``, in ``ansible/``.

        It has this machine's settings: those of pip say where packages come from.
        """
        folders = f"{self.prefix / 'bin'}:{Path(sys.executable).parent}"
        variables = os.environ | {
            "PATH": f"{folders}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(self.network.folder / "ansible"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._connections),
        }
        place = PLAYBOOKS if PLAYBOOKS.is_dir() else ROOT
        program = self.prefix / "bin" / str(command[0])
        known = program if program.exists() else command[0]
        return output((known, *command[1:]), code=code, cwd=place, variables=variables)

    def inventory(self, *hosts: Machine, group: str = "pyindex") -> Path:
        """Write an inventory of *hosts*; returns its path."""
        listed = {host.name: self._reached_by(host) for host in hosts}
        path = self.network.folder / "inventory.json"
        path.write_text(json.dumps({"all": {"children": {group: {"hosts": listed}}}}))
        return path

    def _reached_by(self, host: Machine) -> dict[str, str]:
        common = {"ansible_host": host.address, "ansible_user": "root"}
        if host.has_sshd:
            return common | {
                "ansible_ssh_private_key_file": str(self.network.key),
                "ansible_ssh_common_args": " ".join(SSH_OPTIONS),
            }
        return common | {
            "ansible_ssh_executable": host.ssh[0],
            "ansible_ssh_transfer_method": "piped",
        }

    @property
    def _connections(self) -> Path:
        return self.network.folder / "c"  # short: sockets have at most 107 letters

    def _hang_up(self) -> None:
        """End the connections that ansible keeps for the next play."""
        for path in self._connections.glob("*"):
            output(("ssh", "-o", f"ControlPath={path}", "-O", "exit", "-"), code=None)


def control(network: Network) -> Control:
    """The control machine, whose environment is built if need be."""
    listed = (PLAYBOOKS / "requirements.txt").read_text().splitlines()
    pinned = tuple(line.strip() for line in listed if line.strip() and line[0] != "#")
    return Control(network, build(Client("ansible", "3.11", (*pinned, LINT))))


def recap(text: str) -> dict[str, dict[str, int]]:
    """The counts for each host in the ``PLAY RECAP`` of a playbook's output."""
    lines = re.findall(r"^(\S+)\s+: (ok=.*)$", text.rpartition("PLAY RECAP")[2], re.M)
    return {
        host: {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", counts)}
        for host, counts in lines
    }
