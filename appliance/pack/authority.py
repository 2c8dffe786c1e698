"""The directory of a private CA on the control machine: ``ca.pem`` and ``ca.key``, and ``HOST.pem``
and ``HOST.key``, which a play copies to a host.

A key is made once and stays. A renewed certificate thus fits the key that the host has, and nginx
starts at each moment of a play that replaces one file after the other.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import Certificate, load_pem_x509_certificate
from cryptography.x509.verification import VerificationError

from appliance.errors import PyindexError
from appliance.host.files import replace_private
from appliance.locks import lock
from appliance.pack import x509
from appliance.pack.x509 import Key

RENEW_DAYS = 60
"""A certificate with fewer days left is renewed: a month before `/health` reports it."""
_HOST_BITS, _CA_BITS = 2048, 3072


@dataclass(frozen=True)
class Signed:
    """A certificate in the directory: its file, its end, and whether this run has made it."""

    path: Path
    expires: datetime
    is_new: bool


@dataclass(frozen=True)
class _Authority:
    path: Path
    certificate: Certificate
    key: Key


def renew(
    directory: Path, names: Sequence[str], permitted: Sequence[str] = (), days: int = RENEW_DAYS
) -> tuple[Signed, Signed]:
    """Make the CA if ``directory`` has none, and the certificate of a host if it is missing, has
    other names, another key or another CA, or less than ``days`` left; return both.

    ``names`` are host names and IP addresses, that of the host first. A new CA can sign for them,
    for ``permitted`` and for names below these, and for no others: its key is useless against other
    hosts. Raises :class:`PyindexError` if the CA has expired or does not permit a name, for what is
    no name, or for a file that is not what its name says, and ``OSError``.
    """
    wanted, others = list(map(_name, names)), list(map(_name, permitted))
    with _locked(directory):
        path = directory / "ca.pem"
        is_new = not os.path.lexists(path)  # a broken link is an error
        if is_new:
            key = _key(directory / "ca.key", _CA_BITS)
            _write(path, x509.new_authority(names[0], wanted, others, key))
        authority = _authority(path)
        certificate = _renew_host(directory / f"{names[0]}.pem", names, authority, days)
    return Signed(path, authority.certificate.not_valid_after_utc, is_new), certificate


def extend(directory: Path) -> Signed:
    """Sign the CA of ``directory`` again with the same key, for another ten years.

    Clients with either certificate of the CA accept the same hosts, until theirs expires. Raises
    :class:`PyindexError` if there is no CA, and ``OSError``.
    """
    with _locked(directory):
        old = _authority(directory / "ca.pem", at_any_time=True)
        new = x509.extended(old.certificate, old.key)
        _write(old.path, new)
    return Signed(old.path, new.not_valid_after_utc, True)


def _renew_host(path: Path, names: Sequence[str], authority: _Authority, days: int) -> Signed:
    if path == authority.path:
        raise PyindexError(f"{path}: the certificate of the CA; a host must have another name")
    key = _key(path.with_name(f"{names[0]}.key"), _HOST_BITS)
    wanted = list(dict.fromkeys(map(_name, names)))
    if path.exists():
        old = _read(path)
        end = old.not_valid_after_utc
        is_last = end == authority.certificate.not_valid_after_utc  # a new one ends no later
        now = datetime.now(UTC)
        # The clock may have been ahead when it was made.
        is_valid = old.not_valid_before_utc <= now
        is_fresh = is_valid and (is_last or end - now >= timedelta(days=days))
        if is_fresh and x509.fits(old, key, wanted, authority.certificate):
            return Signed(path, end, False)

    new = x509.new_certificate(names[0], wanted, key, authority.certificate, authority.key)
    _check_permitted(new, names, authority)
    _write(path, new)
    return Signed(path, new.not_valid_after_utc, True)


def _name(text: str) -> x509.Name:
    try:
        return x509.name(text)
    except ValueError as error:
        raise PyindexError(
            f"{text!r}: expected an IP address or {error}; correct the name"
        ) from None


def _check_permitted(new: Certificate, names: Sequence[str], authority: _Authority) -> None:
    try:
        x509.check_permitted(new, authority.certificate)
    except VerificationError as error:
        raise PyindexError(
            f"{authority.path}: ca.pem is not for all of {', '.join(names)}; choose another"
            " directory (pyindex_private_ca_directory), or move this one, and run this again; then"
            " give clients the new ca.pem. pyindex_private_ca_permits permits a domain for later"
            f" hosts ({error})"
        ) from None


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process at a time work in a directory, which is created for this user alone."""
    directory.mkdir(0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _authority(path: Path, at_any_time: bool = False) -> _Authority:
    certificate, key = _read(path), _load_key(path.with_suffix(".key"))
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    now, problem = datetime.now(UTC), ""
    if end < now:
        problem = f"has expired on {end:%Y-%m-%d};"
    elif start > now:
        problem = f"is not valid before {start:%Y-%m-%d}; correct this machine's clock, or"
    if problem and not at_any_time:
        raise PyindexError(
            f"{path}: ca.pem {problem} run `pyindex certificates extend {path.parent}`, run this"
            " again, and give clients the new ca.pem"
        )
    if certificate.public_key() != key.public_key():
        raise PyindexError(f"{path}: not the certificate of ca.key; restore both from one backup")
    return _Authority(path, certificate, key)


def _read(path: Path) -> Certificate:
    try:
        return load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise PyindexError(f"{path}: not a certificate (PEM); move it away") from None


def _write(path: Path, certificate: Certificate) -> None:
    replace_private(path, certificate.public_bytes(serialization.Encoding.PEM))


def _key(path: Path, bits: int) -> Key:
    """Return the key in a file, which is made if it is missing."""
    if not os.path.lexists(path):
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        key = rsa.generate_private_key(65537, bits)
        replace_private(path, key.private_bytes(*pem, serialization.NoEncryption()))
    return _load_key(path)


def _load_key(path: Path) -> Key:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):  # the latter for one with a password
        raise PyindexError(f"{path}: not a private key (PEM) without a password") from None
    if not isinstance(key, Key):
        raise PyindexError(f"{path}: expected an RSA or EC key")
    return key
