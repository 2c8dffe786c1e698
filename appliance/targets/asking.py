"""Asking an interpreter for its facts, on this machine or over ssh."""

import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

from appliance.errors import PyindexError
from appliance.targets.facts import Facts, parse
from appliance.targets.words import Unknown
from appliance.text import printable

_SECONDS = 60
# -I would be stricter, but Python 2.7 does not have it: neither PYTHON* nor packages of the user.
_ISOLATED = ("-E", "-s", "-")
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "--")
_HOST = re.compile(
    "(?P<host>[A-Za-z0-9_][A-Za-z0-9_.@-]*)(?::(?P<python>[A-Za-z0-9_/~][A-Za-z0-9_./+~-]*))?"
)


def ask(text: str) -> Facts:
    """Return the facts of ``python:PATH`` or ``ssh:HOST[:PYTHON]``.

    PATH is a path, or the name of a program in $PATH; PYTHON is the same on the host, ``python3``
    by default. Raises :class:`PyindexError` if there is no such interpreter or it does not answer.
    """
    kind, _, place = text.partition(":")
    command = _python(text, place) if kind == "python" else _ssh(text, place)
    return _facts(text, [*command, *_ISOLATED])


def _python(text: str, place: str) -> list[str]:
    path = os.path.expanduser(place)  # noqa: PTH111 - Path's version raises for an unknown user
    program = shutil.which(path)
    if program is None:
        problem = "not executable" if place and Path(path).exists() else "not found"
        raise PyindexError(f"{text}: {problem}; write python: and the path of an interpreter")
    return [str(Path(program).absolute())]


def _ssh(text: str, place: str) -> list[str]:
    if (match := _HOST.fullmatch(place)) is None:
        raise PyindexError(f"{text}: not a host; write ssh:[USER@]HOST[:PYTHON]")
    return [*_SSH, match["host"], match["python"] or "python3"]


def _facts(text: str, command: list[str]) -> Facts:
    try:
        done = subprocess.run(
            command,
            input=files("appliance.targets").joinpath("probe.py").read_bytes(),
            capture_output=True,
            timeout=_SECONDS,
            cwd="/",
            # Without it macOS hides its version from older programs.
            env={**os.environ, "SYSTEM_VERSION_COMPAT": "0"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PyindexError(f"{text}: no answer in {_SECONDS} s; check that it runs") from None
    except OSError as error:
        raise PyindexError(f"{text}: {error.strerror}; check that it runs") from None

    try:
        return parse(done.stdout.decode("utf-8", "replace"))
    except Unknown as error:
        raise PyindexError(f"{text}: {_failure(done) or error}; check that it runs") from None


def _failure(done: "subprocess.CompletedProcess[bytes]") -> str:
    """How a program failed: its exit code and the end of what it says; "" if it did not."""
    if done.returncode == 0:
        return ""
    last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"exit code {done.returncode}: {printable(last)[:200]}".removesuffix(": ")
