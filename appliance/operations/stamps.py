"""Names that carry the local time at which they were given, such as ``20261128T195530``."""

import time
from collections.abc import Callable
from pathlib import Path

STAMP = r"([0-9]{8}T[0-9]{6})(?:\.[0-9]+)?"
"""What :func:`unused` puts into a name, as a pattern; its group is the time."""
_FORM = "%Y%m%dT%H%M%S"


def stamp() -> str:
    """The time now."""
    return time.strftime(_FORM)


def seconds(text: str) -> float | None:
    """The time that a stamp tells, in seconds since the epoch; ``None`` if it is none."""
    try:
        return time.mktime(time.strptime(text, _FORM))
    except (ValueError, OverflowError):
        return None


def unused(name: Callable[[str], Path]) -> Path:
    """The first of the paths which ``name`` makes of a stamp, and a number behind it, that nothing
    has."""
    now = stamp()
    stamps = (now, *(f"{now}.{number}" for number in range(1, 1000)))
    return next(path for each in stamps if not _exists(path := name(each)))


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()
