"""Compressed tar archives, read once from front to end within bounds."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable
from typing import IO, Protocol

from appliance.errors import Rejected

MIB = 1024 * 1024
MAX_MEMBERS = 200_000
# What tarfile may read before a member: names, pax records, a sparse map. Real ones are of a few
# hundred bytes; tarfile's time grows with the square of some of them (CVE-2024-6232).
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
    wanted: Callable[[tarfile.TarInfo], bool],
    take: Callable[[tarfile.TarInfo, bytes], None],
) -> None:
    """Read every member's header, and give ``take`` the bytes of those that are ``wanted``.

    No more than ``limit`` bytes come out of ``content``; :class:`Rejected` if there are more. A
    damaged archive raises what :mod:`tarfile` and the decompressors do, or :class:`Rejected`.
    """
    content.seek(0)
    stream = _Forward(_decompressor(content, suffix), limit)
    archive, member = None, None
    for _ in range(MAX_MEMBERS + 1):
        stream.begin_headers()
        try:
            # tarfile reads and seeks forward only; it asks for no other method of a file.
            if archive is None:
                archive = tarfile.open(fileobj=stream, mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
            member = archive.next()
        except (IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # tarfile takes headers apart and trusts what it finds.
            raise Rejected(
                f"truncated or damaged archive: unreadable tar header ({error})"
            ) from error
        if member is None:
            break
        archive.members.clear()
        _check(archive, member)
        if wanted(member):
            take(member, stream.take(member.size))
    else:
        raise Rejected(f"more than {MAX_MEMBERS:,} members")
    stream.drain()


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


class _Forward:
    """A stream that tarfile can walk: it seeks by reading on, and has an end."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream, self._limit, self._position = stream, limit, 0
        self._headers = 0

    def begin_headers(self) -> None:
        """What is read from here on are headers, of one member."""
        self._headers = 0

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        """A part of the headers, as tarfile asks for it."""
        self._headers += size
        if self._headers > MAX_HEADERS:
            raise Rejected(f"tar header larger than {MAX_HEADERS // 1024} KiB")
        data = self.take(size)
        if size > _BLOCK and b"0" * _MAX_DIGITS in data.translate(_DIGITS):
            raise Rejected(f"tar header with a number of more than {_MAX_DIGITS} digits")
        return data

    def take(self, size: int) -> bytes:
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
        """Read to the end, where the checksum of a gzip stream stands."""
        try:
            while piece := self._stream.read(_CHUNK):
                self._advance(len(piece))
        except gzip.BadGzipFile as error:
            # What follows a whole stream is nobody's: bz2 and lzma pass over it, pip never sees it.
            if not str(error).startswith("Not a gzipped file"):
                raise

    def _advance(self, count: int) -> None:
        self._position += count
        if self._position > self._limit:
            raise Rejected(BOMB)


MAX_RATIO = 50
BOMB = f"unpacks to more than {MAX_RATIO} times its size"
