"""Passwords: those of an htpasswd file, which is read again when it changes.

A hash such as bcrypt takes 50 ms and more, and a client sends its password with each request: a
result is remembered for a short time, under a keyed hash and never with the password.
"""

import hashlib
import ipaddress
import logging
import math
import secrets
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from appliance.accounts import htpasswd
from appliance.accounts.throttle import Throttle
from appliance.errors import PyindexError
from appliance.text import printable

log = logging.getLogger(__name__)

_REMEMBERED_SECONDS = 60.0
_MOST_REMEMBERED = 4096


class Limit(NamedTuple):
    """So many failures at once, then one each ``interval`` seconds."""

    burst: int
    interval: float


# Of one account from one address, of one address, and of one account from anywhere.
_PAIR, _ADDRESS, _ACCOUNT = Limit(5, 60.0), Limit(20, 15.0), Limit(100, 10.0)


class TooManyFailures(PyindexError):
    """Too many wrong passwords; the next attempt is allowed after ``retry_seconds``."""

    def __init__(self, retry_seconds: int) -> None:
        super().__init__(f"too many wrong passwords; retry in {retry_seconds} seconds")
        self.retry_seconds = retry_seconds


class _Generation:
    """The accounts of one version of the file, with the results that were found with them."""

    def __init__(self, version: tuple[int, ...] = (), path: Path | None = None) -> None:
        self.version = version
        self.accounts = htpasswd.read(path) if path else htpasswd.Accounts({}, [])
        self._key = secrets.token_bytes(32)
        self._results: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()
        self._right: dict[str, bytes] = {}

    def digest(self, account: str, password: str) -> bytes:
        """The key of a result."""
        text = f"{account}\0{password}".encode(errors="surrogateescape")
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()

    def recall(self, digest: bytes) -> bool | None:
        expires, result = self._results.get(digest, (0.0, False))
        return result if time.monotonic() < expires else None

    def remember(self, digest: bytes, result: bool) -> None:
        self._results[digest] = time.monotonic() + _REMEMBERED_SECONDS, result
        self._results.move_to_end(digest)
        while len(self._results) > _MOST_REMEMBERED:
            self._results.popitem(last=False)

    def remember_right(self, account: str, digest: bytes) -> None:
        self._right[account] = digest

    def was_right(self, account: str, digest: bytes) -> bool:
        """Whether this password was verified before: it is no guess, and no flood of guesses by
        others locks its user out."""
        return self._right.get(account) == digest


class Passwords:
    """The accounts of the htpasswd file at ``path``; without one there is no account."""

    def __init__(self, path: Path | None, throttle: Throttle) -> None:
        self._path, self._throttle = path, throttle
        self._lock = threading.Lock()
        self._generation = _Generation()

    def has(self, account: str) -> bool:
        """Whether there is such an account; any, without a file.

        Raises :class:`AccountsError` if the file cannot be read.
        """
        return self._path is None or account in self._current(self._path).accounts.hashes

    def check(self, account: str, password: str, address: str) -> bool:
        """Whether the account has this password, which a client at ``address`` sent.

        Raises :class:`TooManyFailures`, and :class:`AccountsError` if the file cannot be read.
        """
        if self._path is None:
            return False
        generation = self._current(self._path)
        digest = generation.digest(account, password)
        result = generation.recall(digest)
        if result is not None:
            return result  # a wrong password that is sent again is no other guess

        with self._lock:  # one at a time: clients send many requests at once
            result = generation.recall(digest)
            if result is None:
                result = self._verify(generation, digest, account, password, address)
                generation.remember(digest, result)
        return result

    def _verify(
        self, generation: _Generation, digest: bytes, account: str, password: str, address: str
    ) -> bool:
        limits = _limits(account, address)
        if not generation.was_right(account, digest):
            self._check(limits)
        if htpasswd.verify(generation.accounts, account, password):
            generation.remember_right(account, digest)
            return True

        for name, limit in limits.items():
            self._throttle.record_failure(name, *limit)
        # What is no account may be a password or a token, typed in the wrong place.
        is_known = account in generation.accounts.hashes
        shown = f"account {printable(account)!r}" if is_known else "an unknown account"
        log.warning("wrong password for %s from %s", shown, address)
        return False

    def _check(self, limits: dict[str, Limit]) -> None:
        wait = max(self._throttle.wait_seconds(name, *limit) for name, limit in limits.items())
        if wait:
            raise TooManyFailures(math.ceil(wait))

    def _current(self, path: Path) -> _Generation:
        """The accounts of the file as it is now."""
        try:
            status = path.stat()
        except OSError as error:
            raise htpasswd.AccountsError(f"{path}: {error.strerror}") from None
        version = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if version != self._generation.version:
            before, self._generation = self._generation, _Generation(version, path)
            for problem in self._generation.accounts.problems:
                if problem not in before.accounts.problems:
                    log.error("%s", problem)
        return self._generation


def _limits(account: str, address: str) -> dict[str, Limit]:
    """The limits of a guess. IPv6 networks get 2^64 addresses each, and count as one."""
    network = (
        str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address
    )
    return {
        f"pair {network} {account}": _PAIR,
        f"address {network}": _ADDRESS,
        f"account {account}": _ACCOUNT,
    }
