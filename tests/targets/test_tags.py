"""Tags of written targets, compared with ``packaging`` on pretended hosts."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from appliance.targets.reading import read

SCRIPT = Path(__file__).with_name("pretended.py")


def _host(
    system: str,
    architecture: str,
    machine: str,
    glibc: tuple[int, int] | None = None,
    musl: tuple[int, int] | None = None,
    mac: str = "",
) -> dict[str, Any]:
    """What Python says on a host."""
    name = f"{architecture}-{machine}" if architecture else machine
    return {
        "system": system,
        "sysconfig": name,
        "machine": machine,
        "glibc": glibc,
        "musl": musl,
        "mac": mac,
    }


MACHINES = ("x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64")
GLIBC = {
    "manylinux1": 5,
    "manylinux_2_5": 5,
    "manylinux2010": 12,
    "manylinux2014": 17,
    "manylinux_2_28": 28,
    "manylinux_2_39": 39,
}
HOSTS = {
    f"{name}_{machine}": _host("Linux", "linux", machine, glibc=(2, minor))
    for name, minor in GLIBC.items()
    for machine in MACHINES
    if minor >= 17 or machine in ("x86_64", "i686")
} | {
    "musllinux_1_1_aarch64": _host("Linux", "linux", "aarch64", musl=(1, 1)),
    "musllinux_1_2_x86_64": _host("Linux", "linux", "x86_64", musl=(1, 2)),
    "macosx_10_9_x86_64": _host("Darwin", "macosx-10.9", "x86_64", mac="10.9.5"),
    "macosx_10_15_x86_64": _host("Darwin", "macosx-10.9", "x86_64", mac="10.15.7"),
    "macosx_15_0_x86_64": _host("Darwin", "macosx-10.13", "x86_64", mac="15.0"),
    "macosx_11_0_arm64": _host("Darwin", "macosx-11.0", "arm64", mac="11.0.1"),
    "macosx_14_5_arm64": _host("Darwin", "macosx-11.0", "arm64", mac="14.5"),
    "win_amd64": _host("Windows", "win", "amd64"),
    "win_arm64": _host("Windows", "win", "arm64"),
    "win32": _host("Windows", "", "win32"),
}


def _interpreter(kind: str, minor: int, major: int = 3, **variables: object) -> dict[str, Any]:
    """What ``sysconfig`` says in an interpreter."""
    return {"kind": kind, "version": (major, minor), "variables": variables}


INTERPRETERS = {
    "cp27m": _interpreter("cp", 7, major=2, Py_UNICODE_SIZE=2),
    "cp27mu": _interpreter("cp", 7, major=2, Py_UNICODE_SIZE=4),
    "pp27": _interpreter("pp", 7, major=2, EXT_SUFFIX=".pypy-73.so"),
    "pp36": _interpreter("pp", 6, EXT_SUFFIX=".pypy36-pp73-x86_64-linux-gnu.so"),
    "pp310": _interpreter("pp", 10, EXT_SUFFIX=".pypy310-pp73-darwin.so"),
    "pp311": _interpreter("pp", 11, EXT_SUFFIX=".pypy311-pp73-win_amd64.pyd"),
    **{f"cp3{minor}": _interpreter("cp", minor) for minor in range(5, 16)},
    **{f"cp3{minor}t": _interpreter("cp", minor, Py_GIL_DISABLED=1) for minor in (13, 14, 15)},
}
PAIRS = [
    (interpreter, host)
    for interpreter in INTERPRETERS
    for host in HOSTS
    if interpreter in ("cp27mu", "cp312") or host in ("manylinux2014_x86_64", "win_amd64")
]


@cache
def found() -> dict[tuple[str, str], list[str]]:
    """Return the tags that packaging finds for each pair."""
    pairs = [(HOSTS[host], INTERPRETERS[interpreter]) for interpreter, host in PAIRS]
    output = subprocess.check_output([sys.executable, SCRIPT], input=json.dumps(pairs), text=True)
    return dict(zip(PAIRS, json.loads(output), strict=True))


@pytest.mark.parametrize(("interpreter", "host"), PAIRS)
def test_written_target_has_tags_of_packaging(interpreter: str, host: str) -> None:
    """A written target has exactly the tags of such a host, in the same order."""
    assert [str(tag) for tag in read(f"{interpreter}-{host}").tags] == found()[interpreter, host]


# Wheels that a target installs or not, as on the index.
WHEELS = [
    ("centos7-py27", "cp27-cp27mu-manylinux1_x86_64", True),
    ("centos7-py27", "cp27-cp27mu-manylinux_2_17_x86_64", True),
    ("centos7-py27", "cp27-cp27m-manylinux1_x86_64", False),
    ("centos7-py27", "py2-none-any", True),
    ("centos7-py27", "py3-none-any", False),
    ("centos7-py36", "cp36-cp36m-manylinux2014_x86_64", True),
    ("centos7-py36", "cp34-abi3-manylinux1_x86_64", True),
    ("centos7-py36", "cp36-cp36m-manylinux_2_18_x86_64", False),
    ("cp313t-manylinux_2_28_x86_64", "cp313-cp313t-manylinux2014_x86_64", True),
    ("cp313t-manylinux_2_28_x86_64", "cp39-abi3-manylinux2014_x86_64", False),
    ("cp313t-manylinux_2_28_x86_64", "cp313-cp313-manylinux2014_x86_64", False),
    ("cp315t-win_amd64", "cp315-abi3t-win_amd64", True),
    ("cp315-win_amd64", "cp315-abi3t-win_amd64", False),
    ("alpine-py312", "cp312-cp312-manylinux2014_x86_64", False),
    ("alpine-py312", "cp312-cp312-musllinux_1_1_x86_64", True),
    ("macos-py312", "cp312-cp312-macosx_10_9_universal2", True),
    ("macos-py312", "cp312-cp312-macosx_11_0_arm64", True),
    ("macos-py312", "cp312-cp312-macosx_14_0_arm64", False),
    ("pp310-manylinux2014_x86_64", "pp310-pypy310_pp73-manylinux1_x86_64", True),
    ("pp310-manylinux2014_x86_64", "cp310-abi3-manylinux1_x86_64", False),
]


@pytest.mark.parametrize(("text", "tag", "is_supported"), WHEELS)
def test_target_supports_wheel(text: str, tag: str, is_supported: bool) -> None:
    """A target supports the wheels of its Python and platform, and no others."""
    assert (tag in {str(each) for each in read(text).tags}) is is_supported
