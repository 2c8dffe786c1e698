"""Facts about an interpreter that was asked, as :mod:`probe` prints them, and their target."""

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace

from packaging.version import InvalidVersion, Version

from appliance.targets import platforms
from appliance.targets.environments import VARIABLES
from appliance.targets.interpreters import INTERPRETERS, Interpreter
from appliance.targets.platforms import Platform
from appliance.targets.tags import tags
from appliance.targets.target import Target
from appliance.targets.words import Unknown
from appliance.text import has_controls

Facts = Mapping[str, object]
"""The answer of :func:`probe.facts`, of an interpreter that may lie."""

PREFIX = "pyindex-target "
_LONGEST = 1000
_AGAIN = "run `pyindex targets --ask-again`"
_SUPPORTED = "supported are Linux with glibc or musl, macOS and Windows"
_SUPPORTED_ABIS = "supported are CPython 2.7 and 3.5 to 3.15, without debugging, and PyPy 7.3"
_BITS_32 = {"x86_64": "i686", "aarch64": "armv7l"}


def parse(output: str) -> Facts:
    """Return the facts in the output of :mod:`probe`, which a login shell may have added to.

    Raises :class:`Unknown` if there are none.
    """
    for line in output.splitlines():
        if line.startswith(PREFIX):
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(facts := json.loads(line.removeprefix(PREFIX)), dict):
                    return facts
    raise Unknown("not a Python: no facts in its output")


def target(name: str, facts: Facts) -> Target:
    """Return the target ``name`` of an interpreter with these facts.

    Its marker environment is that of the interpreter; a version such as ``3.11.2+``, of a Python
    built from a checkout, becomes ``3.11.2+local`` as in ``packaging``.
    Raises :class:`Unknown` for one that targets cannot express, and for facts of another form.
    """
    environment = _environment(facts)
    interpreter = _interpreter(facts, environment)
    platform = _platform(_platform_name(facts, environment["platform_machine"]))
    return Target(name, interpreter.name, platform.name, tags(interpreter, platform), environment)


def _platform(name: str) -> Platform:
    try:
        return platforms.parse(name)
    except Unknown:
        raise Unknown(f"unsupported platform {name!r}; {_SUPPORTED}") from None


def _environment(facts: Facts) -> dict[str, str]:
    values = facts.get("environment")
    if not isinstance(values, dict):
        raise Unknown(f"no marker environment in its answer; {_AGAIN}")
    environment = {variable: _text(values, variable) for variable in VARIABLES}
    if environment["python_full_version"].endswith("+"):
        environment["python_full_version"] += "local"
    return environment


def _text(values: Facts, name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or len(value) > _LONGEST or has_controls(value):
        raise Unknown(f"{name} missing in its answer, or no plain text; {_AGAIN}")
    return value


def _interpreter(facts: Facts, environment: Mapping[str, str]) -> Interpreter:
    """The interpreter, with the versions that it has."""
    full, abi = environment["python_full_version"], _text(facts, "abi")
    known = {each.abi: each for each in INTERPRETERS.values()}
    if abi not in known:
        raise Unknown(f"unsupported ABI {abi!r}; {_SUPPORTED_ABIS}")
    try:
        version = Version(full).release[:2]
    except InvalidVersion:
        raise Unknown(f"invalid version {full!r} in its answer; {_AGAIN}") from None
    if version != known[abi].version:
        raise Unknown(f"Python {full} with the ABI {abi!r} in its answer; {_AGAIN}")
    return replace(known[abi], python=full, release=environment["implementation_version"])


def _platform_name(facts: Facts, machine: str) -> str:
    """The newest platform tag."""
    system = _text(facts, "system").replace("-", "_").replace(".", "_")
    kind, _, architecture = system.partition("_")
    if kind == "linux":
        machines = _BITS_32 if facts.get("bits") == 32 else {}
        return _linux_name(facts, machines.get(architecture, architecture))
    if kind == "macosx":
        return _mac_name(facts, machine)
    return system


def _linux_name(facts: Facts, machine: str) -> str:
    for key, kind in (("glibc", "manylinux"), ("musl", "musllinux")):
        if facts.get(key) is not None:
            major, minor = _version(facts, key)
            return f"{kind}_{major}_{minor}_{machine}"
    raise Unknown(f"unsupported platform; {_SUPPORTED}")


def _mac_name(facts: Facts, machine: str) -> str:
    """The tag of a macOS. One that says 10.16 to an old program is at least 11."""
    version = _version(facts, "macos")
    major, minor = (11, 0) if version == (10, 16) else version
    return f"macosx_{major}_{minor}_{machine}"


def _version(facts: Facts, key: str) -> tuple[int, int]:
    """The first two numbers of a version."""
    match = re.match(r"([0-9]{1,2})\.([0-9]{1,2})", _text(facts, key))
    if match is None:
        raise Unknown(f"invalid version {facts[key]!r} of {key} in its answer; {_AGAIN}")
    return int(match[1]), int(match[2])
