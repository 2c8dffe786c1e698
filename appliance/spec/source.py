"""The text of a spec file, from a file system that may have anything under its name."""

import os
import re
import stat
from pathlib import Path

from appliance.errors import SpecError
from appliance.spec.faults import printable

_LARGEST = 256 * 1024  # far above any spec; a wrong file (an archive, a device) is not read on


def read_text(file: Path) -> str:
    """The text of a regular file. Raises SpecError if it is missing, too large or not UTF-8."""
    try:
        with open(_open(file), "rb") as stream:  # a descriptor has no path
            raw = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        problem = f'no such file; "pyindex init {file}" writes a spec to start from'
        raise SpecError([f"{file}: {problem}"]) from None
    except OSError as error:
        raise SpecError([f"{file}: {error.strerror}"]) from None

    if len(raw) > _LARGEST:
        raise SpecError([f"{file}: not a spec: larger than {_LARGEST // 1024} KiB"])
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise unreadable(file, line, f"expected UTF-8, got byte {raw[error.start]:#04x}") from None


def _open(file: Path) -> int:
    """A descriptor to read from. Raises OSError.

    Standard input, or ``<(...)`` in a shell, is open and may be a pipe. Anything else must be a
    regular file: a FIFO could make us wait forever, and a device may do anything when opened.
    """
    if given := re.fullmatch(r"/dev/(?:stdin|fd/([0-9]{1,9}))", str(file)):
        return os.dup(int(given[1] or 0))

    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        raise OSError(None, "Is a directory" if stat.S_ISDIR(kind) else "not a file")
    return descriptor


def unreadable(file: Path, line: int, problem: str) -> SpecError:
    """The error for a file that is no YAML document, at one of its lines."""
    return SpecError([printable(f"{file}:{line}: {problem}")])
