"""What hosts are made of: root file systems, and packages that are carried to them.

All are made once and kept in the cache under what they are made of, so remove a folder there to get
newer packages. Debian's mirror is whatever the apt of this machine is told to use.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.processes import output
from tests.integration.clients import CACHE, locked

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# What a bare Debian 12 server has: no pip, no nginx, no supervisor.
SERVER = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "cron", "logrotate"),
    *("python3", "iproute2", "procps", "ca-certificates"),
)


def base_tree() -> Path:
    """A folder with a bare Debian 12 server that has no source of packages; not to be changed.

    Skips the test where this machine's apt knows no Debian 12.
    """
    mirror = debian_mirror()
    return _kept("debian-12", (mirror, SERVER), lambda place: _debian(place, mirror))


def debs(*packages: str) -> Path:
    """A folder with the ``.deb`` files of *packages* and of all they need that the tree lacks.

    Without *packages*, those of nginx and supervisor: what an operator carries to a host.
    """
    tree, mirror, wanted = base_tree(), debian_mirror(), packages or ("nginx", "supervisor")
    return _kept("debs", (tree.name, wanted), lambda place: _download(place, tree, mirror, wanted))


def centos7_tree() -> Path:
    """The root file system that ``PYINDEX_CENTOS7_ROOT`` names; skips the test without one."""
    given = os.environ.get("PYINDEX_CENTOS7_ROOT")
    if not given:
        pytest.skip("PYINDEX_CENTOS7_ROOT does not name the root file system of a CentOS 7")
    tree = Path(given).resolve()
    release = tree / "etc" / "centos-release"
    assert release.exists() and "release 7" in release.read_text(), f"no CentOS 7 is in {tree}"
    return tree


def _kept(name: str, made_of: tuple[object, ...], make: Callable[[Path], None]) -> Path:
    """The folder that *make* fills, from the cache if it is there: whole or not at all."""
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()[:8]
    place = CACHE / "hosts" / f"{name}-{key}"
    with locked(place.with_name(f"{place.name}.lock")):
        if not place.exists():
            part = place.with_name(f"{place.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(place)
    return place


def debian_mirror() -> str:
    """Where this machine gets Debian 12 from."""
    form = ("--format", "$(REPO_URI)", "Created-By: Packages", "Component: main")
    ask = ("apt-get", "indextargets", *form, f"Release: {SUITE}")
    if not (found := output(ask).split()):
        output(("apt-get", "-qq", "update"), code=None)  # a new machine knows no lists yet
        found = output(ask).split()
    if not found:
        pytest.skip(f"apt on this machine has no source of Debian {SUITE}")
    return found[0]


def _debian(place: Path, mirror: str) -> None:
    packages = f"--include={','.join(SERVER)}"
    output(("debootstrap", "--variant=minbase", packages, SUITE, str(place), mirror))
    for kept in ("var/cache/apt", "var/lib/apt/lists", "var/log"):
        for file in (place / kept).rglob("*"):
            if file.is_file():
                file.unlink()
    for name in ("apt/sources.list", "resolv.conf", "machine-id"):
        (place / "etc" / name).write_text("")


def _download(place: Path, tree: Path, mirror: str, packages: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "lists/partial").mkdir(parents=True)
        source = Path(scratch, "sources.list")
        source.write_text(f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n")
        settings = {
            "Dir::Etc::SourceList": source,
            "Dir::Etc::SourceParts": os.devnull,
            "Dir::State::Lists": f"{scratch}/lists",
            "Dir::State::Status": tree / "var/lib/dpkg/status",
            "Dir::Cache": scratch,
            "Dir::Cache::Archives": place,
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": "true",
        }
        apt = ("apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items()))
        output((*apt, "update"))
        output((*apt, "install", "--yes", "--no-install-recommends", "--download-only", *packages))
    shutil.rmtree(place / "partial", ignore_errors=True)
