"""The pinned packages of Galaxy 18.05 for Python 2.7."""

import hashlib
import tarfile
import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.integration.clients import ROOT
from tests.integration.servers import project

CLIENT = "pip-18.1-py2.7"
LIST = ROOT / "tests" / "data" / "galaxy-18.05-py27.txt"
PINS = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(Requirement, LIST.read_text().splitlines()[2:])
}
COMPILED = (".c", ".cc", ".cpp", ".pyx")


def without_compiler(files: Path) -> list[Requirement]:
    """Return the pins that need no compiler: wheels, and sdists without compiled code."""
    return [PINS[project(path)] for path in _files(files) if not _compiles(path)]


def missing(pins: list[Requirement], frozen: str) -> set[str]:
    """Return the pins that are not installed, by the output of ``pip freeze --all``."""
    installed = [Requirement(line) for line in frozen.splitlines() if "==" in line]
    versions = {canonicalize_name(pin.name): pin.specifier for pin in installed}
    return {str(pin) for pin in pins if versions.get(canonicalize_name(pin.name)) != pin.specifier}


def digests(directory: Path) -> dict[str, str]:
    """Return the digests of the files, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(directory)}


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_file()]


def _compiles(path: Path) -> bool:
    """Return whether *path* is an sdist with code to compile."""
    if path.suffix == ".whl":
        return False
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(COMPILED) for name in archive.namelist())
    with tarfile.open(path) as archive:
        return any(name.endswith(COMPILED) for name in archive.getnames())
