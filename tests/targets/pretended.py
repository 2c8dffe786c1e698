"""Script: the tags that ``packaging`` finds on pretended hosts.

It reads a JSON list of ``[host, interpreter]`` and prints a JSON list of lists of tags.
"""

import json
import platform
import sys
import sysconfig
from collections.abc import Iterator
from typing import Any

from packaging import _manylinux, _musllinux, tags

_LINUX = tags._linux_platforms


def found(host: dict[str, Any], interpreter: dict[str, Any]) -> list[str]:
    """Return the tags of ``packaging`` with these answers from Python and the system."""
    version = tuple(interpreter["version"])
    variables = {"py_version_nodot": "{}{}".format(*version), "Py_DEBUG": 0}
    variables |= interpreter["variables"]
    glibc, musl = host["glibc"], host["musl"]
    machine = host["machine"]

    patches: list[tuple[Any, str, Any]] = [
        (sys, "version_info", (*version, 0)),
        (tags, "interpreter_name", lambda: interpreter["kind"]),
        (tags, "_get_config_var", lambda name, warn=False: variables.get(name)),
        (tags, "_linux_platforms", _LINUX if version >= (3, 10) else native_last),
        (sysconfig, "get_platform", lambda: host["sysconfig"]),
        (platform, "system", lambda: host["system"]),
        (platform, "mac_ver", lambda: (host["mac"], ("", "", ""), machine)),
        (_manylinux, "_get_glibc_version", lambda: tuple(glibc or (-1, -1))),
        (_manylinux, "_have_compatible_abi", lambda executable, archs: glibc is not None),
        (
            _musllinux,
            "_get_musl_version",
            lambda executable: musl and _musllinux._MuslVersion(*musl),
        ),
    ]
    for module, name, value in patches:
        setattr(module, name, value)
    # pip has the version in this tag, where sys_tags() has pp3.
    own = f"{interpreter['kind']}{variables['py_version_nodot']}-none-any"
    return [own if str(tag) == "pp3-none-any" else str(tag) for tag in tags.sys_tags()]


def native_last() -> Iterator[str]:
    """The order of packaging before 26.3, which is that of the last pip for Python 3.9."""
    return iter(sorted(_LINUX(), key=lambda tag: tag.startswith("linux_")))


if __name__ == "__main__":
    pairs = json.load(sys.stdin)
    print(json.dumps([found(host, interpreter) for host, interpreter in pairs]))
