"""Who to log in as: credentials from URLs and the spec, netrc, and the keyring command.

As pip does: a credential is sent to its own origin only, so a redirect or a link to another host
gets none of it; netrc belongs to a host; the keyring is asked after a 401.
"""

import asyncio
import base64
import netrc
import os
import shutil
from itertools import takewhile
from pathlib import Path
from urllib.parse import urlsplit

from appliance.errors import PyindexError
from appliance.upstream.upstreams import Credential, Upstreams
from appliance.upstream.urls import origin

_KEYRING_SECONDS = 30


class Authenticator:
    """Credentials by URL, and what the keyring has answered so far."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._credentials = upstreams.credentials
        self._has_keyring = upstreams.network.has_keyring
        self._netrc: netrc.netrc | None = None
        self._passwords: dict[Credential, asyncio.Task[str | None]] = {}

    def header(self, url: str) -> str | None:
        """The Authorization header for ``url`` (RFC 7617), if a user and password are known."""
        credential = self._credential(url)
        if credential is None or credential.password is None:
            return self._from_netrc(url, credential)
        return basic(credential.user, credential.password)

    async def ask_keyring(self, url: str) -> str | None:
        """The header after the server has answered 401 without a password."""
        credential = self._credential(url)
        if credential is None or credential.password is not None or not self._has_keyring:
            return None
        if credential not in self._passwords:
            self._passwords[credential] = asyncio.create_task(_keyring_password(credential))
        password = await asyncio.shield(self._passwords[credential])
        return None if password is None else basic(credential.user, password)

    def _credential(self, url: str) -> Credential | None:
        """The credential of the same origin; of several that of the longest common path."""
        same = [each for each in self._credentials if origin(each.url) == origin(url)]
        return max(same, key=lambda each: _common_depth(each.url, url), default=None)

    def _from_netrc(self, url: str, credential: Credential | None) -> str | None:
        login = self._read_netrc().authenticators(urlsplit(url).hostname or "")
        if login is None or (credential is not None and login[0] != credential.user):
            return None
        return basic(login[0], login[2] or "")

    def _read_netrc(self) -> netrc.netrc:
        if self._netrc is None:
            self._netrc = _netrc()
        return self._netrc


def basic(user: str, password: str) -> str:
    """The value of an Authorization or Proxy-Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _common_depth(one: str, other: str) -> int:
    """How many leading directories the paths of two URLs have in common."""
    pairs = zip(urlsplit(one).path.split("/"), urlsplit(other).path.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _netrc() -> netrc.netrc:
    """The netrc of the user; an empty one if there is none."""
    chosen = os.environ.get("NETRC")
    try:
        return netrc.netrc(chosen or Path("~/.netrc").expanduser())
    except (FileNotFoundError, RuntimeError):
        return netrc.netrc(os.devnull)
    except (OSError, netrc.NetrcParseError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.msg
        where = chosen or "~/.netrc"
        raise PyindexError(f"{where}: {reason}; correct it, or set NETRC to another file") from None


async def _keyring_password(credential: Credential) -> str | None:
    """The password that the ``keyring`` command has for the URL, or else for its host."""
    program = shutil.which("keyring")
    if program is None:
        return None
    for service in (credential.url, urlsplit(credential.url).netloc):
        password = await _run(program, "get", service, credential.user)
        if password:
            return password
    return None


async def _run(*command: str) -> str | None:
    """The first line that a command prints; ``None`` if it fails or takes too long."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _KEYRING_SECONDS)
    except TimeoutError:
        process.kill()
        return None
    return output.decode().partition("\n")[0] if process.returncode == 0 else None
