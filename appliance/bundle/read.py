"""Reading a bundle: its volumes, signatures and layout are verified before any file is used.

Every byte of a volume outside of files is a function of its manifest, and is compared with that.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.bundle import minisign, tar, volumes
from appliance.bundle.manifest import LARGEST_MANIFEST, BundledFile, Manifest, dump, parse
from appliance.bundle.minisign import SUFFIX, PublicKey
from appliance.errors import PyindexError

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Volume:
    """An open volume. Each byte is read by its offset, so that replacing the path changes
    nothing."""

    path: Path
    descriptor: int
    manifest: Manifest
    key: str | None

    def read(self, start: int, size: int) -> bytes:
        try:
            return os.pread(self.descriptor, size, start)
        except OSError as error:
            raise PyindexError(f"{self.path}: {error.strerror}; copy the bundle again") from None


class Bundle:
    """An archive whose volumes are all there.

    Attributes:
        name: The path of its first volume.
        manifest: Its manifest.
        key: The id of the trusted key that signed it, or ``None``.
    """

    def __init__(self, parts: Sequence[Volume]) -> None:
        self._volumes = {part.manifest.volume: part for part in parts}
        first = self._volumes[1]
        self.name, self.manifest, self.key = str(first.path), first.manifest, first.key
        self._members = {
            member.file.path: (part, member) for part in parts for member in _members(part)
        }

    def copy(self, file: BundledFile, descriptor: int) -> str:
        """Write the content of a file to a descriptor; return its SHA-256."""
        part, member = self._members[file.path]
        digest, offset = hashlib.sha256(), member.content
        while offset < member.end:
            chunk = part.read(offset, min(_CHUNK, member.end - offset))
            if not chunk:
                raise PyindexError(f"{part.path}: changed while it was read; load again")
            digest.update(chunk)
            _write(descriptor, chunk)
            offset += len(chunk)
        return digest.hexdigest()


@contextlib.contextmanager
def opened(
    paths: Sequence[Path], keys: Sequence[PublicKey], allow_unsigned: bool = False
) -> Iterator[Bundle]:
    """Open the volumes of one bundle, in any order.

    With ``keys`` each must be signed by one of them; with ``allow_unsigned`` a missing signature
    is allowed. Raises :class:`PyindexError` for a bundle that is damaged, incomplete, not trusted,
    or not one.
    """
    with contextlib.ExitStack() as stack:
        parts = []
        for path in paths:
            descriptor = _open(path)
            stack.callback(os.close, descriptor)
            parts.append(_volume(path, descriptor, keys, allow_unsigned))
        _check_complete(parts)
        for part in parts:
            _check_layout(part)
        yield Bundle(parts)


def _open(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise _unreadable(path) from None
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}; pass the files of a bundle") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PyindexError(f"{path}: not a regular file; pass the files of a bundle")
    return descriptor


def _unreadable(path: Path) -> PyindexError:
    """Return the error for a file that root may be able to read, but not the owner of the state."""
    return PyindexError(
        f"{path}: permission denied for uid {os.geteuid()}; let this user read it, or copy it to a"
        " directory where this user can"
    )


def _volume(path: Path, descriptor: int, keys: Sequence[PublicKey], allow_unsigned: bool) -> Volume:
    """Return the volume in an open file, once its signature and manifest are verified."""
    head = _head(path, descriptor)
    key = _signer(path, descriptor, head, keys, allow_unsigned)
    start = len(volumes.manifest_member(b""))
    size = tar.size_of(head)
    raw = head[start : start + (size or 0)]
    try:
        if head != volumes.manifest_member(raw) or size is None:
            raise PyindexError(f"{_expected(head, volumes.MANIFEST)}")
        return Volume(path, descriptor, parse(raw), key)
    except PyindexError as error:
        raise PyindexError(f"{path}: {error}{_advice(error)}") from None


def _head(path: Path, descriptor: int) -> bytes:
    """Return the first member of a volume, as far as it is there."""
    first = os.pread(descriptor, tar.BLOCK, 0)
    size = tar.size_of(first)
    if size is None or size > LARGEST_MANIFEST:
        raise PyindexError(f"{path}: not a bundle of pyindex; pass the files of a bundle")
    return _all(descriptor, tar.BLOCK + size + tar.padding(size))


def _all(descriptor: int, size: int) -> bytes:
    """Return the first ``size`` bytes of a file, or all if it has less."""
    parts, offset = [], 0
    while offset < size and (chunk := os.pread(descriptor, size - offset, offset)):
        parts.append(chunk)
        offset += len(chunk)
    return b"".join(parts)


def _advice(error: PyindexError) -> str:
    return "" if ";" in str(error) else "; make the bundle again, or copy it again"


def _expected(block: bytes, name: str) -> str:
    found = tar.describe(block)
    return f"expected the member {name!a}, found {found}"


# --- signatures -----------------------------------------------------------------------------------


def _signer(
    path: Path, descriptor: int, head: bytes, keys: Sequence[PublicKey], allow_unsigned: bool
) -> str | None:
    """Return the id of the key that signed a volume; ``None`` without trusted keys."""
    if not keys:
        return None
    signed = Path(f"{path}{SUFFIX}")
    try:
        signature = minisign.read_signature(signed)
    except PermissionError:
        raise _unreadable(signed) from None
    except FileNotFoundError:
        if allow_unsigned:
            return None
        raise PyindexError(
            f"{path}: not signed, {signed.name} is missing, and keys are configured; sign the"
            " bundle, or pass --allow-unsigned"
        ) from None

    number = signature.number[::-1].hex().upper()
    key = next((each for each in keys if each.number == signature.number), None)
    if key is None:
        known = ", ".join(each.id for each in keys)
        raise PyindexError(f"{path}: signed by key {number}; trusted: {known}")
    if not signature.verify(key, _digest(descriptor, head)):
        raise PyindexError(
            f"{path}: not what key {number} signed in {signed.name}; copy both again, or make the"
            " bundle again"
        )
    return key.id


def _digest(descriptor: int, head: bytes) -> bytes:
    """Return the digest of a file that begins with ``head``: these bytes are not read again."""
    digest, offset = minisign.hasher(), len(head)
    digest.update(head)
    while chunk := os.pread(descriptor, _CHUNK, offset):
        digest.update(chunk)
        offset += len(chunk)
    return digest.digest()


# --- the set of volumes ---------------------------------------------------------------------------


def _check_complete(parts: Sequence[Volume]) -> None:
    """Raise :class:`PyindexError` unless these are all volumes of one bundle, each once."""
    first, known = parts[0], dict[int, Volume]()
    for part in parts:
        if part.manifest.id != first.manifest.id:
            raise PyindexError(
                f"{part.path}: of another bundle than {first.path}; pass the volumes of one bundle"
            )
        if other := known.get(part.manifest.volume):
            raise PyindexError(
                f"{part.path}: volume {part.manifest.volume}, as {other.path}; pass each volume"
                " once"
            )
        known[part.manifest.volume] = part

    missing = [str(n) for n in range(1, first.manifest.volumes + 1) if n not in known]
    if missing:
        numbers = f"volume {missing[0]}" if len(missing) == 1 else f"volumes {', '.join(missing)}"
        raise PyindexError(
            f"{first.path}: {numbers} of {first.manifest.volumes} missing; pass all volumes"
        )


def _members(part: Volume) -> list[volumes.Member]:
    return volumes.members(part.manifest, len(dump(part.manifest)))[0]


def _check_layout(part: Volume) -> None:
    """Raise :class:`PyindexError` unless all of a volume but the content of files is as its
    manifest says."""
    members, size = volumes.members(part.manifest, len(dump(part.manifest)))
    actual = os.fstat(part.descriptor).st_size
    if actual != size:
        what = "truncated" if actual < size else "with other data at its end"
        raise PyindexError(
            f"{part.path}: {actual} bytes, its manifest says {size}: {what}; copy it again"
        )

    for member in members:
        found = part.read(member.start, len(member.header))
        if found != member.header:
            expected = _expected(found, f"packages/{member.file.path}")
            raise PyindexError(f"{part.path}: {expected}, or with another header; copy it again")
        if part.read(member.end, tar.padding(member.file.size)).strip(b"\0"):
            raise PyindexError(f"{part.path}: data after {member.file.path!a}; copy it again")
    if part.read(size - len(tar.END), len(tar.END)) != tar.END:
        raise PyindexError(f"{part.path}: data at its end; copy it again")


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
