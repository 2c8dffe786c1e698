"""Compressed tar archives, read once from start to end within limits."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable
from typing import IO, Any, Protocol

from appliance.errors import Rejected

MIB = 1024 * 1024
MAX_MEMBERS = 200_000
# Bytes that tarfile may read before a member: names, pax records, a sparse map. Real ones have a
# few hundred; tarfile's time grows with the square of some of them (CVE-2024-6232).
MAX_HEADERS = 64 * 1024
_MAX_DIGITS = 128
# Records for all members (pax) are applied to each; git writes one, of 52 bytes.
_MAX_GLOBALS = 16
_MAX_GLOBAL_BYTES = 4096
_CHUNK = 1 * MIB
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_BLOCK = tarfile.BLOCKSIZE


def walk(
    content: IO[bytes],
    suffix: str,
    limit: int,
    is_needed: Callable[[tarfile.TarInfo], bool],
    receive: Callable[[tarfile.TarInfo, bytes], None],
) -> None:
    """Read every member's header, and call ``receive`` with the content of each that ``is_needed``.

    Raises :class:`Rejected` for an archive that unpacks to more than ``limit`` bytes. A damaged
    archive raises what :mod:`tarfile` and the decompressors raise, or :class:`Rejected`.
    """
    content.seek(0)
    stream = _ForwardStream(_decompressor(content, suffix), limit)
    members = _Members(stream)

    for _ in range(MAX_MEMBERS + 1):
        member = members.next()
        if member is None:
            stream.drain()
            return
        if is_needed(member):
            receive(member, stream.read_content(member.size))
    raise Rejected(f"more than {MAX_MEMBERS:,} members")


class _Members:
    """Members of an archive, each checked, without those before it in memory."""

    def __init__(self, stream: "_ForwardStream") -> None:
        self._stream = stream
        self._archive: Any = None  # a TarFile, whose `members` typeshed lacks

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member, or ``None`` at the end."""
        self._stream.begin_headers()
        try:
            # tarfile reads and seeks forward only; it calls no other method of a file.
            if self._archive is None:
                self._archive = tarfile.open(fileobj=self._stream, mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
            member: tarfile.TarInfo | None = self._archive.next()
        except (IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # tarfile trusts the fields of headers.
            text = f"truncated or damaged archive: unreadable tar header ({error})"
            raise Rejected(text) from error

        if member is not None:
            self._archive.members.clear()
            _check(self._archive, member)
        return member


def _check(archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    shared = archive.pax_headers
    if shared and (
        len(shared) > _MAX_GLOBALS
        or sum(len(key) + len(value) for key, value in shared.items()) > _MAX_GLOBAL_BYTES
    ):
        raise Rejected("global tar header (pax, type g) larger than 4 KiB")
    if member.issparse():
        raise Rejected(f"sparse member {member.name!r}: installers unpack it differently")


def _decompressor(content: IO[bytes], suffix: str) -> "Readable":
    if suffix == ".tar.bz2":
        return bz2.BZ2File(content)
    if suffix == ".tar.xz":
        return lzma.LZMAFile(content)
    return gzip.GzipFile(fileobj=content)


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _ForwardStream:
    """Stream that tarfile can read: it seeks forward by reading, up to a limit."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream, self._limit, self._position = stream, limit, 0
        self._headers = 0

    def begin_headers(self) -> None:
        """Count the bytes of headers from here on as those of one member."""
        self._headers = 0

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        """Return bytes of headers for tarfile. Raises :class:`Rejected` for hostile ones."""
        self._headers += size
        if self._headers > MAX_HEADERS:
            raise Rejected(f"tar header larger than {MAX_HEADERS // 1024} KiB")
        data = self.read_content(size)
        if size > _BLOCK and b"0" * _MAX_DIGITS in data.translate(_DIGITS):
            raise Rejected(f"tar header with a number of more than {_MAX_DIGITS} digits")
        return data

    def read_content(self, size: int) -> bytes:
        """Return the next ``size`` bytes, or all that remain."""
        pieces = []
        while size > 0 and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
            self._advance(len(piece))
        return b"".join(pieces)

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("tar header points backwards")
        while self._position < position:
            piece = self._stream.read(min(_CHUNK, position - self._position))
            if not piece:
                break
            self._advance(len(piece))

    def drain(self) -> None:
        """Read to the end, where a gzip stream has its checksum."""
        try:
            while piece := self._stream.read(_CHUNK):
                self._advance(len(piece))
        except gzip.BadGzipFile as error:
            # Bytes after a complete stream are ignored, as bz2, lzma and pip do.
            if not str(error).startswith("Not a gzipped file"):
                raise

    def _advance(self, count: int) -> None:
        self._position += count
        if self._position > self._limit:
            raise Rejected(BOMB)


MAX_RATIO = 50
BOMB = f"unpacks to more than {MAX_RATIO} times its size"
