"""What the measurements need beside pyindex: wrk, nginx, and the peers in an environment of theirs.

Nothing is installed into pyindex's own environment; a second run finds everything in place.
"""

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PEERS = ("pypiserver[passlib,cache]", "waitress", "pypiron")
DEVPI = ("devpi-server",)
# It pins libraries that others use, too. It needs click, and does not say so.
COLLECTORS = ("mirror-mirror-on-the-wall", "click")
_PACKAGES = {"wrk": "wrk", "nginx": "nginx-light", "sha256sum": "coreutils"}


class ToolError(Exception):
    """Something needed for measuring is missing and cannot be installed."""


@dataclass(frozen=True)
class Tools:
    """Where the programs are, and which versions they say they are; ``mmw`` is its Python."""

    wrk: Path
    nginx: Path
    sha256sum: Path
    pyindex: Path
    pypiserver: Path
    pypiron: Path
    devpi: Path
    mmw: Path
    versions: dict[str, str]


def prepare(cache: Path) -> Tools:
    """Find or install everything; raise ToolError saying what to do when that fails."""
    wrk, nginx, sha256sum = (_program(name) for name in _PACKAGES)
    peers = _installed(cache / "peers", PEERS)
    devpi = _installed(cache / "devpi", DEVPI) / "devpi-server"
    mmw = _installed(cache / "collectors", COLLECTORS) / "python"
    pyindex = Path(sys.executable).with_name("pyindex")
    if not pyindex.exists():
        raise ToolError(f"{pyindex} is missing: install pyindex first (make run or make test)")
    versions = {
        "nginx": _output(nginx, "-v").removeprefix("nginx version: "),
        "wrk": _output(wrk, "-v").splitlines()[0].split(" [")[0],
        "pypiserver": _output(peers / "pypi-server", "--version").split()[-1],
        "pypiron": _output(peers / "pypiron", "--version").split()[-1],
        "devpi": _output(devpi, "--version").split()[-1],
        "mmw": _output(mmw.with_name("mmw"), "--version").split()[-1],
    } | {name: metadata.version(name) for name in ("gunicorn", "falcon", "pip", "uv")}
    theirs = peers / "pypi-server", peers / "pypiron", devpi, mmw
    return Tools(wrk, nginx, sha256sum, pyindex, *theirs, versions)


def _program(name: str) -> Path:
    """Return the path of a program, installing its Debian package when it is missing."""
    if (found := _which(name)) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        # RUNLEVEL=1 keeps the package from starting its service.
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for arguments in (["update"], ["install", "-y", "-q", _PACKAGES[name]]):
            subprocess.run(["apt-get", *arguments], env=environment, timeout=300, check=False)
        found = _which(name)
    if found is None:
        raise ToolError(f"{name} is missing: install the package {_PACKAGES[name]}")
    return Path(found)


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _installed(environment: Path, packages: tuple[str, ...]) -> Path:
    """Return the bin folder of an environment with ``packages``, made if it is not complete."""
    programs = environment / "bin"
    done = environment / f"complete-{len(packages)}"
    if not done.exists():
        venv.create(environment, clear=True, with_pip=True)
        install: list[str | Path] = [programs / "python", "-m", "pip", "install", "--quiet"]
        if subprocess.run([*install, *packages], timeout=300, check=False).returncode:
            raise ToolError(f"cannot install {' and '.join(packages)}: is a registry reachable?")
        done.touch()
    return programs


def _output(program: Path, option: str) -> str:
    run = subprocess.run([program, option], capture_output=True, text=True, timeout=30, check=False)
    return (run.stdout or run.stderr).strip()
