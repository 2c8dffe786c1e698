"""URLs of upstreams: legal, without credentials, and as messages show them."""

import re
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

from appliance.text import printable, without_login

# RFC 3986, and "%": what is escaped stays so, as in requests.utils.requote_uri.
_LEGAL = "!#$%&'()*+,/:;=?@[]~"
_PORTS = {"http": 80, "https": 443}
_LONGEST = 200  # of a message
_LOGIN = re.compile(r"\A[^/?#\s]*@")

# Most links: nothing to join, escape or cut off.
_PLAIN = re.compile(r"https?://[A-Za-z0-9.-]+/(?:[A-Za-z0-9._~+!,=@/-]|%[0-9A-Fa-f]{2})*")

Origin = tuple[str, str, int]
"""Scheme, host in lower case, and port (RFC 6454)."""


def legal(url: str) -> str:
    """``url`` with what no URL may contain escaped."""
    return quote(url.strip(), safe=_LEGAL)


def absolute(base: str, link: str) -> str:
    """The URL of a link on the page ``base``, legal and without fragment.

    Raises ValueError if it is none, or a local file that a remote page links to.
    """
    if _PLAIN.fullmatch(link):
        return link
    url = legal(urljoin(base, link.strip()).partition("#")[0])
    if origin(url)[0] == "file" != origin(base)[0]:
        raise ValueError("http:// or https://")
    return url


def origin(url: str) -> Origin:
    """The origin of ``url``; of no host for a file. Raises ValueError if it is no URL."""
    split = urlsplit(url)
    if split.scheme != "file" and (split.scheme not in _PORTS or not split.hostname):
        raise ValueError("http://, https:// or file:// and a host")
    return split.scheme, split.hostname or "", split.port or _PORTS.get(split.scheme, 0)


def without_userinfo(url: str) -> tuple[str, str | None, str | None]:
    """``url`` without user and password; then both, unescaped."""
    split = urlsplit(url)
    userinfo, _, host = split.netloc.rpartition("@")
    user, separator, password = userinfo.partition(":")
    plain = urlunsplit(split._replace(netloc=host))
    return plain, unquote(user) or None, unquote(password) if separator else None


def without_secrets(url: str) -> str:
    """``url`` without user, password and query, which may be a signature; with its fragment."""
    return urlunsplit(urlsplit(without_userinfo(url)[0])._replace(query=""))


def with_userinfo(url: str, user: str, password: str | None) -> str:
    """``url`` with user and password, escaped."""
    split = urlsplit(url)
    userinfo = quote(user, safe="") + ("" if password is None else ":" + quote(password, safe=""))
    return urlunsplit(split._replace(netloc=f"{userinfo}@{split.netloc}"))


def redacted(url: str) -> str:
    """``url`` for a message: short, printable, without user, password, query and fragment, which
    may be secret. A proxy need not have a scheme."""
    text = _LOGIN.sub("...@", without_login(url))
    text = re.sub(r"[?#].*", lambda match: f"{match[0][0]}...", text, flags=re.S)
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def path(url: str) -> Path | None:
    """The path of a ``file:`` URL; ``None`` for others."""
    split = urlsplit(url)
    return Path(url2pathname(split.path)) if split.scheme == "file" else None


def filename(url: str) -> str:
    """The last component of the path of ``url``, unescaped, as pip reads it; unchecked."""
    return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
