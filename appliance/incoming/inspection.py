"""Inspection of package files: digests, names and core metadata, from one reading."""

import io
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b, md5, sha256  # hashlib alone can be imported where one of them cannot
from typing import IO, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from appliance.errors import Rejected
from appliance.incoming import archive
from appliance.incoming.agreement import agrees
from appliance.incoming.protocol import Part
from appliance.index import metadata, names
from appliance.index.metadata import CoreMetadata

MIB = 1024 * 1024
_MAX_SUMMARY = 2048
_IN_MEMORY = 16 * MIB
_CHUNK = 1 * MIB
# A file that was written to within this time may be incomplete; so may be a file with a hole, since
# bytes that were not written yet read as zeros, and compressed data has no long runs of zeros.
RECENT_SECONDS = 3600
_HOLE = bytes(2048)
_BLOCK = 512  # bytes, the unit of st_blocks in stat(2)
_LONGEST_HOLE = 16 * 1024 * MIB
# A build back-end may change these fields in the wheel, unless they are static (PEP 643).
_RESOLVED_BY = {"requires-dist", "requires-python", "provides-extra"}


@dataclass(frozen=True, slots=True)
class Inspection:
    """Names, digests and metadata of a file.

    Attributes:
        name: The project's name in the spelling of its authors.
        metadata: The metadata file to publish as ``.metadata`` (PEP 658), or ``None``.
        unpublished: The metadata file if it must not be published, or ``None``.
        notes: Messages for the log.
    """

    distribution: names.Distribution
    name: str
    size: int
    sha256: str
    md5: str
    blake2b_256: str
    requires_python: str | None
    summary: str | None
    metadata: bytes | None
    unpublished: bytes | None = None
    notes: tuple[str, ...] = ()


class ChangingError(Exception):
    """The file changed during the inspection; examine it again later."""


def inspect(file: IO[bytes], filename: str) -> Inspection:
    """Read the package file ``file`` once; ``filename`` is its name without directories.

    Raises :class:`Rejected` with the reason if it cannot be accepted, ``OSError`` if it cannot be
    read, :class:`ChangingError` if it was written to meanwhile, and ``MemoryError``.
    """
    suffix = names.ending(filename)
    distribution = names.parse(filename)  # raises before the file is read
    before = _status(file)
    digests, content, has_hole = _hash(file, before.st_size)
    thorough = has_hole or time.time() - before.st_mtime < RECENT_SECONDS

    try:
        raw = archive.read(content, suffix, distribution, thorough)
    finally:
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ChangingError("the file is being written to")
    return _describe(distribution, before.st_size, digests, raw)


def read_part(file: IO[bytes], filename: str, part: Part) -> bytes | None:
    """Return the core metadata (METADATA or PKG-INFO) in ``file``, byte for byte; or the files that
    :func:`archive.read_build_files` returns, as a JSON object of texts. ``None`` if it has none.
    Raises as :func:`inspect` does."""
    _status(file)
    suffix = names.ending(filename)
    if part is Part.METADATA:
        return archive.read(file, suffix, names.parse(filename), thorough=False)
    contents = archive.read_build_files(file, suffix)
    return json.dumps(
        {name: raw.decode("utf-8", "replace") for name, raw in contents.items()}
    ).encode()


def _status(file: IO[bytes]) -> os.stat_result:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise Rejected("not a regular file")
    if status.st_size > max(_LONGEST_HOLE, archive.MAX_RATIO * status.st_blocks * _BLOCK):
        raise Rejected("sparse file: hardly any of its bytes are on the disk")
    return status


def _hash(file: IO[bytes], size: int) -> tuple[list[str], IO[bytes], bool]:
    """Return hex digests, the content (in memory if it is small), and whether it has a hole."""
    hashes: tuple[Any, ...] = (
        sha256(),
        md5(usedforsecurity=False),
        blake2b(digest_size=32),
    )

    content = io.BytesIO(file.read(size)) if size <= _IN_MEMORY else file
    has_hole = False
    for chunk in _chunks(content):
        for algorithm in hashes:
            algorithm.update(chunk)
        has_hole = has_hole or _HOLE in chunk
    return [algorithm.hexdigest() for algorithm in hashes], content, has_hole


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    if isinstance(content, io.BytesIO):
        yield content.getvalue()
        return
    while chunk := content.read(_CHUNK):
        yield chunk


# --- the fields of the metadata ------------------------------------------------------------------


def _describe(
    distribution: names.Distribution, size: int, digests: list[str], raw: bytes | None
) -> Inspection:
    source = "METADATA" if distribution.kind == "bdist_wheel" else "PKG-INFO"
    fields = metadata.parse(raw, source) if raw is not None else None
    name = fields.line("name") if fields else None
    if name and names.normalize(name) != distribution.project:
        distribution = names.parse(distribution.filename, name)

    trusted = fields if fields and agrees(distribution, fields) else None
    requires_python = trusted.line("requires_python") if trusted else None
    summary = trusted.line("summary") if trusted else None
    is_published = trusted is not None and _is_static(distribution.kind, trusted)
    return Inspection(
        distribution=distribution,
        name=name if trusted and name else distribution.name,
        size=size,
        sha256=digests[0],
        md5=digests[1],
        blake2b_256=digests[2],
        requires_python=_specifier(requires_python),
        summary=summary[:_MAX_SUMMARY] if summary else None,
        metadata=raw if is_published else None,
        unpublished=raw if not is_published else None,
        notes=_notes(trusted, requires_python),
    )


def _specifier(requires_python: str | None) -> str | None:
    return requires_python if requires_python and _is_specifier(requires_python) else None


def _notes(trusted: CoreMetadata | None, requires_python: str | None) -> tuple[str, ...]:
    notes = []
    if requires_python and not _is_specifier(requires_python):
        notes.append(f"invalid Requires-Python {requires_python!r}: omitted from project pages")
    if trusted and not trusted.is_utf8:
        notes.append("metadata is not UTF-8, which makes pip fail: not published beside the file")
    return tuple(notes)


@lru_cache(maxsize=1024)
def _is_specifier(text: str) -> bool:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True


def _is_static(kind: str, fields: CoreMetadata) -> bool:
    """Return whether every wheel built from this file has these dependencies (PEP 643), in bytes
    that installers can read."""
    if not fields.is_utf8 or kind not in ("bdist_wheel", "sdist"):
        return False
    if kind == "bdist_wheel":
        return True

    major, _, minor = (fields.line("metadata_version") or "0").partition(".")
    if not (major.isdecimal() and minor.isdecimal() and len(major + minor) < 9):
        return False
    if (int(major), int(minor)) < (2, 2):
        return False
    dynamic = {value.strip().lower() for value in fields.texts("dynamic")}
    return not dynamic & _RESOLVED_BY
