"""Upstreams as one value: indexes in order, further files, credentials, and how to connect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.upstream.urls import origin, redacted, without_userinfo


@dataclass(frozen=True, slots=True)
class Credential:
    """User and password for the URLs of the origin of ``url``; both never in a ``repr``."""

    url: str
    user: str = field(repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Network:
    """How to connect to hosts.

    Attributes:
        trusted_hosts: ``host`` or ``host:port`` whose certificate is not checked.
        ca: File of the CA certificates (PEM) instead of the system's.
        client_certificate: File with a certificate and its key (PEM).
        proxies: URLs of proxies by scheme; ``no`` has the hosts to reach without.
        timeout_seconds: For connecting and without a byte; the default of
            :class:`~appliance.upstream.limits.Limits` if ``None``.
        has_keyring: Whether to ask the ``keyring`` command for passwords.
    """

    trusted_hosts: tuple[str, ...] = ()
    ca: Path | None = None
    client_certificate: Path | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    timeout_seconds: float | None = None
    has_keyring: bool = True

    def is_trusted(self, url: str) -> bool:
        """Whether the certificate of the host of ``url`` is not checked."""
        _, host, port = origin(url)
        return host in self.trusted_hosts or f"{host}:{port}" in self.trusted_hosts


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The remote indexes to use.

    Attributes:
        indexes: Their URLs in order, without credentials, each with a slash at its end.
        is_merged: Whether a project has the files of all indexes, as pip does; else the first
            index that has it answers alone, as in uv.
        find_links: URLs of package files, and of directories and pages with links to some.
        credentials: User and password by URL.
        network: How to connect.
        private: Patterns of projects that are not asked for.
    """

    indexes: tuple[str, ...] = ()
    is_merged: bool = False
    find_links: tuple[str, ...] = ()
    credentials: tuple[Credential, ...] = field(default=(), repr=False)
    network: Network = Network()
    private: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(map(redacted, (*self.indexes, *self.find_links)))


def split_credential(url: str) -> tuple[str, Credential | None]:
    """``url`` without credentials, and those."""
    plain, user, password = without_userinfo(url)
    return plain, Credential(plain, user, password) if user else None
