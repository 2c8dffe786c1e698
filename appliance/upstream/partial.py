"""A file while it is fetched: ``<name>.<digest>.part``, verified, then renamed.

What an interrupted run has left is continued if the page states a digest, since the name of the
partial file then tells its content. Scans ignore ``*.part``.
"""

import asyncio
import os
from pathlib import Path

from appliance import atomic
from appliance.errors import PyindexError
from appliance.locks import try_lock
from appliance.upstream import digests
from appliance.upstream.digests import Digest

_CHUNK = 1 << 20
_MODE = 0o644


def name(filename: str, digest: Digest | None) -> str:
    """The name of the partial file; of the digest so much as fits after the longest file name."""
    return f"{filename}.{digest[1][:16]}.part" if digest else f"{filename}.part"


class Part:
    """The partial file of one file, open and locked until it is closed.

    Attributes:
        size: The bytes it has.
        reached: The most bytes it ever had.
        validator: The ETag or date of the response that it is part of, if that is known.
        is_resumed: Whether its bytes come from more than one response.
    """

    def __init__(self, path: Path, digest: Digest | None) -> None:
        self.path, self.digest = path, digest
        self.size = self.reached = 0
        self.validator: str | None = None
        self.is_resumed = False
        self._hash = digests.new(digest[0]) if digest else None
        self._descriptor = _open(path)

    async def load(self, limit: int | None) -> None:
        """Read what an earlier run has left, or drop it: without a digest, or if it is larger than
        ``limit``."""
        left = os.fstat(self._descriptor).st_size
        if self.digest is None or (limit is not None and left > limit):
            self.restart()
        else:
            await asyncio.to_thread(self._read)

    def _read(self) -> None:
        while chunk := os.pread(self._descriptor, _CHUNK, self.size):
            self._add(chunk)
        self.is_resumed = self.size > 0

    def write(self, chunk: bytes) -> None:
        """Append a chunk. Raises OSError, for example if the disk is full."""
        rest = memoryview(chunk)
        offset = self.size
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            offset, rest = offset + written, rest[written:]
        self._add(chunk)

    def _add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.reached = max(self.reached, self.size)
        if self._hash:
            self._hash.update(chunk)

    def restart(self) -> None:
        """Drop all bytes."""
        os.ftruncate(self._descriptor, 0)
        self.size, self.validator, self.is_resumed = 0, None, False
        self._hash = digests.new(self.digest[0]) if self.digest else None

    @property
    def can_continue(self) -> bool:
        """Whether other bytes than the missing ones would be noticed."""
        return self.digest is not None or self.validator is not None

    def wrong_digest(self) -> str | None:
        """The digest of the bytes, if it is not the expected one."""
        if self.digest is None or self._hash is None:
            return None
        actual = self._hash.hexdigest()
        return None if actual == self.digest[1] else actual

    def finish(self, target: Path, mtime_ns: int | None) -> None:
        """Make the content durable, then rename it to ``target``; the caller syncs the directory.

        ``mtime_ns`` becomes its mtime, if there is one.
        """
        if mtime_ns is not None:
            os.utime(self._descriptor, ns=(mtime_ns, mtime_ns))
        os.fchmod(self._descriptor, _MODE)  # whatever the umask
        os.fsync(self._descriptor)
        self.path.rename(target)

    def discard(self) -> None:
        """Remove the file."""
        atomic.unlink(self.path)

    def close(self) -> None:
        """Close the file; one without content is removed."""
        if self.size == 0:
            self.discard()
        os.close(self._descriptor)


def _open(path: Path) -> int:
    """Open and lock a partial file that still has its name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        descriptor = os.open(path, flags, _MODE)
        if not try_lock(descriptor):
            os.close(descriptor)
            raise PyindexError(f"{path}: another process fetches this file; wait for it to end")
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # another process has just finished it


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def holds(path: Path, size: int | None, digest: Digest | None) -> bool:
    """Whether the file at ``path`` has this size and digest, as far as they are stated."""
    if size is not None and path.stat().st_size != size:
        return False
    if digest is None:
        return True
    computed = digests.new(digest[0])
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            computed.update(chunk)
    return computed.hexdigest() == digest[1]
