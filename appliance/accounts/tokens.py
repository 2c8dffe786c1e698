"""Tokens: secrets for programs, one file each in ``<state>/tokens``.

A token is ``pyi-``, then in base32 its id (5 bytes), a random secret (32 bytes) and a CRC-32 of all
before: scanners for secrets know the form, and a mistyped token is told from a revoked one. Its
file has the SHA-256 of it: no one guesses 32 random bytes, so a hash that is slow protects no
better, and each request would wait for it.

The files are no part of the catalog: a rebuild keeps them. To revoke a token is to delete its file.
"""

import base64
import contextlib
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance.accounts.principal import Principal, Scope
from appliance.atomic import sync_paths, unlink
from appliance.errors import NotFound, PyindexError
from appliance.locks import locked

log = logging.getLogger(__name__)

PREFIX = "pyi-"
_ID = re.compile("[a-z2-7]{8}")
_FORM = re.compile(rf"{PREFIX}([a-z2-7]{{8}})[a-z2-7]{{52}}[a-z2-7]{{7}}")
_CHECK_LETTERS = 7
_LARGEST_FILE = 64 << 10
_USED_SECONDS = 60
_VERSION = 1


class Token(BaseModel):
    """One token, as its file has it. Times are in seconds since the epoch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = _VERSION
    id: str
    name: str
    sha256: str
    account: str | None = None
    rights: tuple[str, ...]
    indexes: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    created: int
    expires: int | None = None

    @property
    def is_expired(self) -> bool:
        return self.expires is not None and self.expires <= time.time()

    @property
    def principal(self) -> Principal:
        scope = Scope(frozenset(self.rights), self.indexes, self.projects)
        return Principal(self.account, self.name, scope)


def is_token(text: str) -> bool:
    """Whether ``text`` is a token by its beginning, even a mistyped one."""
    return text.startswith(PREFIX)


class Tokens:
    """The tokens in ``directory``, which may be missing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(
        self,
        name: str,
        rights: Sequence[str],
        *,
        account: str | None = None,
        indexes: Sequence[str] = (),
        projects: Sequence[str] = (),
        seconds: float | None = None,
    ) -> tuple[Token, str]:
        """Create a token that expires after ``seconds``. Returns it and its text, which is stored
        nowhere. Raises :class:`PyindexError` if the name is taken, and ``OSError``."""
        now = int(time.time())
        identity, text = _new()
        token = Token(
            id=identity,
            name=name,
            sha256=_digest(text),
            account=account,
            rights=tuple(rights),
            indexes=tuple(indexes),
            projects=tuple(projects),
            created=now,
            expires=None if seconds is None else now + int(seconds),
        )

        with self._changing():
            if any(other.name == name for other in self.all()):
                raise PyindexError(
                    f"token {name}: exists already; choose another name, or run"
                    f" `pyindex token revoke {name}` first"
                )
            _write(self._path(identity), token.model_dump_json(indent=1).encode() + b"\n")
        return token, text

    def restore(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write token files, each by its id and its content. Raises ``OSError``."""
        with self._changing():
            for identity, content in files:
                if _ID.fullmatch(identity):
                    _write(self._path(identity), content)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock of processes that write token files, in a directory without files of such
        processes that were killed."""
        self._directory.mkdir(0o700, exist_ok=True)
        with locked(self._directory / ".lock"):
            for unfinished in self._directory.glob("*.new"):
                unlink(unfinished)
            yield

    def all(self) -> list[Token]:
        """All tokens, the oldest first. Files that cannot be read are logged. Raises ``OSError``
        for a directory that cannot be read."""
        try:
            paths = sorted(self._directory.iterdir())  # glob would hide the error
        except FileNotFoundError:
            return []
        found = [self._read(path) for path in paths if path.suffix == ".json"]
        return sorted((token for token in found if token), key=lambda each: each.created)

    def revoke(self, name: str) -> Token:
        """Delete the token of this name or id, durably. Raises :class:`NotFound`."""
        for token in self.all():
            if name in (token.name, token.id):
                self._path(token.id).unlink(missing_ok=True)
                unlink(self._used(token.id))
                sync_paths([str(self._directory)])
                return token
        raise NotFound(f"token {name}: not found; `pyindex token list` shows all tokens")

    def find(self, text: str) -> Token | None:
        """The token of this text, if it is valid now; notes that it was used."""
        match = _FORM.fullmatch(text)
        token = self._read(self._path(match[1])) if match else None
        if token is None or not hmac.compare_digest(_digest(text), token.sha256):
            return None
        if token.is_expired:
            return None
        self._touch(token.id)
        return token

    def last_used(self, token: Token) -> float | None:
        """When the token was used last, exact to a minute; ``None`` if never."""
        with contextlib.suppress(OSError):
            return self._used(token.id).stat().st_mtime
        return None

    def _touch(self, identity: str) -> None:
        """Set the time of the last use, at most once a minute. It is not important enough to fail
        for, as on a full disk."""
        path = self._used(identity)
        with contextlib.suppress(OSError):
            try:
                if abs(time.time() - path.stat().st_mtime) >= _USED_SECONDS:
                    os.utime(path)
            except FileNotFoundError:
                path.touch(0o600)

    def _read(self, path: Path) -> Token | None:
        try:
            with path.open("rb") as file:
                token = Token.model_validate_json(file.read(_LARGEST_FILE))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not the file of a token"
            log.error("%s: %s; revoke the token by deleting the file", path, reason)
            return None
        if token.version > _VERSION or token.id != path.stem:
            log.error("%s: not the file of token %s in this version", path, token.id)
            return None
        return token

    def _path(self, identity: str) -> Path:
        return self._directory / f"{identity}.json"

    def _used(self, identity: str) -> Path:
        return self._directory / f"{identity}.used"


def has_valid_checksum(text: str) -> bool:
    """Whether a token was copied in full: a wrong checksum is a mistyped one."""
    body, check = text[:-_CHECK_LETTERS], text[-_CHECK_LETTERS:]
    return _FORM.fullmatch(text) is not None and hmac.compare_digest(_checksum(body), check)


def _new() -> tuple[str, str]:
    """The id and the text of a new token."""
    identity = _base32(secrets.token_bytes(5))
    body = f"{PREFIX}{identity}{_base32(secrets.token_bytes(32))}"
    return identity, f"{body}{_checksum(body)}"


def _checksum(body: str) -> str:
    return _base32(zlib.crc32(body.encode()).to_bytes(4))


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600, atomically and durably."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(path)
        sync_paths([str(path.parent)])
    finally:
        unlink(temporary)
