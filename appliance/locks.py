"""Locks between processes, by flock(2): a lock ends with its holder, however that ends."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

Lockable = IO[str] | int
"""A file that is open, or its descriptor."""


def try_lock(file: Lockable) -> bool:
    """Lock a file for this process alone, without waiting; returns whether that was possible."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(file: Lockable) -> None:
    """Lock a file for this process alone, and wait for it."""
    fcntl.flock(file, fcntl.LOCK_EX)


def share_lock(file: Lockable) -> None:
    """Lock a file together with others that share it, and wait for it."""
    fcntl.flock(file, fcntl.LOCK_SH)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on ``path``, which is made if it is missing; waits for it."""
    with path.open("a") as file:
        lock(file)
        yield
