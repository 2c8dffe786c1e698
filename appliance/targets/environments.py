"""Marker environments of written targets (PEP 508)."""

from appliance.targets.interpreters import Interpreter
from appliance.targets.platforms import Platform

VARIABLES = (
    *("implementation_name", "implementation_version", "os_name", "platform_machine"),
    *("platform_python_implementation", "platform_release", "platform_system", "platform_version"),
    *("python_full_version", "python_version", "sys_platform"),
)
"""All variables of an environment but ``extra``."""


def environment(interpreter: Interpreter, platform: Platform) -> dict[str, str]:
    """Return the marker environment, as ``packaging`` finds it on such a host.

    ``platform_release`` and ``platform_version`` are empty: a text does not name a kernel.
    """
    name, release = _implementation(interpreter)
    return {
        "implementation_name": name,
        "implementation_version": release,
        "os_name": "nt" if platform.system == "Windows" else "posix",
        "platform_machine": platform.machine,
        "platform_python_implementation": "CPython" if interpreter.is_cpython else "PyPy",
        "platform_release": "",
        "platform_system": platform.system,
        "platform_version": "",
        "python_full_version": interpreter.python,
        "python_version": "{}.{}".format(*interpreter.version),
        "sys_platform": _sys_platform(interpreter, platform),
    }


def _implementation(interpreter: Interpreter) -> tuple[str, str]:
    """Name and version of the implementation. Python 2.7 has no ``sys.implementation``."""
    if interpreter.version < (3, 3):
        return "", "0"
    return "cpython" if interpreter.is_cpython else "pypy", interpreter.release


def _sys_platform(interpreter: Interpreter, platform: Platform) -> str:
    linux = "linux2" if interpreter.version < (3, 3) else "linux"
    return {"Linux": linux, "Darwin": "darwin", "Windows": "win32"}[platform.system]
