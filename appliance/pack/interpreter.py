"""The Python of a pack, checked on the control machine: its modules and its glibc."""

import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from itertools import chain
from pathlib import Path

from appliance.errors import PyindexError

# The glibc of each `host.system`.
_GLIBC = {"centos-7": (2, 17), "debian-12": (2, 36)}
_SYMBOL_VERSION = re.compile(rb"GLIBC_(\d+)\.(\d+)\b")
_ADVICE = "pass another CPython with --python"


def check(archive: Path, version: str, system: str) -> bool:
    """Raise PyindexError if the Python in the tar file cannot run pyindex on a host with
    ``system``: it is of another version, lacks standard modules, or was built for a newer glibc.

    Returns whether it was run; a machine of another architecture only checks its glibc.
    """
    with tempfile.TemporaryDirectory() as work:
        _unpack(archive, work)
        path = f"bin/python{version}"
        program = next(chain(Path(work).glob(path), Path(work).glob(f"*/{path}")), Path(work, path))
        _check_glibc(archive.name, program.parent.parent, system)
        return _run(archive.name, program, version)


def _unpack(archive: Path, directory: str) -> None:
    """By tar, as on the host. `tarfile` has no filters in the Python 3.11.2 of Debian 12."""
    command = ("tar", "--extract", "--no-same-owner", f"--directory={directory}")
    process = subprocess.run([*command, f"--file={archive}"], capture_output=True, text=True)
    if process.returncode:
        reason = "; ".join(process.stderr.splitlines()[:2])
        raise PyindexError(f"{archive.name}: {reason}; {_ADVICE}")


def _check_glibc(name: str, directory: Path, system: str) -> None:
    newest = _GLIBC[system]
    for file in _programs(directory):
        versions = {(int(a), int(b)) for a, b in _SYMBOL_VERSION.findall(file.read_bytes())}
        if (required := max(versions, default=newest)) > newest:
            texts = [".".join(map(str, glibc)) for glibc in (required, newest)]
            raise PyindexError(
                f"{name}: {file.relative_to(directory)}: built for glibc {texts[0]}, and {system}"
                f" has {texts[1]}; {_ADVICE}"
            )


def _programs(directory: Path) -> Iterator[Path]:
    """The ELF files: programs and libraries."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _run(name: str, program: Path, version: str) -> bool:
    """Check the version and the modules, if this machine can run the program."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return False
    script = resources.files("appliance.ansible").joinpath("roles/python/files/modules.py")
    try:
        process = subprocess.run(
            [program, "-I", "-c", script.read_text()], capture_output=True, text=True
        )
    except OSError:  # no loader for glibc programs on this machine, or a mount without exec
        return False
    if process.returncode:
        lines = (process.stderr or f"ended with {process.returncode}").strip().splitlines()
        raise PyindexError(f"{name}: does not run: {lines[-1]}; {_ADVICE}")
    if (actual := process.stdout.strip()) != version:
        raise PyindexError(
            f"{name}: expected Python {version} with all its modules, got {actual}; {_ADVICE}, or"
            " correct --python-version"
        )
    return True
