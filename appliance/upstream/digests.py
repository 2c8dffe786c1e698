"""Digests that upstreams state; one of them is verified."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from appliance.errors import PyindexError
from appliance.spec.faults import quoted
from appliance.upstream.failures import UpstreamError
from appliance.upstream.urls import redacted

ALGORITHMS = ("sha256", "sha512", "sha384", "blake2b", "sha3_256", "sha224", "sha1", "md5")
"""Those that are computed, the preferred ones first."""
REPORT = "report it to the operator of the index"

Digest = tuple[str, str]
"""An algorithm and a hex digest."""


def preferred(hashes: Mapping[str, str], url: str) -> Digest | None:
    """The digest of the file at ``url`` to verify; ``None`` if there is none that can be computed.
    Raises UpstreamError for one that is no digest."""
    for algorithm in ALGORITHMS:
        if algorithm in hashes:
            digits = hashes[algorithm].lower()
            if not re.fullmatch(f"[0-9a-f]{{{2 * new(algorithm).digest_size}}}", digits):
                raise UpstreamError(
                    f"{redacted(url)}: expected the digest {algorithm} in hex, got"
                    f" {quoted(digits)}; {REPORT}"
                )
            return algorithm, digits
    return None


def new(algorithm: str) -> "hashlib._Hash":
    """A hash object; the index chooses the algorithm, so a policy such as FIPS does not apply."""
    return hashlib.new(algorithm, usedforsecurity=False)


def digest_of(path: Path, algorithm: str) -> str:
    """The hex digest of a file. Raises PyindexError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: new(algorithm)).hexdigest()
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}; run `pyindex status`") from None


def check(content: bytes, hashes: Mapping[str, str], url: str) -> None:
    """Raise UpstreamError if ``content`` of ``url`` has another digest than stated."""
    if digest := preferred(hashes, url):
        computed = new(digest[0])
        computed.update(content)
        if computed.hexdigest() != digest[1]:
            raise UpstreamError(mismatch(url, digest, computed.hexdigest()))


def mismatch(url: str, expected: Digest | None, actual: str) -> str:
    """The message for a wrong digest."""
    algorithm, digits = expected or ("digest", "another one")
    return f"{redacted(url)}: {algorithm} is {actual}, expected {digits}; {REPORT}"
