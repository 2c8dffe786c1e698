"""Script that prints facts about the Python that runs it, as one line of JSON.

It runs on any Python from 2.7 on, from standard input, and imports only the standard library.
The facts are found as by ``packaging`` (``tags.sys_tags``, ``markers.default_environment``);
:mod:`facts` reads them. Nothing imports this module.
"""

import sys

# With the script on standard input, this is the current directory.
sys.path[:] = [path for path in sys.path if path]

import json  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import re  # noqa: E402
import struct  # noqa: E402
import subprocess  # noqa: E402
import sysconfig  # noqa: E402

MYPY = False
if MYPY:
    from typing import Any, Dict, Optional, Tuple  # noqa: F401 - for type comments


def facts():
    # type: () -> Dict[str, Any]
    """All facts; ``glibc``, ``musl`` and ``macos`` are versions such as "2.36", or None."""
    glibc = glibc_version()
    return {
        "abi": abi(),
        "system": sysconfig.get_platform(),
        "bits": struct.calcsize("P") * 8,
        "glibc": glibc,
        "musl": None if glibc else musl_version(),
        "macos": platform.mac_ver()[0] or None,
        "environment": environment(),
    }


def environment():
    # type: () -> Dict[str, str]
    """The marker environment (PEP 508)."""
    name, version = implementation()
    return {
        "implementation_name": name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def implementation():
    # type: () -> Tuple[str, str]
    """Name and version of the implementation."""
    if not hasattr(sys, "implementation"):
        return "", "0"
    info = sys.implementation.version
    version = "{}.{}.{}".format(info.major, info.minor, info.micro)
    if info.releaselevel != "final":
        version += info.releaselevel[0] + str(info.serial)
    return sys.implementation.name, version


def abi():
    # type: () -> str
    """The ABI tag of its own extension modules."""
    if platform.python_implementation() == "CPython":
        return "cp{}{}".format(*sys.version_info) + flags()
    suffix = sysconfig.get_config_var("EXT_SUFFIX") or ".{}.so".format(
        sysconfig.get_config_var("SOABI")
    )
    return "_".join(suffix.split(".")[1].split("-")[:2])


def flags():
    # type: () -> str
    """The letters of CPython's ABI tag: t, d, m, u."""
    threading = sysconfig.get_config_var("Py_GIL_DISABLED")
    debug = sysconfig.get_config_var("Py_DEBUG") or hasattr(sys, "gettotalrefcount")
    pymalloc = sysconfig.get_config_var("WITH_PYMALLOC") in (None, 1)
    return "".join(
        letter
        for letter, is_set in (
            ("t", sys.version_info >= (3, 13) and threading),
            ("d", debug),
            ("m", sys.version_info < (3, 8) and pymalloc),
            ("u", sys.version_info < (3, 3) and sys.maxunicode == 0x10FFFF),
        )
        if is_set
    )


def glibc_version():
    # type: () -> Optional[str]
    """The version of glibc that this process uses."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[1]
    except (AttributeError, IndexError, OSError, ValueError):  # Python 2.7, or no glibc
        return glibc_version_by_call()


def glibc_version_by_call():
    # type: () -> Optional[str]
    """The same, from the library itself."""
    try:
        import ctypes

        function = ctypes.CDLL(None).gnu_get_libc_version
    except (AttributeError, ImportError, OSError, TypeError):  # TypeError: on Windows
        return None
    function.restype = ctypes.c_char_p
    version = function()  # type: bytes
    return version.decode("ascii")


def musl_version():
    # type: () -> Optional[str]
    """The version of musl that this process uses: its loader prints it."""
    try:
        with open("/proc/self/maps") as maps:
            loader = re.search(r"/\S*/ld-musl-\S*", maps.read())
    except (IOError, OSError):  # no Linux
        return None
    if loader is None:
        return None

    process = subprocess.Popen([loader.group()], stderr=subprocess.PIPE, universal_newlines=True)
    version = re.search("^Version ([0-9]+[.][0-9]+)", process.communicate()[1], re.M)
    return version.group(1) if version else None


if __name__ == "__main__":
    print("pyindex-target " + json.dumps(facts()))
