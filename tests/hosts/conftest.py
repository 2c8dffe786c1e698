"""Booted hosts, the machine that installs them, and one that installs from them."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.control import Control
from tests.hosts.control import control as make_control
from tests.hosts.engine import NEEDED as ENGINE_NEEDED
from tests.hosts.engine import Engine
from tests.hosts.engine import engine as make_engine
from tests.hosts.machines import Machine, Network, Workstation
from tests.hosts.machines import network as make_network
from tests.hosts.trees import base_tree, centos7_tree, debs
from tests.integration.clients import CACHE, ROOT, locked

NEEDED = (
    *("debootstrap", "systemd-container:systemd-nspawn"),
    *("openssh-client:ssh", "iproute2:ip", "curl", "openssl", "nginx"),
)


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """A private network; with it goes all that was booted on it."""
    if os.geteuid() != 0:
        pytest.skip("hosts are booted by root only")
    _install(NEEDED)
    with make_network() as made:
        yield made


def _install(packages: tuple[str, ...]) -> None:
    """Install packages on this machine; skip the test where that is not possible."""
    with locked(CACHE / "hosts" / "packages.lock"):
        done = subprocess.run(
            (ROOT / "tests" / "system-packages", *packages),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        pytest.skip(f"hosts cannot be booted here: {done.stderr.strip()}")


@pytest.fixture(scope="session")
def debian(network: Network) -> Path:
    """The tree of a bare Debian 12 server."""
    return base_tree()


@pytest.fixture(scope="session")
def debian_packages(debian: Path) -> Path:
    """The folder of packages that an operator carries to a Debian 12 host."""
    return debs()


@pytest.fixture(scope="session")
def variables(network: Network, debian_packages: Path) -> dict[str, object]:
    """What the plays are told beside the spec."""
    return {
        "pyindex_os_packages": str(debian_packages),
        "pyindex_cache": str(network.folder / "cache"),
    }


@pytest.fixture
def machine(network: Network, debian: Path) -> Iterator[Machine]:
    """A bare Debian 12 server, booted; its name is ``host`` and ``pypi.lab.example``."""
    with network.machine("host", debian, "pypi.lab.example") as booted:
        yield booted


@pytest.fixture(scope="session")
def engine(network: Network, debian: Path) -> Iterator[Engine]:
    """A machine that runs containers; it has the image ``pyindex``."""
    _install(ENGINE_NEEDED)
    with make_engine(network) as made:
        made.build(debian)
        yield made


@pytest.fixture(scope="session")
def centos(network: Network) -> Path:
    """The tree of a CentOS 7."""
    return centos7_tree()


@pytest.fixture(scope="session")
def workstation(network: Network) -> Iterator[Workstation]:
    """Where people run pip and uv."""
    with network.workstation() as made:
        yield made


@pytest.fixture(scope="session")
def control(network: Network) -> Control:
    """Where ansible runs: this machine."""
    return make_control(network)
