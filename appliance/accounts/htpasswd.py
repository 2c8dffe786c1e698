"""htpasswd files: one ``account:hash`` a line, as Apache's htpasswd and OpenSSL write them."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import bcrypt
from passlib.hash import apr_md5_crypt, sha256_crypt, sha512_crypt

from appliance.accounts.principal import NO_ACCOUNTS
from appliance.errors import PyindexError
from appliance.text import printable

log = logging.getLogger(__name__)

_MOST_BCRYPT_BYTES = 72  # of a password; htpasswd drops the rest, and bcrypt 5 raises ValueError
_LARGEST_FILE = 16 << 20
_ADVICE = "run `htpasswd -B FILE ACCOUNT` to set the password anew"


def _bcrypt(password: bytes, digest: str) -> bool:
    return bcrypt.checkpw(password[:_MOST_BCRYPT_BYTES], digest.encode())


# The hashes that are accepted. DES, plain text and {SHA} are not: a leaked file would give the
# passwords away.
_SCHEMES: tuple[tuple[re.Pattern[str], Callable[[bytes, str], bool]], ...] = (
    (re.compile(r"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}"), _bcrypt),
    (
        re.compile(r"\$6\$(?:rounds=\d{1,9}\$)?[^$:\s]{0,16}\$[./A-Za-z0-9]{86}"),
        sha512_crypt.verify,
    ),
    (
        re.compile(r"\$5\$(?:rounds=\d{1,9}\$)?[^$:\s]{0,16}\$[./A-Za-z0-9]{43}"),
        sha256_crypt.verify,
    ),
    (re.compile(r"\$apr1\$[^$:\s]{0,8}\$[./A-Za-z0-9]{22}"), apr_md5_crypt.verify),
)


class AccountsError(PyindexError):
    """The file of the accounts cannot be read."""


class Accounts(NamedTuple):
    """The hash of each account, and a message for each line that cannot be used."""

    hashes: dict[str, str]
    problems: list[str]


def read(path: Path) -> Accounts:
    """Read an htpasswd file. The first line of an account counts, as in Apache.

    Raises :class:`AccountsError` for a file that cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise AccountsError(f"{path}: {error.strerror}") from None
    if len(data) > _LARGEST_FILE:
        raise AccountsError(f"{path}: larger than {_LARGEST_FILE >> 20} MiB; not an htpasswd file")

    accounts = Accounts({}, [])
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            _add(accounts, f"{path}:{number}", line.rstrip())
    return accounts


def _add(accounts: Accounts, where: str, line: str) -> None:
    account, colon, digest = line.partition(":")
    if not colon or not account:
        accounts.problems.append(f"{where}: expected ACCOUNT:HASH; correct or remove the line")
    elif account in NO_ACCOUNTS:
        accounts.problems.append(f"{where}: {account!r} is no name for an account; choose another")
    elif _scheme(digest) is None:
        text = f"{where}: account {printable(account)!r}: {_problem(digest)}; {_ADVICE}"
        accounts.problems.append(text)
    else:
        accounts.hashes.setdefault(account, digest)


def _problem(digest: str) -> str:
    expectation = "expected a hash by bcrypt, SHA-512, SHA-256 or apr1"
    if digest.startswith("{SHA}"):
        return f"{expectation}, got unsalted SHA-1"
    named = re.match(r"\$([a-z0-9-]{1,16})\$", digest)
    return f"{expectation}, got {f'${named[1]}$' if named else 'plain text or DES'}"


def verify(accounts: Accounts, account: str, password: str) -> bool:
    """Whether the account has this password. An unknown account costs as much time as the first
    one of the file."""
    digest = accounts.hashes.get(account)
    if digest is None:
        decoy = next(iter(accounts.hashes.values()), None)
        if decoy is not None:
            _matches(decoy, password)
        return False
    return _matches(digest, password)


def _matches(digest: str, password: str) -> bool:
    check = _scheme(digest)
    try:
        return check is not None and check(password.encode(errors="surrogateescape"), digest)
    except ValueError:  # a NUL, or thousands of characters
        return False


def _scheme(digest: str) -> Callable[[bytes, str], bool] | None:
    return next((check for pattern, check in _SCHEMES if pattern.fullmatch(digest)), None)
