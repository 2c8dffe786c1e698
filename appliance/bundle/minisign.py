"""Keys and signatures in minisign's format (jedisct1.github.io/minisign): Ed25519 over the
BLAKE2b-512 of a file, so that a file of any size is hashed as it is written or read."""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.atomic import create, sync_paths, unlink
from appliance.errors import PyindexError
from appliance.spec.forms import PUBLIC_KEY

SUFFIX = ".minisig"
Password = Callable[[], str]
"""Function that asks for the password of a secret key."""

_KEY, _HASHED = b"Ed", b"ED"
_SCRYPT, _NO_KDF = b"Sc", b"\0\0"
_LARGEST_FILE = 16 * 1024
_MOST_MEMORY = 2**31 - 1
_SIGNATURE = re.compile(
    rb"untrusted comment: [^\n]*\n([A-Za-z0-9+/=]+)\r?\n"
    rb"trusted comment: ([^\r\n]*)\r?\n([A-Za-z0-9+/=]+)\r?\n?"
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; ``number`` identifies it, as minisign prints it."""

    number: bytes
    key: bytes

    @property
    def id(self) -> str:
        return self.number[::-1].hex().upper()

    @property
    def line(self) -> str:
        """The key in base64, as in the second line of its file."""
        return base64.b64encode(_KEY + self.number + self.key).decode()


@dataclass(frozen=True, slots=True, repr=False)
class SecretKey:
    """A secret key."""

    number: bytes
    seed: bytes

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.number, self._key().public_key().public_bytes_raw())

    def sign(self, digest: bytes, comment: str) -> bytes:
        """Return the signature file for a file with this BLAKE2b-512; the comment is signed,
        too."""
        key = self._key()
        signature = key.sign(digest)
        everything = key.sign(signature + comment.encode())
        lines = (
            f"untrusted comment: signature from pyindex, key {self.public.id}",
            base64.b64encode(_HASHED + self.number + signature).decode(),
            f"trusted comment: {comment}",
            base64.b64encode(everything).decode(),
        )
        return "".join(f"{line}\n" for line in lines).encode()

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature file; ``number`` is that of its key."""

    number: bytes
    signature: bytes
    comment: bytes
    everything: bytes

    def verify(self, key: PublicKey, digest: bytes) -> bool:
        """Return whether ``key`` signed a file with this BLAKE2b-512, and the comment."""
        public = Ed25519PublicKey.from_public_bytes(key.key)
        try:
            public.verify(self.signature, digest)
            public.verify(self.everything, self.signature + self.comment)
        except InvalidSignature:
            return False
        return self.number == key.number


def hasher() -> "hashlib.blake2b":
    """Return the hash of a file's content that is signed."""
    return hashlib.blake2b(digest_size=64)


# --- files ----------------------------------------------------------------------------------------


def new_key(path: Path) -> PublicKey:
    """Write a new secret key to ``path``, without a password, and its public key to
    ``<path>.pub``. Raises :class:`PyindexError` if either exists."""
    secret = SecretKey(os.urandom(8), os.urandom(32))
    public = secret.public
    _write_new(path, 0o600, f"untrusted comment: secret key {public.id}", _secret_line(secret))
    try:
        comment = f"untrusted comment: minisign public key {public.id}"
        _write_new(Path(f"{path}.pub"), 0o644, comment, public.line)
    except BaseException:
        unlink(path)
        raise
    return public


def _write_new(path: Path, mode: int, comment: str, line: str) -> None:
    try:
        descriptor = create(str(path))
    except FileExistsError:
        raise PyindexError(f"{path}: exists; choose another name") from None
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        file.write(f"{comment}\n{line}\n")
    sync_paths([str(path), str(path.parent)])


def _secret_line(secret: SecretKey) -> str:
    key = secret.number + secret.seed + secret.public.key
    head = _KEY + _NO_KDF + b"B2" + bytes(48)
    return base64.b64encode(head + key + bytes(32)).decode()  # no checksum, without a password


def read_public(text: str) -> PublicKey:
    """Return a public key, given as its line in base64 or as the path of a file. Raises
    :class:`PyindexError`."""
    line = text if re.fullmatch(PUBLIC_KEY, text) else _line(Path(text))
    raw = _decode(line.encode())
    if len(raw) != 42 or raw[:2] != _KEY:
        raise PyindexError(f"{text}: not a public key of minisign")
    return PublicKey(raw[2:10], raw[10:])


def read_secret(path: Path, password: Password) -> SecretKey:
    """Return the secret key in a file; ``password`` is called if it is encrypted. Raises
    :class:`PyindexError`."""
    raw = _decode(_line(path).encode())
    if len(raw) != 158 or raw[:2] != _KEY or raw[4:6] != b"B2":
        raise PyindexError(f"{path}: not a secret key of minisign")

    kdf, content = raw[2:4], raw[54:]
    if kdf == _SCRYPT:
        content = _decrypt(content, password(), raw[6:38], raw[38:46], raw[46:54])
    elif kdf != _NO_KDF:
        raise PyindexError(f"{path}: secret key encrypted in an unknown way; make a new one")
    secret = SecretKey(content[:8], content[8:40])
    if content[40:72] != secret.public.key:
        wrong = "wrong password" if kdf == _SCRYPT else "damaged secret key"
        raise PyindexError(f"{path}: {wrong}; nothing was signed")
    return secret


def read_signature(path: Path) -> Signature:
    """Return the signature in a file. Raises :class:`PyindexError`, and ``FileNotFoundError``."""
    match = _SIGNATURE.fullmatch(_content(path))
    raw, everything = (_decode(match[1]), _decode(match[3])) if match else (b"", b"")
    if match is None or len(raw) != 74 or len(everything) != 64:
        raise PyindexError(f"{path}: not a signature of minisign; sign the bundle again")
    if raw[:2] != _HASHED:
        raise PyindexError(f"{path}: signature in the legacy format; sign again without -l")
    return Signature(raw[2:10], raw[10:], match[2], everything)


def _line(path: Path) -> str:
    """Return the second line of a key file."""
    try:
        _, line, *_ = _content(path).decode("ascii", "replace").split("\n")
    except FileNotFoundError:
        raise PyindexError(f"{path}: no such file; pass a key file of minisign") from None
    except ValueError:
        raise PyindexError(f"{path}: not a key file of minisign") from None
    return line.strip()


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST_FILE)


def _decode(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


# --- passwords ------------------------------------------------------------------------------------


def _decrypt(content: bytes, password: str, salt: bytes, operations: bytes, memory: bytes) -> bytes:
    """Return the decrypted key: scrypt with the parameters that libsodium derives from its limits
    of operations and memory."""
    cost, parallel = _parameters(int.from_bytes(operations, "little"), _number(memory))
    try:
        stream = hashlib.scrypt(
            password.encode(),
            salt=salt,
            n=cost,
            r=8,
            p=parallel,
            maxmem=_MOST_MEMORY,
            dklen=len(content),
        )
    except (ValueError, MemoryError):
        raise PyindexError(
            "secret key: decrypting it takes more than 2 GiB of memory; make one with `minisign -G`"
        ) from None
    return bytes(left ^ right for left, right in zip(content, stream, strict=True))


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _parameters(operations: int, memory: int) -> tuple[int, int]:
    """Return N and p of scrypt with r = 8, as libsodium's ``pickparams``."""
    operations = max(operations, 32768)
    is_memory_ample = operations < memory // 32
    most = operations // 32 if is_memory_ample else memory // 1024
    exponent = next((n for n in range(1, 63) if 1 << n > most // 2), 63)
    if is_memory_ample:
        return 1 << exponent, 1
    return 1 << exponent, max(1, min(operations // 4 >> exponent, 0x3FFFFFFF) // 8)
