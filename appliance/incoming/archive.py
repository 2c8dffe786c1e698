"""Package files read once: digests and core metadata, from bytes that are not trusted.

Nothing is ever extracted. What is read of an archive is bounded: its directory, its headers, its
metadata, and the ratio of what comes out to what goes in. It costs time and memory nevertheless,
so that only processes with limits read files (:mod:`appliance.incoming.examiner`).
"""

import hashlib
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from posixpath import normpath
from typing import IO, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from appliance.errors import Rejected
from appliance.incoming import tars, zips
from appliance.index import metadata, names
from appliance.index.metadata import MAX_METADATA, CoreMetadata
from appliance.index.versions import is_version_of

MIB = 1024 * 1024
# The bounds PyPI uses: an archive may grow to 64 MiB, and past that by no more than 50 times.
MAX_UNPACKED = 64 * MIB
MAX_RATIO = tars.MAX_RATIO
_MAX_SUMMARY = 2048
_IN_MEMORY = 16 * MIB
_CHUNK = 1 * MIB
# A file written to in this time may be half a download; so may one that has a hole, for what was
# not written yet reads as zeros, and what is compressed has none.
RECENT_SECONDS = 3600
_HOLE = bytes(2048)

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
_PKG_INFO = re.compile(r"(?:\./)?[^/]+/PKG-INFO\Z")
_EGG_INFO = re.compile(r"EGG-INFO/PKG-INFO\Z")
_NOTHING = re.compile(r"(?!)")
_DIST_INFO = ".dist-info"
_WHEEL_FILES = ("METADATA", "WHEEL", "RECORD")
_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_MSI_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
# A build back-end may change these when it makes the wheel, unless they are static (PEP 643).
_RESOLVED_BY = {"requires-dist", "requires-python", "provides-extra"}


@dataclass(frozen=True, slots=True)
class Inspection:
    """Names, digests and metadata of a file, from its bytes.

    ``name`` is the project's as its authors spell it, ``metadata`` the file to publish as
    ``.metadata`` (PEP 658), ``unpublished`` what is not fit for that: only one of them is there.
    ``notes`` are for the log.
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
    """The file is being written to; examine it again later."""


class UnexpectedError(Rejected):
    """Reading a file raised what no check expects; ``__cause__`` says where."""


def inspect(file: IO[bytes], filename: str) -> Inspection:
    """Read the package file ``file`` once; ``filename`` is its name without directories.

    Raises :class:`Rejected` with the reason if it cannot be accepted, ``OSError`` if it cannot be
    read, :class:`ChangingError` if it was written to meanwhile. ``MemoryError`` is the caller's.
    """
    suffix = names.ending(filename)
    distribution = names.parse(filename)  # a hopeless name is not worth reading the file for
    before = _status(file)
    digests, content, has_hole = _hash(file, before.st_size)
    thorough = has_hole or time.time() - before.st_mtime < RECENT_SECONDS
    try:
        raw = _metadata(content, suffix, distribution, thorough)
    finally:
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ChangingError("the file is being written to")
    return _describe(distribution, before.st_size, digests, raw)


def read_metadata(file: IO[bytes], filename: str) -> bytes | None:
    """The core metadata (METADATA or PKG-INFO) inside ``file``, byte for byte; ``None`` if it has
    none. Raises as :func:`inspect` does."""
    _status(file)
    return _metadata(file, names.ending(filename), names.parse(filename), thorough=False)


_BLOCK = 512  # bytes, of which stat(2) counts
_LONGEST_HOLE = 16 * 1024 * MIB


def _status(file: IO[bytes]) -> os.stat_result:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise Rejected("not a regular file")
    if status.st_size > max(_LONGEST_HOLE, MAX_RATIO * status.st_blocks * _BLOCK):
        raise Rejected("sparse file: hardly any of its bytes are on the disk")
    return status


def _hash(file: IO[bytes], size: int) -> tuple[list[str], IO[bytes], bool]:
    """The three hex digests, the content to read on (in memory if it is small), and whether a part
    of it reads as if nobody had written it."""
    hashes: tuple[Any, ...] = (
        hashlib.sha256(),
        hashlib.md5(usedforsecurity=False),
        hashlib.blake2b(digest_size=32),
    )
    content = io.BytesIO(file.read(size)) if size <= _IN_MEMORY else file
    has_hole = False
    for chunk in _chunks(content):
        for each in hashes:
            each.update(chunk)
        has_hole = has_hole or _HOLE in chunk
    return [each.hexdigest() for each in hashes], content, has_hole


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    if isinstance(content, io.BytesIO):
        yield content.getvalue()
        return
    while chunk := content.read(_CHUNK):
        yield chunk


# --- the metadata in an archive ------------------------------------------------------------------


def _metadata(
    content: IO[bytes], suffix: str, distribution: names.Distribution, thorough: bool
) -> bytes | None:
    """The metadata file, of an archive that is whole; every way in which a library says that it is
    not, as one rejection."""
    content.seek(0)
    try:
        if suffix == ".msi":
            _check_msi(content)
            return None
        if suffix == ".whl":
            return _from_wheel(content, distribution, thorough)
        if suffix in (".zip", ".egg", ".exe"):
            return _from_zip(content, suffix, thorough)
        return _from_tar(content, suffix)
    except (Rejected, MemoryError):
        raise
    except (*_UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk says it, not gzip or bz2
        text = str(error) or type(error).__name__
        raise Rejected(f"truncated or damaged archive: {text}") from error
    except Exception as error:
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise UnexpectedError(f"cannot be examined: {text}") from error


def _check_msi(content: IO[bytes]) -> None:
    if content.read(len(_MSI_MAGIC)) != _MSI_MAGIC:
        raise Rejected("not an MSI file")


def _from_wheel(
    content: IO[bytes], distribution: names.Distribution, thorough: bool
) -> bytes | None:
    archive = _read_zip(content, thorough)
    info = _dist_info({member.filename for member in archive.members}, distribution)
    return _read_member(archive, f"{info}/METADATA")


def _dist_info(members: set[str], distribution: names.Distribution) -> str:
    """The name of the one directory that says what a wheel is (PEP 427)."""
    tops = {_on_windows(name).partition("/")[0] for name in members}
    infos = sorted(top for top in tops if top.lower().endswith(_DIST_INFO))
    if not infos:
        raise Rejected("wheel without a .dist-info/METADATA file")
    if len(infos) > 1:
        raise Rejected(f"more than one .dist-info directory: {infos[0]}, {infos[1]}")
    (info,) = infos
    if not _is_info_of(info, distribution):
        raise Rejected(f".dist-info directory {info} is not that of {_shown(distribution)}")
    for name in _WHEEL_FILES:
        if f"{info}/{name}" not in members:
            raise Rejected(f"wheel without a .dist-info/{name} file")

    # Unpacked on Windows, or on a disk that takes a for A, it must be the same wheel.
    for member in sorted(members):
        if "//" in member or "/./" in member or member.startswith("./"):
            raise Rejected(f"member {member!r} is unpacked under another name")
        name = _on_windows(member).removeprefix(f"{info}/").upper()
        if name in _WHEEL_FILES and member != f"{info}/{name}":
            raise Rejected(f"member {member!r} is read as {name} on some systems only")
    return info


def _on_windows(name: str) -> str:
    return name.replace("\\", "/")


def _is_info_of(info: str, distribution: names.Distribution) -> bool:
    if not info.endswith(_DIST_INFO):
        return False
    stem = info.removesuffix(_DIST_INFO)
    if stem.count("-") == 1 and distribution.filename.startswith(f"{stem}-"):
        return True
    cuts = [offset for offset, char in enumerate(stem) if char == "-"]
    return any(_same(distribution, stem[:cut], stem[cut + 1 :]) for cut in cuts)


def _from_zip(content: IO[bytes], suffix: str, thorough: bool) -> bytes | None:
    is_program = suffix == ".exe"
    # An egg may begin with a script that starts it, a program may end with a signature.
    archive = _read_zip(content, thorough, prefix=suffix != ".zip", tail=is_program)
    wanted = {".zip": _PKG_INFO, ".egg": _EGG_INFO}.get(suffix, _NOTHING)
    members = sorted({m.filename for m in archive.members if wanted.match(m.filename)})
    if len(members) > 1:
        raise Rejected(f"more than one metadata file: {members[0]}, {members[1]}")
    return _read_member(archive, members[0]) if members else None


def _read_zip(content: IO[bytes], thorough: bool, **allowed: bool) -> zips.Zip:
    archive = zips.read(content, thorough, **allowed)
    unpacked = 0
    for member in archive.members:
        _check_member(member.filename)
        unpacked += member.file_size
    if unpacked > _limit(archive.size):
        raise Rejected(tars.BOMB)
    return archive


def _read_member(archive: zips.Zip, name: str) -> bytes:
    raw = archive.read(name, MAX_METADATA)
    if len(raw) > MAX_METADATA:
        raise Rejected(f"METADATA larger than {MAX_METADATA // MIB} MiB")
    return raw


def _from_tar(content: IO[bytes], suffix: str) -> bytes | None:
    size = content.seek(0, os.SEEK_END)
    metadata_of: dict[str, bytes] = {}

    def is_wanted(member: tarfile.TarInfo) -> bool:
        _check_member(member.name)
        wanted = member.isreg() and _PKG_INFO.match(member.name) is not None
        if wanted and member.size > MAX_METADATA:
            raise Rejected(f"PKG-INFO larger than {MAX_METADATA // MIB} MiB")
        return wanted

    def take(member: tarfile.TarInfo, raw: bytes) -> None:
        for name, other in metadata_of.items():
            if other != raw:
                raise Rejected(f"more than one metadata file: {name}, {member.name}")
        metadata_of[member.name] = raw

    tars.walk(content, suffix, _limit(size), is_wanted, take)
    return next(iter(metadata_of.values()), None)


def _limit(size: int) -> int:
    return max(MAX_UNPACKED, MAX_RATIO * size)


def _check_member(name: str) -> None:
    if ".." not in name and name[:1] not in ("/", "\\", ""):
        return
    components = _on_windows(name).split("/")
    leads_out = f"{normpath('/'.join(components))}/".startswith("../")
    if not components[0] or (".." in components and leads_out):
        raise Rejected(f"member {name!r} would be unpacked outside the target directory")
    if ".." in components:
        raise Rejected(f"member {name!r} has .. in its path")


# --- what the metadata says ----------------------------------------------------------------------


def _describe(
    distribution: names.Distribution, size: int, digests: list[str], raw: bytes | None
) -> Inspection:
    source = "METADATA" if distribution.kind == "bdist_wheel" else "PKG-INFO"
    fields = metadata.parse(raw, source) if raw is not None else None
    name = fields.line("name") if fields else None
    if name and names.normalize(name) != distribution.project:
        distribution = names.parse(distribution.filename, name)
    trusted = fields if fields and _agrees(distribution, fields) else None
    wanted = trusted.line("requires_python") if trusted else None
    summary = trusted.line("summary") if trusted else None
    is_published = trusted is not None and _is_static(distribution.kind, trusted)
    return Inspection(
        distribution=distribution,
        name=name if trusted and name else distribution.name,
        size=size,
        sha256=digests[0],
        md5=digests[1],
        blake2b_256=digests[2],
        requires_python=wanted if wanted and _is_specifier(wanted) else None,
        summary=summary[:_MAX_SUMMARY] if summary else None,
        metadata=raw if is_published else None,
        unpublished=raw if not is_published else None,
        notes=_notes(trusted, wanted),
    )


def _notes(trusted: CoreMetadata | None, wanted: str | None) -> tuple[str, ...]:
    notes = []
    if wanted and not _is_specifier(wanted):
        notes.append(f"invalid Requires-Python {wanted!r}: omitted from project pages")
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


def _agrees(distribution: names.Distribution, fields: CoreMetadata) -> bool:
    """Whether file name and metadata speak of one release. A wheel of two minds is rejected, and
    whatever says that it is another project."""
    name, version = fields.line("name"), fields.line("version")
    if name and version and _same(distribution, name, version):
        return True
    if distribution.kind == "bdist_wheel":
        raise Rejected(f"METADATA {_disagreement(distribution, fields, name, version)}")
    if name and not _is_project(distribution, name):
        raise Rejected(f"PKG-INFO says {name}, the file name {_shown(distribution)}")
    return False


def _disagreement(
    distribution: names.Distribution, fields: CoreMetadata, name: str | None, version: str | None
) -> str:
    if fields.description.startswith("\ufeff"):
        return "begins with a byte order mark: its fields cannot be read"
    if not name or not version:
        return f"has no {'Version' if name else 'Name'}"
    return f"says {name} {version}, the file name {_shown(distribution)}"


def _shown(distribution: names.Distribution) -> str:
    return f"{distribution.name} {distribution.version}"


def _same(distribution: names.Distribution, name: str, version: str) -> bool:
    return _is_project(distribution, name) and is_version_of(distribution.version, version)


def _is_project(distribution: names.Distribution, name: str) -> bool:
    """Whether ``name`` is the project of the file, also in letters that a file name cannot have:
    setuptools writes a dash for those."""
    project = distribution.project
    return names.normalize(name) == project or (
        names.normalize(_UNSAFE_IN_NAME.sub("-", name)) == project
    )


def _is_static(kind: str, fields: CoreMetadata) -> bool:
    """Whether a wheel built from this file will have these dependencies for certain (PEP 643), in
    bytes that installers can read."""
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
