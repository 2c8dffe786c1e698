"""Real clients, each in its own environment that the registry's ordinary clients build.

An environment is built once into the cache, which all checkouts of a user share
(``PYINDEX_TEST_CACHE``, by default ``pyindex-tests`` in the user's cache directory). Each test gets
a copy of it with its own home directory, and can reach only this machine.
Clients in their newest version stay as they were built: remove the cache to get newer ones.
"""

import fcntl
import hashlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

ROOT = Path(__file__).parents[2]
_USER_CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
CACHE = Path(os.environ.get("PYINDEX_TEST_CACHE") or Path(_USER_CACHE, "pyindex-tests")).absolute()
BUILT = CACHE / "clients"  # environments, each by its client and interpreter
TIMEOUT = 300
BUILD_TIMEOUT = 1200  # downloads, on a busy machine
# Files by which Python finds its environment.
FINDS_ITSELF = ("python", "pyvenv.cfg", "site.py")


@dataclass(frozen=True)
class Client:
    """Tool of a certain version on a certain Python, with its requirements."""

    name: str
    python: str
    requirements: tuple[str, ...]


def _pip(version: str, python: str) -> Client:
    return Client(f"pip-{version}-py{python}", python, (f"pip=={version}",))


# A new environment has an older pip, so that the build fails without a registry.
NEWEST = Client("pip-newest-py3.13", "3.13", ("pip>=26.3",))
CLIENTS = {
    client.name: client
    for client in (
        _pip("8.1.2", "2.7"),
        _pip("9.0.3", "2.7"),
        _pip("18.1", "2.7"),
        _pip("20.3.4", "2.7"),
        _pip("9.0.3", "3.6"),
        _pip("21.3.1", "3.6"),
        _pip("22.3.1", "3.11"),
        _pip("23.0.1", "3.11"),
        _pip("23.2.1", "3.11"),
        NEWEST,
        Client("easy_install-py2.7", "2.7", ("setuptools==41.2.0",)),
        Client("uv", "3.11", ("uv",)),
        Client("poetry", "3.11", ("poetry",)),
        Client("pdm", "3.11", ("pdm", "hishel<2")),  # 2.29.4 does not run with hishel 2
        Client("bandersnatch", "3.12", ("bandersnatch>=8",)),
        Client("twine", "3.12", ("twine>=6.2",)),
        Client("twine-1.15.0-py2.7", "2.7", ("twine==1.15.0",)),
        Client("hatch", "3.12", ("hatch",)),
        Client("flit", "3.12", ("flit",)),
        Client("setuptools-py3.6", "3.6", ("setuptools==40.6.3",)),
    )
}
# Python 2.7 has no venv module; this is the last virtualenv that supports it.
VIRTUALENV = Client("virtualenv", "3.11", ("virtualenv==20.15.1",))


class Environment:
    """Python environment that a test may change, with its own home directory."""

    def __init__(self, prefix: Path, home: Path) -> None:
        self.python = prefix / "bin" / "python"
        self.home = home

    def run(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        code: int = 0,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Run ``python *arguments`` without access to anything but this machine.

        Return its output, standard error included; fail unless it exits with *code*.
        """
        command = [str(self.python), *map(str, arguments)]
        return self._run(command, cwd or self.home, code, variables)

    def _run(self, command: list[str], cwd: Path, code: int, variables: Mapping[str, str]) -> str:
        returned, output = self._execute(command, cwd, variables)
        assert returned == code, f"{command} exited {returned}:\n{output}"
        return output

    def outcome(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, str]:
        """As :meth:`run`; return the exit status and the output."""
        command = [str(self.python), *map(str, arguments)]
        return self._execute(command, cwd or self.home, variables)

    def _execute(
        self, command: list[str], cwd: Path, variables: Mapping[str, str]
    ) -> tuple[int, str]:
        with _closed_port() as port:
            done = subprocess.run(
                command,
                cwd=cwd,
                env=isolated(self.python.parent, self.home, port) | dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
            )
        return done.returncode, done.stdout

    def versions(self, *modules: str) -> list[str]:
        """Import each module in the environment and return their versions."""
        names = ", ".join(modules)
        stated = ", ".join(f"{module}.__version__" for module in modules)
        return self.run("-c", f"import {names}; print(' '.join([{stated}]))").split()


@dataclass(frozen=True)
class Environments:
    """Factory of client environments below *scratch*."""

    scratch: Path

    def __call__(self, name: str) -> Environment:
        """Return an environment with client *name*, which is built if necessary.

        Skip the test if the client's Python is not installed; fail on any other error.
        """
        directory = self.scratch / name
        _overlay(build(CLIENTS[name]), directory / "env")
        home = directory / "home"
        home.mkdir()
        return Environment(directory / "env", home)


def isolated(bin_folder: Path, home: Path, closed_port: int) -> dict[str, str]:
    """Return all environment variables of a client, without settings of this machine."""
    nowhere = f"http://127.0.0.1:{closed_port}"
    return {
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "no_proxy": "127.0.0.1",
        # pip caches pages of https and of trusted hosts only; it must revalidate pages here, too.
        "PIP_TRUSTED_HOST": "127.0.0.1",
    }


def build(client: Client) -> Path:
    """Return the cached environment of *client*; interrupted and concurrent builds are safe.

    An environment is complete once its marker exists. It is built at its final path, because
    scripts contain the path of their Python.
    """
    executable = interpreter(client.python)
    key = hashlib.sha256(repr((client, executable)).encode()).hexdigest()[:8]
    directory = BUILT / f"{client.name}-{key}"
    marker = directory / "built"
    with locked(directory.with_name(directory.name + ".lock")):
        if not marker.exists():
            shutil.rmtree(directory, ignore_errors=True)
            _create(executable, client.python, directory)
            python = str(directory / "bin" / "python")
            build_step(python, "-m", "pip", "install", "--upgrade", *client.requirements)
            marker.touch()
    return directory


def _overlay(original: Path, place: Path) -> None:
    """Create an environment at *place* that links to *original* and can be changed.

    Its directories are real down to the installed packages; their entries are links.
    """
    (packages,) = original.glob("lib/python*/site-packages")
    real = [original, original / "bin", *reversed(packages.parents[:2]), packages]
    for directory in real:
        own = place / directory.relative_to(original)
        own.mkdir(parents=True)
        for entry in directory.iterdir():
            if entry.name.startswith(FINDS_ITSELF) and entry.is_file():
                shutil.copy2(entry, own / entry.name, follow_symlinks=False)
            elif entry not in real:
                (own / entry.name).symlink_to(entry)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file *path*, for one process and one thread at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def interpreter(version: str) -> Path:
    """Return the newest pyenv Python of *version*, or that on the path; skip without one."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = sorted(
        versions.glob(f"{version}.*/bin/python"),
        key=lambda path: [int(part) for part in re.findall(r"\d+", path.parts[-3])],
    )
    if installed:
        return installed[-1]
    command = shutil.which(f"python{version}")
    if command is None:
        pytest.skip(f"Python {version} is not installed here")
    return Path(command)


def _create(interpreter: Path, version: str, directory: Path) -> None:
    if version == "2.7":
        virtualenv = build(VIRTUALENV) / "bin" / "python"
        options = ("--no-periodic-update", "--python", str(interpreter))
        build_step(str(virtualenv), "-m", "virtualenv", *options, str(directory))
    else:
        build_step(str(interpreter), "-m", "venv", str(directory))


def build_step(*command: str) -> None:
    """Run a command with this machine's settings; fail if the registry is not reachable."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"


@contextmanager
def _closed_port() -> Iterator[int]:
    """Yield a port that refuses connections and stays reserved."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
