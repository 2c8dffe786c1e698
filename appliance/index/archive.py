"""One look at a package file: digests and core metadata, from bytes that nobody vouches for.

Nothing is ever extracted. What is read of an archive is bounded: its directory, its metadata
file, and for a compressed tar the ratio of what comes out to what goes in.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from posixpath import normpath
from typing import IO, Any, Protocol

from packaging.version import InvalidVersion, Version

from appliance.errors import Refused
from appliance.index import names

MIB = 1024 * 1024
MAX_METADATA = 8 * MIB
MAX_DIRECTORY = 16 * MIB
# The bounds PyPI uses: an archive may grow to 64 MiB, and past that by no more than 50 times.
MAX_UNPACKED = 64 * MIB
MAX_RATIO = 50
_IN_MEMORY = 16 * MIB
_CHUNK = 1 * MIB

# A zip's end of central directory, and what stands before it in zip64 (APPNOTE 4.3.14 to 4.3.16):
# the record of the same in 64 bits, and its locator.
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    struct.error,
    UnicodeError,
    RuntimeError,  # zipfile: an encrypted member
    ValueError,
    OverflowError,
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_MEMBERS = {
    ".whl": re.compile(r"[^/]+\.dist-info/METADATA\Z"),
    ".egg": re.compile(r"EGG-INFO/PKG-INFO\Z"),
    ".exe": re.compile(r"(?!)"),
}
_PKG_INFO = re.compile(r"(?:\./)?[^/]+/PKG-INFO\Z")
_DESCRIPTION = re.compile(rb"\r?\n\r?\n")
_MSI_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
# A build back-end may change these when it makes the wheel, unless they are static (PEP 643).
_RESOLVED_BY = {"requires-dist", "requires-python", "provides-extra"}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file's bytes say. ``name`` is the project's as its authors spell it,
    ``metadata`` the file to publish as ``.metadata`` (PEP 658)."""

    distribution: names.Distribution
    name: str
    size: int
    sha256: str
    md5: str
    blake2b_256: str
    requires_python: str | None
    summary: str | None
    metadata: bytes | None


def inspect(path: Path) -> Inspection:
    """Read the package file at ``path`` once.

    Raises :class:`Refused` with the reason if it cannot be taken in, ``OSError`` if it cannot be
    read, :class:`Changing` if it was written to meanwhile.
    """
    suffix = names.ending(path.name)
    distribution = names.parse(path.name)  # a hopeless name is not worth reading the file for
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        digests, content = _hash(file, before.st_size)
        raw = _guard(content, suffix)
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Changing("the file is being written to")
    headers = _headers(raw) if raw is not None else None
    name = _field(headers, "Name")
    if name and names.normalize(name) != distribution.project:
        distribution = names.parse(path.name, name)
    trusted = headers if _agrees(distribution, headers) else None
    return Inspection(
        distribution=distribution,
        name=name if trusted and name else distribution.name,
        size=before.st_size,
        sha256=digests[0],
        md5=digests[1],
        blake2b_256=digests[2],
        requires_python=_field(trusted, "Requires-Python"),
        summary=_field(trusted, "Summary"),
        metadata=raw if _is_static(distribution.kind, trusted) else None,
    )


class Changing(Refused):
    """The file is being written to; look again later."""


def read_metadata(path: Path) -> bytes | None:
    """The core metadata (METADATA or PKG-INFO) inside ``path``, byte for byte; ``None`` if it has
    none. Raises as :func:`inspect` does."""
    with path.open("rb") as file:
        return _guard(file, names.ending(path.name))


def parse_metadata(raw: bytes) -> Message:
    """Core metadata as a message: fields as headers, the description as the payload."""
    return HeaderParser().parsestr(raw.decode("utf-8", "replace"))


def _hash(file: IO[bytes], size: int) -> tuple[list[str], IO[bytes]]:
    """The three hex digests, and the content to read on (in memory if it is small)."""
    hashes: tuple[Any, ...] = (
        hashlib.sha256(),
        hashlib.md5(usedforsecurity=False),
        hashlib.blake2b(digest_size=32),
    )
    content = io.BytesIO(file.read()) if size <= _IN_MEMORY else file
    chunks: Iterator[bytes | memoryview]
    chunks = iter([content.getbuffer()]) if isinstance(content, io.BytesIO) else _chunks(file)
    for chunk in chunks:
        for each in hashes:
            each.update(chunk)
    del chunks  # or the buffer could not be closed
    return [each.hexdigest() for each in hashes], content


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _guard(content: IO[bytes], suffix: str) -> bytes | None:
    """Every way in which a library says that an archive is broken, as one refusal."""
    content.seek(0)
    try:
        if suffix == ".msi":
            _check_msi(content)
            return None
        if suffix in _MEMBERS or suffix == ".zip":
            return _from_zip(content, _MEMBERS.get(suffix, _PKG_INFO), required=suffix == ".whl")
        return _from_tar(content, suffix)
    except (*_UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk says it, not gzip or bz2
        text = str(error) or type(error).__name__
        raise Refused(f"truncated or damaged archive: {text}") from error


def _check_msi(content: IO[bytes]) -> None:
    if content.read(len(_MSI_MAGIC)) != _MSI_MAGIC:
        raise Refused("not an MSI file")


def _from_zip(content: IO[bytes], wanted: re.Pattern[str], required: bool) -> bytes | None:
    size = _check_directory(content)
    with zipfile.ZipFile(content) as archive:
        members = archive.infolist()
        unpacked = 0
        found = []
        for member in members:
            _check_member(member.filename)
            unpacked += member.file_size
            if wanted.match(member.filename):
                found.append(member)
        _check_ratio(unpacked, size)
        if not found:
            if required:
                raise Refused("a wheel without a .dist-info/METADATA file")
            return None
        if len(found) > 1:
            raise Refused(f"more than one metadata file: {found[0].filename}, {found[1].filename}")
        with archive.open(found[0]) as file:
            return _bounded(file)


def _check_directory(content: IO[bytes]) -> int:
    """Refuse a zip whose directory alone would fill the memory, before zipfile reads it."""
    size = content.seek(0, os.SEEK_END)
    start = content.seek(max(0, size - _END64.size - _LOCATOR.size - _END.size - 0xFFFF))
    tail = content.read()
    end = len(tail) - _END.size
    if not (tail[end:].startswith(b"PK\5\6") and tail.endswith(b"\0\0")):
        end = tail.rfind(b"PK\5\6")  # zipfile, too, looks for it only where a comment follows
    if end >= 0 and len(tail) >= end + _END.size:
        length = _directory_length(tail, start, end)
        if length > MAX_DIRECTORY:
            raise Refused(f"the zip directory is larger than {MAX_DIRECTORY // MIB} MiB")
    content.seek(0)
    return size


def _directory_length(tail: bytes, start: int, end: int) -> int:
    """What a zip says of its directory's length. ``tail`` is its end from ``start`` on, with the
    end record at ``end``.

    Refuses zip64 whose records contradict each other: readers would see different files in it.
    """
    *_, entries, length, offset, _ = _END.unpack_from(tail, end)
    place = end - _LOCATOR.size - _END64.size
    if tail[max(0, end - _LOCATOR.size) : end][:4] != b"PK\6\7":
        return int(length)
    if place < 0:
        raise Refused(_TWO_MINDS)
    _, _, position, _ = _LOCATOR.unpack_from(tail, end - _LOCATOR.size)
    magic, *_, entries64, length64, offset64 = _END64.unpack_from(tail, place)
    if (
        magic != b"PK\6\6"
        or not position == offset64 + length64 == start + place
        or entries not in (entries64, 0xFFFF)
        or length not in (length64, 0xFFFFFFFF)
        or offset not in (offset64, 0xFFFFFFFF)
    ):
        raise Refused(_TWO_MINDS)
    return int(length64)


_TWO_MINDS = "its zip64 end records contradict each other"


def _from_tar(content: IO[bytes], suffix: str) -> bytes | None:
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    stream = _Forward(_decompressor(content, suffix), limit=max(MAX_UNPACKED, MAX_RATIO * size))
    raw = None
    # tarfile reads and seeks forward only; it asks for no other method of a file.
    with tarfile.open(fileobj=stream, mode="r:") as archive:  # type: ignore[call-overload]
        while (member := archive.next()) is not None:
            archive.members.clear()
            _check_member(member.name)
            if raw is None and member.isreg() and _PKG_INFO.match(member.name):
                if member.size > MAX_METADATA:
                    raise Refused(f"PKG-INFO is larger than {MAX_METADATA // MIB} MiB")
                raw = stream.read(member.size)
    stream.drain()
    return raw


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

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        if size > 2 * MAX_METADATA:
            raise Refused("a tar header claims to be larger than any metadata")
        pieces = []
        while size > 0 and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
            self._advance(len(piece))
        return b"".join(pieces)

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("a tar header points backwards")
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
            raise Refused(_BOMB)


_BOMB = f"unpacks to more than {MAX_RATIO} times its size"


def _check_ratio(unpacked: int, size: int) -> None:
    if unpacked > max(MAX_UNPACKED, MAX_RATIO * size):
        raise Refused(_BOMB)


def _check_member(name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or (".." in parts and f"{normpath('/'.join(parts))}/".startswith("../")):
        raise Refused(f"the archive member {name!r} would be unpacked outside its folder")
    if ".." in parts:
        raise Refused(f"the archive member {name!r} has .. in its path")


def _bounded(file: IO[bytes]) -> bytes:
    raw = file.read(MAX_METADATA + 1)
    if len(raw) > MAX_METADATA:
        raise Refused(f"METADATA is larger than {MAX_METADATA // MIB} MiB")
    return raw


def _headers(raw: bytes) -> Message:
    # Only the fields: the description may be megabytes long and says nothing we need.
    return parse_metadata(_DESCRIPTION.split(raw, maxsplit=1)[0])


def _field(headers: Message | None, name: str) -> str | None:
    """One field on one line; empty and UNKNOWN are what old tools write for nothing."""
    text = " ".join(headers.get(name, "").split()) if headers is not None else ""
    if _CONTROL.search(text):
        raise Refused(f"control characters in the metadata field {name}")
    return None if text in ("", "UNKNOWN") else text


def _agrees(distribution: names.Distribution, headers: Message | None) -> bool:
    """Whether file name and metadata speak of one release; a wheel of two minds is refused."""
    if headers is None:
        return False
    name, version = _field(headers, "Name"), _field(headers, "Version")
    if name and version and _same(distribution, name, version):
        return True
    if distribution.kind == "bdist_wheel":
        raise Refused(f"its METADATA {_disagreement(distribution, headers, name, version)}")
    return False


def _disagreement(
    distribution: names.Distribution, headers: Message, name: str | None, version: str | None
) -> str:
    if str(headers.get_payload()).startswith("\ufeff"):
        return "begins with a byte order mark, so that its fields cannot be read"
    if not name or not version:
        return f"has no {'Version' if name else 'Name'}"
    return f"says {name} {version}, its file name {distribution.name} {distribution.version}"


def _same(distribution: names.Distribution, name: str, version: str) -> bool:
    if names.normalize(name) != distribution.project:
        return False
    try:
        return Version(names.normalize_version(version)) == Version(distribution.version)
    except InvalidVersion:
        return names.normalize_version(version) == distribution.version


def _is_static(kind: str, headers: Message | None) -> bool:
    """Whether a wheel built from this file will have these dependencies for certain (PEP 643)."""
    if headers is None or kind not in ("bdist_wheel", "sdist"):
        return False
    if kind == "bdist_wheel":
        return True
    major, _, minor = (_field(headers, "Metadata-Version") or "0").partition(".")
    if not (major.isdigit() and minor.isdigit()) or (int(major), int(minor)) < (2, 2):
        return False
    dynamic = {str(value).strip().lower() for value in headers.get_all("Dynamic", [])}
    return not dynamic & _RESOLVED_BY
