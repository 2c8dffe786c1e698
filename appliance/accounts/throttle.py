"""Throttle: how often a password may be guessed, by account and by address.

Each failure fills a bucket that leaks with time: after ``burst`` failures at once, one more attempt
is allowed each ``interval``. The buckets are in a file of fixed size that all workers map, so that
they count together and a restart forgets nothing. A bucket is chosen by a keyed hash and never
emptied for another, so that no flood of other names frees the one of an account; two that share a
bucket are slowed down together.
"""

import errno
import hashlib
import mmap
import os
import secrets
import struct
import time
from functools import cached_property
from pathlib import Path

from appliance.locks import lock, unlock

_KEY_BYTES = 32
_BUCKETS = 1 << 15
_BUCKET = struct.Struct("=d")  # the time when the bucket is empty, by CLOCK_BOOTTIME
_SIZE = _KEY_BYTES + _BUCKETS * _BUCKET.size


class Throttle:
    """Buckets of failures in the file at ``path``; in memory of this process alone where the file
    cannot be written."""

    def __init__(self, path: Path, clock: int = time.CLOCK_BOOTTIME) -> None:
        self._path, self._clock = path, clock

    @cached_property
    def _map(self) -> mmap.mmap:
        return _mapped(self._path)

    def wait_seconds(self, name: str, burst: int, interval: float) -> float:
        """Seconds until an attempt for ``name`` is allowed; 0 if it is now."""
        full = burst * interval
        return max(0.0, self._filled(name, full) + interval - full)

    def record_failure(self, name: str, burst: int, interval: float) -> None:
        """Count a failed attempt for ``name``."""
        full = burst * interval
        level = min(self._filled(name, full) + interval, full)
        _BUCKET.pack_into(self._map, self._offset(name), self._now() + level)

    def _filled(self, name: str, full: float) -> float:
        """Seconds until the bucket is empty. What can be no level is of an earlier boot."""
        (empty_at,) = _BUCKET.unpack_from(self._map, self._offset(name))
        level = empty_at - self._now()
        return level if 0 < level <= full else 0.0

    def _offset(self, name: str) -> int:
        digest = hashlib.blake2b(
            name.encode(errors="replace"), key=self._map[:_KEY_BYTES], digest_size=8
        )
        return _KEY_BYTES + int.from_bytes(digest.digest()) % _BUCKETS * _BUCKET.size

    def _now(self) -> float:
        return time.clock_gettime(self._clock)


def _mapped(path: Path) -> mmap.mmap:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return _in_memory()
    try:
        lock(descriptor)
        _fill(descriptor)
        unlock(descriptor)
        return mmap.mmap(descriptor, _SIZE)
    except OSError:
        return _in_memory()
    finally:
        os.close(descriptor)


def _fill(descriptor: int) -> None:
    """Give a new or damaged file a key and empty buckets. All bytes are written: a hole of a file
    that is mapped would end the process when the disk is full."""
    if os.fstat(descriptor).st_size != _SIZE:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, _new(), 0)
        if os.fstat(descriptor).st_size != _SIZE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _in_memory() -> mmap.mmap:
    buckets = mmap.mmap(-1, _SIZE)
    buckets[:] = _new()
    return buckets


def _new() -> bytes:
    return secrets.token_bytes(_KEY_BYTES) + bytes(_SIZE - _KEY_BYTES)
