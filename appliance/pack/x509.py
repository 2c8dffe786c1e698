"""X.509 certificates of a private CA and of its hosts, as values.

The extensions are those of RFC 5280 that the strict verification of Python 3.13 requires.
"""

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.spec.addresses import host_name

Key = RSAPrivateKey | EllipticCurvePrivateKey  # what clients with Python 2.7 know
Name = x509.DNSName | x509.IPAddress

# RFC 1123, 2.1. An empty name would permit all names.
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")

_HOST_DAYS, _CA_DAYS = 800, 3650
_LATEST = datetime.max.replace(tzinfo=UTC)
_SKEW = timedelta(days=1)  # for clients whose clock is behind
_EVERY_ADDRESS = [x509.IPAddress(ipaddress.ip_network(each)) for each in ("0.0.0.0/0", "::/0")]
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def new_authority(
    host: str, names: Sequence[Name], permitted: Sequence[Name], key: Key
) -> x509.Certificate:
    """Return the certificate of a new CA, for ten years.

    It can sign for ``names``, ``permitted`` and names below these, and for no others (name
    constraints, RFC 5280 4.2.1.10).
    """
    allowed = dict.fromkeys((*names, *permitted))
    domains = [each for each in allowed if isinstance(each, x509.DNSName)]
    # OpenSSL 1.0.1 rejects a certificate for an address if the CA constrains addresses.
    excluded = _EVERY_ADDRESS if len(domains) == len(allowed) else None
    # A kind of name without a constraint is not limited at all: permit a name that no host has.
    constraints = x509.NameConstraints(domains or [x509.DNSName("invalid")], excluded)
    subject = _subject(f"Private CA of {host}")
    return (
        _builder(subject, key, _CA_DAYS)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(constraints, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def extended(authority: x509.Certificate, key: Key) -> x509.Certificate:
    """Return the certificate of the same CA with the same extensions, for another ten years."""
    builder = _builder(authority.subject, key, _CA_DAYS).issuer_name(authority.subject)
    for extension in authority.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256())


def new_certificate(
    host: str, names: Sequence[Name], key: Key, authority: x509.Certificate, signer: Key
) -> x509.Certificate:
    """Return a certificate of a host for 800 days, or until the CA expires."""
    # The common name is not a host name, so that no rule for host names applies to it.
    subject = _subject(f"pyindex at {host}")
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        _builder(subject, key, _HOST_DAYS, latest=authority.not_valid_after_utc)
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature", "key_encipherment"), critical=True)
        .add_extension(server, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_identifier(authority, signer), critical=False)
        .sign(signer, hashes.SHA256())
    )


def fits(
    certificate: x509.Certificate, key: Key, names: Sequence[Name], authority: x509.Certificate
) -> bool:
    """Whether a certificate is for this key and these names, and signed by this CA."""
    try:
        certificate.verify_directly_issued_by(authority)
        shown = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return certificate.public_key() == key.public_key() and set(shown) == set(names)


def check_permitted(certificate: x509.Certificate, authority: x509.Certificate) -> None:
    """Raise ``VerificationError`` if clients of the CA do not accept the names of a certificate."""
    any_value = verification.Criticality.AGNOSTIC, None
    lenient = verification.ExtensionPolicy.permit_all()
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([authority]))
        .extension_policies(
            ca_policy=lenient.require_present(x509.BasicConstraints, *any_value),
            ee_policy=lenient.require_present(x509.SubjectAlternativeName, *any_value),
        )
        .build_client_verifier()  # of all names; the other one verifies one of them
    )
    verifier.verify(certificate, [])


def name(text: str) -> Name:
    """Return a host name or an IP address as certificates have it. Raises ValueError, with what was
    expected, for anything else."""
    try:
        # The scope of an address is dropped in a certificate, so it must not have one.
        return x509.IPAddress(ipaddress.ip_address(text.replace("%", "/")))
    except ValueError:
        return x509.DNSName(host_name(text).lower())


def _builder(
    subject: x509.Name, key: Key, days: int, latest: datetime = _LATEST
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(min(now + timedelta(days=days), latest))
    )


def _identifier(authority: x509.Certificate, signer: Key) -> x509.AuthorityKeyIdentifier:
    """Return what names the CA's key: the CA's own identifier, if it has one."""
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _subject(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])  # as X.520 limits it


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in _USAGES})
