"""Core metadata in wheels, sdists, eggs and installers, whose bytes are not trusted.

Nothing is extracted to the disk. The directory of an archive, its headers, its metadata, and the
ratio of its unpacked to its packed size are limited. Reading costs time and memory nevertheless, so
that only processes with limits do it (:mod:`appliance.incoming.examiner`).
"""

import contextlib
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from posixpath import normpath
from typing import IO

from appliance.errors import Rejected
from appliance.incoming import tars, zips
from appliance.incoming.agreement import is_release_of, release
from appliance.index.metadata import MAX_METADATA
from appliance.index.names import Distribution

MIB = 1024 * 1024
# The limits of PyPI: an archive may unpack to 64 MiB, and beyond that to 50 times its size.
MAX_UNPACKED = 64 * MIB
MAX_RATIO = tars.MAX_RATIO

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
_BUILD_FILE = re.compile(
    r"(?:\./)?[^/]+/(pyproject\.toml|PKG-INFO|setup\.(?:cfg|py)"
    r"|(?:src/|lib/)?[^/]+\.egg-info/requires\.txt)\Z"
)
_MAX_BUILD_FILE = 1 * MIB
_NO_METADATA = re.compile(r"(?!)")
_DIST_INFO = ".dist-info"
_WHEEL_FILES = ("METADATA", "WHEEL", "RECORD")
_MSI_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")


class UnexpectedError(Rejected):
    """An error that no check of an archive expects; ``__cause__`` says where it was raised."""


def read(
    content: IO[bytes], suffix: str, distribution: Distribution, thorough: bool
) -> bytes | None:
    """Return the metadata file in an archive, byte for byte; ``None`` if it has none.

    ``suffix`` is the ending of the file name; ``thorough`` reads all members of a zip archive.
    Raises :class:`Rejected` for an archive that is damaged, ambiguous or hostile, ``OSError`` if
    the file cannot be read, and ``MemoryError``.
    """
    with _explained():
        content.seek(0)
        return _read(content, suffix, distribution, thorough)


def read_build_files(content: IO[bytes], suffix: str) -> dict[str, bytes]:
    """Return the files of an sdist that say how it is built and what it requires, without running
    any: pyproject.toml, PKG-INFO, setup.cfg and the like, by their paths below its top directory.

    Larger ones than 1 MiB are left out. Raises as :func:`read` does.
    """
    with _explained():
        if suffix == ".zip":
            return _build_files_of_zip(content)
        return _build_files_of_tar(content, suffix)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what reading a damaged archive raises into :class:`Rejected`."""
    try:
        yield
    except (Rejected, MemoryError):
        raise

    except (*_UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # from the disk, not from gzip or bz2
        text = str(error) or type(error).__name__
        raise Rejected(f"truncated or damaged archive: {text}") from error
    except Exception as error:
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise UnexpectedError(f"cannot be examined: {text}") from error


def _read(
    content: IO[bytes], suffix: str, distribution: Distribution, thorough: bool
) -> bytes | None:
    if suffix == ".msi":
        _check_msi(content)
        return None
    if suffix == ".whl":
        return _from_wheel(content, distribution, thorough)
    if suffix in (".zip", ".egg", ".exe"):
        return _from_zip(content, suffix, thorough)
    return _from_tar(content, suffix)


def _check_msi(content: IO[bytes]) -> None:
    if content.read(len(_MSI_MAGIC)) != _MSI_MAGIC:
        raise Rejected("not an MSI file")


# --- files that say how an sdist is built ---------------------------------------------------------


def _build_files_of_zip(content: IO[bytes]) -> dict[str, bytes]:
    archive = _read_zip(content, thorough=False)
    members = (m for m in archive.members if m.file_size <= _MAX_BUILD_FILE)
    found = {m.filename: _BUILD_FILE.match(m.filename) for m in members}
    return {match[1]: archive.read(name, _MAX_BUILD_FILE) for name, match in found.items() if match}


def _build_files_of_tar(content: IO[bytes], suffix: str) -> dict[str, bytes]:
    size = content.seek(0, os.SEEK_END)
    contents: dict[str, bytes] = {}

    def is_needed(member: tarfile.TarInfo) -> bool:
        is_small = member.isreg() and member.size <= _MAX_BUILD_FILE
        return is_small and _BUILD_FILE.match(member.name) is not None

    def receive(member: tarfile.TarInfo, raw: bytes) -> None:
        if match := _BUILD_FILE.match(member.name):
            contents[match[1]] = raw

    tars.walk(content, suffix, _limit(size), is_needed, receive)
    return contents


# --- wheels --------------------------------------------------------------------------------------


def _from_wheel(content: IO[bytes], distribution: Distribution, thorough: bool) -> bytes | None:
    archive = _read_zip(content, thorough)
    members = {member.filename for member in archive.members}
    info = _dist_info(members, distribution)
    for name in _WHEEL_FILES:
        if f"{info}/{name}" not in members:
            raise Rejected(f"wheel without a .dist-info/{name} file")
    for member in sorted(members):
        _check_portable(member, info)
    return _read_member(archive, f"{info}/METADATA")


def _dist_info(members: set[str], distribution: Distribution) -> str:
    """Return the name of a wheel's only .dist-info directory (PEP 427)."""
    tops = {_with_slashes(name).partition("/")[0] for name in members}
    infos = sorted(top for top in tops if top.lower().endswith(_DIST_INFO))
    if not infos:
        raise Rejected("wheel without a .dist-info/METADATA file")
    if len(infos) > 1:
        raise Rejected(f"more than one .dist-info directory: {infos[0]}, {infos[1]}")

    (info,) = infos
    if not _is_info_of(info, distribution):
        raise Rejected(f".dist-info directory {info} is not that of {release(distribution)}")
    return info


def _check_portable(member: str, info: str) -> None:
    """Reject a member that makes a wheel another one when it is unpacked on Windows, or on a file
    system that ignores case."""
    if "//" in member or "/./" in member or member.startswith("./"):
        raise Rejected(f"member {member!r} is unpacked under another name")
    name = _with_slashes(member).removeprefix(f"{info}/").upper()
    if name in _WHEEL_FILES and member != f"{info}/{name}":
        raise Rejected(f"member {member!r} is read as {name} on some systems only")


def _with_slashes(name: str) -> str:
    return name.replace("\\", "/")


def _is_info_of(info: str, distribution: Distribution) -> bool:
    if not info.endswith(_DIST_INFO):
        return False
    stem = info.removesuffix(_DIST_INFO)
    if stem.count("-") == 1 and distribution.filename.startswith(f"{stem}-"):
        return True
    dashes = [offset for offset, char in enumerate(stem) if char == "-"]
    return any(is_release_of(distribution, stem[:dash], stem[dash + 1 :]) for dash in dashes)


# --- other archives ------------------------------------------------------------------------------


def _from_zip(content: IO[bytes], suffix: str, thorough: bool) -> bytes | None:
    is_program = suffix == ".exe"
    # An egg may begin with a script that starts it, a program may end with a signature.
    archive = _read_zip(content, thorough, prefix=suffix != ".zip", tail=is_program)
    pattern = {".zip": _PKG_INFO, ".egg": _EGG_INFO}.get(suffix, _NO_METADATA)
    members = sorted({m.filename for m in archive.members if pattern.match(m.filename)})
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

    def is_needed(member: tarfile.TarInfo) -> bool:
        _check_member(member.name)
        is_metadata = member.isreg() and _PKG_INFO.match(member.name) is not None
        if is_metadata and member.size > MAX_METADATA:
            raise Rejected(f"PKG-INFO larger than {MAX_METADATA // MIB} MiB")
        return is_metadata

    def receive(member: tarfile.TarInfo, raw: bytes) -> None:
        for name, other in metadata_of.items():
            if other != raw:
                raise Rejected(f"more than one metadata file: {name}, {member.name}")
        metadata_of[member.name] = raw

    tars.walk(content, suffix, _limit(size), is_needed, receive)
    return next(iter(metadata_of.values()), None)


def _limit(size: int) -> int:
    return max(MAX_UNPACKED, MAX_RATIO * size)


def _check_member(name: str) -> None:
    if ".." not in name and name[:1] not in ("/", "\\", ""):
        return

    components = _with_slashes(name).split("/")
    leads_out = f"{normpath('/'.join(components))}/".startswith("../")
    if not components[0] or (".." in components and leads_out):
        raise Rejected(f"member {name!r} would be unpacked outside the target directory")
    if ".." in components:
        raise Rejected(f"member {name!r} has .. in its path")
