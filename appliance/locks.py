"""Locks between processes, by flock(2): a lock ends with its process, even if that is killed."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

Lockable = IO[str] | int
"""An open file, or its descriptor."""


def try_lock(file: Lockable) -> bool:
    """Lock a file exclusively without waiting; returns whether that was possible."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(file: Lockable) -> None:
    """Wait for an exclusive lock on a file."""
    fcntl.flock(file, fcntl.LOCK_EX)


def unlock(file: Lockable) -> None:
    """End a lock on a file before it is closed. A map of the file in memory, which keeps it open,
    would keep the lock."""
    fcntl.flock(file, fcntl.LOCK_UN)


def share_lock(file: Lockable) -> None:
    """Wait for a shared lock on a file."""
    fcntl.flock(file, fcntl.LOCK_SH)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for and hold an exclusive lock on ``path``, which is created if missing."""
    with path.open("a") as file:
        lock(file)
        yield
