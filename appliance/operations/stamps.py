"""Time stamps in names: the local time, such as ``20261128T195530``."""

import time
from collections.abc import Callable
from pathlib import Path

STAMP = r"([0-9]{8}T[0-9]{6})(?:\.[0-9]+)?"
"""Pattern of the stamps that :func:`unused` puts into names; its group is the time."""
_FORMAT = "%Y%m%dT%H%M%S"


def stamp() -> str:
    """Return the stamp of the present time."""
    return time.strftime(_FORMAT)


def seconds(text: str) -> float | None:
    """Return the time of a stamp in seconds since the epoch; ``None`` if it is invalid."""
    try:
        return time.mktime(time.strptime(text, _FORMAT))
    except (ValueError, OverflowError):
        return None


def unused(name: Callable[[str], Path]) -> Path:
    """Return the first path without a file: ``name`` makes it of a stamp, if necessary with a
    number."""
    now = stamp()
    stamps = (now, *(f"{now}.{number}" for number in range(1, 1000)))
    return next(path for each in stamps if not _exists(path := name(each)))


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()
