"""Hosts, addresses, networks and URLs: from text to their one spelling.

A function takes text, and raises ValueError with what was expected.
"""

import ipaddress
import re
from urllib.parse import urlsplit

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST = rf"{_LABEL}(?:\.{_LABEL})*"
"""The pattern of a host name."""

_URL = re.compile(
    r"(https?://(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)"
    r"((?:/[A-Za-z0-9_~.-]+)*)/?"
)


def bracketed(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets (RFC 3986)."""
    return f"[{host}]" if ":" in host else host


def _is_host(text: str) -> bool:
    """Whether it is an IPv4 address or a host name.

    A name that ends in a number is none: resolvers take it for an address, and not all for the same
    one.
    """
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        last = text.rpartition(".")[2]
        is_numeric = re.fullmatch("[0-9]+|0[xX][0-9A-Fa-f]*", last)
        return len(text) <= 253 and re.fullmatch(HOST, text) is not None and not is_numeric
    return True


def host_name(text: str) -> str:
    if not _is_host(text):
        raise ValueError("a host name such as pypi.lab")
    return text


def address(text: str) -> str:
    """An address to listen on."""
    # nginx and gunicorn take "unix" before a colon for another kind of socket.
    if _is_host(text) and text.lower() != "unix":
        return text
    try:
        return str(ipaddress.IPv6Address(_without_scope(text)))
    except ValueError:
        raise ValueError("an address such as 127.0.0.1 or ::") from None


def network(text: str) -> str:
    """An address or a network."""
    try:
        network = ipaddress.ip_network(_without_scope(text))
    except ValueError:
        raise ValueError("an address or a network such as 10.0.0.0/8") from None
    return str(network if network.num_addresses > 1 else network.network_address)


def _without_scope(text: str) -> str:
    """The text. Raises ValueError for an IPv6 address with a scope: not all programs know them."""
    if "%" in text:
        raise ValueError
    return text


def url(text: str) -> str:
    """The URL of an appliance, without a slash at its end."""
    match = _URL.fullmatch(text)
    if match is None or not _is_sound(match[1], match[2]):
        raise ValueError("http[s]://HOST[:PORT][/PREFIX] without user, query or fragment")
    if match[2].endswith("/simple"):
        raise ValueError("the URL of the appliance, without /simple, which clients add")
    return match[1].lower() + match[2]


def _is_sound(origin: str, path: str) -> bool:
    """Whether host, port and path of a URL, which has the right form, can be served."""
    try:
        split = urlsplit(origin)
        host, port = str(split.hostname), split.port
    except ValueError:  # a port above 65535, a bad IPv6 address
        return False
    is_plain = not {".", ".."} & set(path.split("/"))
    return port != 0 and is_plain and (":" in host or _is_host(host))


def upstream_url(text: str) -> str:
    """The URL of a remote index, with a slash at its end."""
    expectation = "http[s]://HOST[:PORT]/PATH or file:///PATH, without user, query or fragment"
    if re.fullmatch(r"(?:https?://|file:///)[!-~]+", text) is None or set(text) & set('?#@"<>\\'):
        raise ValueError(expectation)
    try:
        split = urlsplit(text)
        is_url = split.scheme == "file" or (split.hostname and split.port != 0)
    except ValueError:  # a port above 65535, a bad IPv6 address
        is_url = False
    if not is_url:
        raise ValueError(expectation)
    return text.rstrip("/") + "/"


def repository(text: str) -> str:
    """A repository of OS packages: a URL, for apt followed by suite and components."""
    url, *words = text.split(" ")
    if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/+-]*", word) for word in words):
        raise ValueError("a URL, for apt followed by suite and components, each after one space")
    return " ".join([upstream_url(url), *words])
