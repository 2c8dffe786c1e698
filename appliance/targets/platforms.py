"""Platforms: operating system, C library and machine, as ``manylinux2014_x86_64`` writes them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.tags import mac_platforms

from appliance.targets.words import Unknown, hint


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform.

    Attributes:
        name: The newest platform tag that it supports, as it was written.
        tags: All its platform tags, best first.
        system: The value of the marker ``platform_system``: ``Linux``, ``Darwin``, ``Windows``.
        machine: The value of the marker ``platform_machine``: ``x86_64``, ``AMD64``.
    """

    name: str
    tags: tuple[str, ...]
    system: str
    machine: str


# The oldest minor version of glibc 2 with a manylinux tag (PEP 600, packaging.tags).
_OLDEST = {"x86_64": 5, "i686": 5}
_OLDEST_ELSEWHERE = 17
# packaging counts the versions of glibc 2 up to here, too.
_NEWEST = 50
_ALIASES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
_MACHINES = ("x86_64", "aarch64", "i686", "armv7l", "ppc64le", "s390x", "riscv64")
_WINDOWS = {"win_amd64": "AMD64", "win32": "x86", "win_arm64": "ARM64"}
_LINUX = re.compile(
    f"(?:(?P<alias>{'|'.join(_ALIASES.values())})|manylinux_2_(?P<glibc>[0-9]{{1,2}})"
    f"|musllinux_1_(?P<musl>[0-9]))_(?P<machine>{'|'.join(_MACHINES)})"
)
_MAC = re.compile("macosx_([0-9]{2})_([0-9]{1,2})_(x86_64|arm64)")
# Platforms to suggest: one of each kind.
_EXAMPLES = (
    *(f"{kind}_{machine}" for kind in _ALIASES.values() for machine in _MACHINES[:3:2]),
    *(f"manylinux2014_{machine}" for machine in _MACHINES if machine not in _OLDEST),
    *(f"{kind}_{machine}" for kind in ("manylinux_2_28", "musllinux_1_2") for machine in _MACHINES),
    *("macosx_11_0_arm64", "macosx_10_13_x86_64", *_WINDOWS),
)


def parse(text: str) -> Platform:
    """Return the platform of a text: a manylinux (PEP 513, 571, 599, 600) or musllinux tag (PEP
    656), ``macosx_X_Y_MACHINE``, ``win32``, ``win_amd64`` or ``win_arm64``.

    Raises :class:`Unknown`.
    """
    if text in _WINDOWS:
        return Platform(text, (text,), "Windows", _WINDOWS[text])
    platform = _linux(text) or _mac(text)
    if platform is None:
        raise Unknown(f"unknown platform {text!r}; {_advice(text)}")
    return platform


def _advice(text: str) -> str:
    if text.startswith("linux_"):
        return "write the C library too, as in manylinux_2_28_x86_64 or musllinux_1_2_x86_64"
    if text.startswith("macosx_"):
        return "write macosx_10_4_x86_64 or newer, or macosx_11_0_arm64 or newer"
    if text.startswith("manylinux_"):
        return f"write manylinux_2_5_x86_64 to manylinux_2_{_NEWEST}_x86_64, or another machine"
    return hint(text, _EXAMPLES, "write a platform tag such as manylinux2014_x86_64 or win_amd64")


def _linux(text: str) -> Platform | None:
    if (match := _LINUX.fullmatch(text)) is None:
        return None
    machine = match["machine"]
    if match["musl"]:
        names = [f"musllinux_1_{minor}" for minor in range(int(match["musl"]), -1, -1)]
    else:
        names = list(_glibc_names(_glibc(match), _OLDEST.get(machine, _OLDEST_ELSEWHERE)))

    # Native tags are first, as in packaging since 26.3 and pip with it.
    tags = tuple(f"{name}_{machine}" for name in ("linux", *names))
    return Platform(text, tags, "Linux", machine) if names else None


def _glibc(match: re.Match[str]) -> int:
    """The minor version of glibc 2 in a manylinux tag."""
    aliases = {alias: minor for minor, alias in _ALIASES.items()}
    return aliases[match["alias"]] if match["alias"] else int(match["glibc"])


def _glibc_names(newest: int, oldest: int) -> Iterator[str]:
    """The manylinux tags of a glibc without machine, newest first."""
    for minor in range(newest if newest <= _NEWEST else 0, oldest - 1, -1):
        yield f"manylinux_2_{minor}"
        if minor in _ALIASES:
            yield _ALIASES[minor]


def _mac(text: str) -> Platform | None:
    if (match := _MAC.fullmatch(text)) is None:
        return None
    version, machine = (int(match[1]), int(match[2])), match[3]
    if version < ((11, 0) if machine == "arm64" else (10, 4)):
        return None
    return Platform(text, tuple(mac_platforms(version, machine)), "Darwin", machine)
