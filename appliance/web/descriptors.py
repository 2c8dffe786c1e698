"""How many connections fit within the limit for file descriptors of this process."""

import resource
from pathlib import Path

# What is open beside connections: the system's own, logs; a catalog of SQLite in each thread.
_SPARE = 16
_PER_THREAD = 4
_PER_CONNECTION = 2  # the socket, and the file that is sent


def most_connections(requested: int, threads: int) -> int:
    """Raise the soft limit as far as needed and allowed; return how many of the ``requested``
    connections it has room for."""
    used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    spare = _SPARE + _PER_THREAD * threads
    soft = _raise_limit(used + spare + _PER_CONNECTION * requested)

    if soft is None:
        return requested
    free = soft - used
    return max(2, (free - min(spare, free // 2)) // _PER_CONNECTION)


def _raise_limit(needed: int) -> int | None:
    """The soft limit afterwards; ``None`` if as many as ``needed`` may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return None if soft == resource.RLIM_INFINITY or soft >= needed else soft
