"""Real clients, each in an environment of its own that the registry's ordinary clients build.

An environment is built once into the cache (``PYINDEX_TEST_CACHE``, else ``.cache``). Each test
gets one of its own over it, with a home of its own and nothing reachable but this machine.
What is wanted in its newest version stays as it was built: remove the cache to get newer ones.
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
CACHE = Path(os.environ.get("PYINDEX_TEST_CACHE", ROOT / ".cache")).absolute()
TIMEOUT = 300
# The files by which a Python knows the environment that it is in.
FINDS_ITSELF = ("python", "pyvenv.cfg", "site.py")


@dataclass(frozen=True)
class Client:
    """A tool of a certain version on a certain Python, and what has to be installed for it."""

    name: str
    python: str
    requirements: tuple[str, ...]


def _pip(version: str, python: str) -> Client:
    return Client(f"pip-{version}-py{python}", python, (f"pip=={version}",))


# The floor is not met by what a new environment has, so that no registry is no newest pip.
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
        NEWEST,
        Client("easy_install-py2.7", "2.7", ("setuptools==41.2.0",)),
        Client("uv", "3.11", ("uv",)),
        Client("poetry", "3.11", ("poetry",)),
        Client("bandersnatch", "3.12", ("bandersnatch>=8",)),
    )
}
# Python 2.7 has no venv module; this is the last virtualenv that makes environments for it.
VIRTUALENV = Client("virtualenv", "3.11", ("virtualenv==20.15.1",))


class Environment:
    """A Python environment that may be spoilt, with a home folder of its own."""

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
        """Run ``python *arguments`` shut off from everything but this machine.

        Returns what it printed, standard error included; fails unless it exits with *code*.
        """
        command = [str(self.python), *map(str, arguments)]
        return self._run(command, cwd or self.home, code, variables)

    def _run(self, command: list[str], cwd: Path, code: int, variables: Mapping[str, str]) -> str:
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
        assert done.returncode == code, f"{command} exited {done.returncode}:\n{done.stdout}"
        return done.stdout

    def versions(self, *modules: str) -> list[str]:
        """Import each module there and return the versions that they state."""
        names = ", ".join(modules)
        stated = ", ".join(f"{module}.__version__" for module in modules)
        return self.run("-c", f"import {names}; print(' '.join([{stated}]))").split()


@dataclass(frozen=True)
class Environments:
    """Hands out the clients' environments, below *scratch*."""

    scratch: Path

    def __call__(self, name: str) -> Environment:
        """An environment with client *name*, which is built if need be.

        Skips the test where the client's Python is not installed; any other failure is one.
        """
        place = self.scratch / name
        _overlay(build(CLIENTS[name]), place / "env")
        home = place / "home"
        home.mkdir()
        return Environment(place / "env", home)


def isolated(bin_folder: Path, home: Path, closed_port: int) -> dict[str, str]:
    """The whole of a client's environment variables: nothing of this machine's settings is left."""
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
        # pip keeps pages of https and of trusted hosts only: here, too, it shall have to ask anew.
        "PIP_TRUSTED_HOST": "127.0.0.1",
    }


def build(client: Client) -> Path:
    """The cached environment of *client*; building it is safe to interrupt and to do twice at once.

    An environment counts as built once its marker is there. It is built where it stays, since
    scripts name the place of their Python.
    """
    interpreter = _interpreter(client.python)
    key = hashlib.sha256(repr((client, interpreter)).encode()).hexdigest()[:8]
    place = CACHE / "clients" / f"{client.name}-{key}"
    marker = place / "built"
    with locked(place.with_name(place.name + ".lock")):
        if not marker.exists():
            shutil.rmtree(place, ignore_errors=True)
            _create(interpreter, client.python, place)
            python = str(place / "bin" / "python")
            build_step(python, "-m", "pip", "install", "--upgrade", *client.requirements)
            marker.touch()
    return place


def _overlay(original: Path, place: Path) -> None:
    """An environment at *place* with all that *original* has, and room of its own for more.

    Its folders are real as far down as packages are installed; what lies in them is linked.
    """
    (packages,) = original.glob("lib/python*/site-packages")
    real = [original, original / "bin", *reversed(packages.parents[:2]), packages]
    for folder in real:
        own = place / folder.relative_to(original)
        own.mkdir(parents=True)
        for entry in folder.iterdir():
            if entry.name.startswith(FINDS_ITSELF) and entry.is_file():
                shutil.copy2(entry, own / entry.name, follow_symlinks=False)
            elif entry not in real:
                (own / entry.name).symlink_to(entry)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file *path*: one process, and one thread, at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _interpreter(version: str) -> Path:
    """The newest pyenv Python of *version*, else the one on the path; skips the test without."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(
        versions.glob(f"{version}.*/bin/python"),
        key=lambda path: [int(part) for part in re.findall(r"\d+", path.parts[-3])],
    )
    if found:
        return found[-1]
    command = shutil.which(f"python{version}")
    if command is None:
        pytest.skip(f"Python {version} is not installed here")
    return Path(command)


def _create(interpreter: Path, version: str, place: Path) -> None:
    if version == "2.7":
        virtualenv = build(VIRTUALENV) / "bin" / "python"
        options = ("--no-periodic-update", "--python", str(interpreter))
        build_step(str(virtualenv), "-m", "virtualenv", *options, str(place))
    else:
        build_step(str(interpreter), "-m", "venv", str(place))


def build_step(*command: str) -> None:
    """Run a command with this machine's own settings; a registry out of reach is a failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"


@contextmanager
def _closed_port() -> Iterator[int]:
    """A port that refuses connections, and is nobody else's for as long."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
