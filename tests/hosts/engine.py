"""A machine that runs containers: podman in a namespace of the network that hosts are on.

Images are built outside of it, by buildah, since a build needs a registry and a Debian mirror.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tests.conftest import eventually
from tests.hosts.machines import Network, Workstation
from tests.hosts.processes import grouped, output
from tests.hosts.trees import KEYRING, SUITE, debian_mirror
from tests.integration.clients import ROOT

NEEDED = (
    *("buildah", "podman", "crun", "podman-compose", "iptables"),
    *(f"{name}:/usr/lib/podman/{name}" for name in ("netavark", "aardvark-dns")),
)
BASE = "FROM scratch\nADD base.tar /\nCOPY sources.list /etc/apt/sources.list\n"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{0}/graph"\nrunroot = "{0}/run"\n'
# Control groups are for limits, which no test sets; this machine's limits of processes stay.
SETTINGS = """\
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "crun"
[network]
network_config_dir = "{0}/networks"
"""
# crun cannot run below both versions of control groups, and makes the user of a container the owner
# of /dev/null, which must not be this machine's. What podman puts into /run goes with it.
PREPARE = """\
if [ -d /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi
mount -t tmpfs none /run && mknod -m 666 /run/null c 1 3 && mount --bind /run/null /dev/null &&
touch "$0" && exec sleep infinity
"""


class Engine:
    """podman on a machine of the network, with images and volumes of its own.

    Attributes:
        machine: The machine; ports that containers publish are at its address.
    """

    def __init__(self, machine: Workstation) -> None:
        self.machine = machine
        folder = machine.home
        (folder / "storage.conf").write_text(STORAGE.format(folder))
        (folder / "containers.conf").write_text(SETTINGS.format(folder))
        self._variables = os.environ | {
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "TMPDIR": str(folder),
        }
        self._first = self._prepare(folder / "ready")

    def podman(self, *arguments: str | Path, code: int | None = 0) -> str:
        """Run podman, and return what it and the program print; see `output`."""
        return self.run("podman", "--log-level", "fatal", *arguments, code=code)

    def run(
        self,
        *command: str | Path,
        code: int | None = 0,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Run a program of this machine there; see `output`."""
        there = ("nsenter", "--target", str(self._first), "--mount", "--net")
        return output(
            grouped(self.machine.namespace, (*there, *command)),
            code=code,
            variables=self._variables | dict(variables),
        )

    def build(self, tree: Path) -> None:
        """Build the image ``pyindex`` as the guide says, on the Debian in *tree*."""
        folder = self.machine.home
        base = folder / "base"
        base.mkdir()
        (base / "Containerfile").write_text(BASE)
        source = f"deb [signed-by={KEYRING}] {debian_mirror()} {SUITE} main\n"
        (base / "sources.list").write_text(source)
        output(("tar", "-C", tree, "-cf", base / "base.tar", "."))
        self._buildah("--tag", "base", base)

        (folder / "pip.conf").write_text(_pip_configuration())
        self._buildah(
            *("--build-arg", "BASE=localhost/base", "--tag", "pyindex"),
            *("--secret", f"id=pip.conf,src={folder}/pip.conf"),
            *("--secret", f"id=ca.pem,src={CERTIFICATES}"),
            *("--file", ROOT / "deploy/container/Containerfile", ROOT),
        )

    def _buildah(self, *arguments: str | Path) -> None:
        build = ("buildah", "build", "--isolation", "chroot", "--format", "docker")
        output(("unshare", "--mount", *build, *arguments), variables=self._variables)

    def _prepare(self, ready: Path) -> int:
        """Start the process whose view of the file system podman has; returns its id."""
        namespace = self.machine.namespace
        enter = ("nsenter", f"--net=/run/netns/{namespace}", "unshare", "--mount")
        process = subprocess.Popen(
            grouped(namespace, (*enter, "sh", "-c", PREPARE, ready)), start_new_session=True
        )
        eventually(lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None
        return process.pid


@contextmanager
def engine(network: Network) -> Iterator[Engine]:
    """An engine called ``engine``; what runs in it ends with it."""
    with network.workstation("engine") as machine:
        network.names["engine"] = machine.address
        yield Engine(machine)


def _pip_configuration() -> str:
    """Settings by which a build finds the index that this machine's pip uses."""
    listed = output((sys.executable, "-m", "pip", "config", "list"))
    named = [line.partition("=") for line in listed.splitlines()]
    urls = [value.strip("'") for key, _, value in named if key.endswith(".index-url")]
    return "\n".join(
        ["[global]", "cert = /run/secrets/ca.pem", *(f"index-url = {u}" for u in urls[-1:]), ""]
    )
