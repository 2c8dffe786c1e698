"""Interpreters: implementation, Python version and ABI, written as ``cp311`` or ``cp27mu.5``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from appliance.targets.words import Unknown, hint

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One interpreter.

    Attributes:
        name: How it is written: ``cp311``, ``cp27mu``, ``cp313t``, ``pp310``.
        version: Its Python version, as two numbers.
        abi: The ABI tag of its own extension modules: ``cp311``, ``pypy310_pp73``.
        python: Its Python version in full: ``3.11.9``.
        release: Its own version, which for PyPy is another one: ``7.3.19``.
    """

    name: str
    version: Version
    abi: str
    python: str
    release: str

    @property
    def is_cpython(self) -> bool:
        """Whether it is CPython, not PyPy."""
        return self.name.startswith("cp")

    @property
    def tag(self) -> str:
        """Its interpreter tag (PEP 425), which is its name without flags: ``cp313``."""
        major, minor = self.version
        return f"{self.name[:2]}{major}{minor}"


# The last patch release of each CPython, as of November 2026. Those of 3.9 and older are final.
_PATCHES: dict[Version, int] = {
    (2, 7): 18,
    (3, 5): 10,
    (3, 6): 15,
    (3, 7): 17,
    (3, 8): 20,
    (3, 9): 25,
    (3, 10): 22,
    (3, 11): 18,
    (3, 12): 16,
    (3, 13): 18,
    (3, 14): 10,
    (3, 15): 2,
}
# The Python version and release of the last PyPy 7 of each Python. All have the ABI 7.3.
_PYPY: dict[Version, tuple[str, str]] = {
    (2, 7): ("2.7.18", "7.3.23"),
    (3, 6): ("3.6.12", "7.3.3"),
    (3, 7): ("3.7.13", "7.3.9"),
    (3, 8): ("3.8.16", "7.3.11"),
    (3, 9): ("3.9.19", "7.3.16"),
    (3, 10): ("3.10.16", "7.3.19"),
    (3, 11): ("3.11.15", "7.3.23"),
}
_EXPECTED = "write cp27mu, cp35 to cp315, cp313t to cp315t, pp27, or pp36 to pp311"


def parse(text: str) -> Interpreter:
    """Return the interpreter of a text such as ``cp311``, ``cp27mu.5`` or ``pp310``.

    The number after the point is the patch version: ``cp311.2`` is CPython 3.11.2. The default is
    the last one that this module knows, since a low one would fail ``Requires-Python: >=3.9.1``.
    Raises :class:`Unknown`.
    """
    match = re.fullmatch(r"([a-z0-9]+)(?:\.([0-9]{1,3}))?", text)
    if match is None or match[1] not in INTERPRETERS:
        raise Unknown(f"unknown interpreter {text!r}; {hint(text, INTERPRETERS, _EXPECTED)}")
    interpreter = INTERPRETERS[match[1]]
    return interpreter if match[2] is None else _patched(interpreter, int(match[2]))


def _patched(interpreter: Interpreter, patch: int) -> Interpreter:
    major, minor = interpreter.version
    python = f"{major}.{minor}.{patch}"
    release = python if interpreter.is_cpython else interpreter.release
    return replace(interpreter, python=python, release=release)


def _interpreters() -> Iterator[tuple[str, Interpreter]]:
    """Each interpreter by each of its names."""
    for version, patch in _PATCHES.items():
        for name, abi in _cpython_names(version):
            python = "{}.{}.{}".format(*version, patch)
            yield name, Interpreter(abi, version, abi, python, python)
    for (major, minor), (python, release) in _PYPY.items():
        name = f"pp{major}{minor}"
        # PyPy 2.7 has no version in the names of its extension modules.
        abi = "pypy_73" if major == 2 else f"pypy{major}{minor}_pp73"
        yield name, Interpreter(name, (major, minor), abi, python, release)


def _cpython_names(version: Version) -> Iterator[tuple[str, str]]:
    """Names of the builds of a CPython, each with its ABI."""
    name = "cp{}{}".format(*version)
    if version < (3, 0):
        yield from ((f"{name}{flags}", f"{name}{flags}") for flags in ("mu", "m"))
    elif version < (3, 8):
        yield from ((each, f"{name}m") for each in (name, f"{name}m"))
    else:
        yield name, name
    if version >= (3, 13):
        yield f"{name}t", f"{name}t"


INTERPRETERS = dict(_interpreters())
"""Each interpreter by each of its names; ``cp36`` and ``cp36m`` are the same one."""
