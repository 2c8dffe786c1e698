"""HTTP requests to upstreams: redirects, credentials, proxies, certificates, time limits.

A request is one attempt: :func:`~appliance.upstream.failures.retried` repeats it.
"""

import asyncio
import os
import ssl
import urllib.request
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from appliance.errors import PyindexError
from appliance.upstream.credentials import Authenticator, basic
from appliance.upstream.failures import (
    Temporary,
    UpstreamError,
    reported,
    retry_after_seconds,
)
from appliance.upstream.limits import Limits
from appliance.upstream.upstreams import Network, Upstreams
from appliance.upstream.urls import absolute, redacted, without_userinfo

_REDIRECTS = (301, 302, 303, 307, 308)
_READ_BUFFER = 1 << 18
# Where systems keep their CA certificates, for a Python that was built on another one.
_SYSTEM_CA = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)


class Response:
    """The answer to a request: its final ``url``, ``status``, ``headers`` and body."""

    def __init__(self, url: str, response: aiohttp.ClientResponse, limits: Limits) -> None:
        self.url, self.status, self.headers = url, response.status, response.headers
        self._response, self._limits = response, limits

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it is sent. Raises Temporary if it stalls, drips or is cut."""
        loop = asyncio.get_running_loop()
        since, received = loop.time(), 0
        while True:
            with reported(self.url):
                chunk = await self._response.content.readany()
            if not chunk:
                return
            yield chunk

            received += len(chunk)
            if (seconds := loop.time() - since) >= self._limits.slow_seconds:
                if received < self._limits.slow_bytes:
                    raise Temporary(
                        f"{redacted(self.url)}: only {received} bytes in {seconds:.0f} seconds;"
                        " check the network and the server"
                    )
                since, received = loop.time(), 0

    async def read(self, limit: int) -> bytes:
        """The body, uncompressed. Raises UpstreamError if it is larger than ``limit``."""
        is_packed = self.headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip")
        inflater = zlib.decompressobj(wbits=31) if is_packed else None
        content = bytearray()
        async for chunk in self.chunks():
            try:
                # One byte more than the limit is enough to recognize a bomb.
                content += inflater.decompress(chunk, limit + 1) if inflater else chunk
            except zlib.error as error:
                raise UpstreamError(
                    f"{redacted(self.url)}: damaged gzip data: {error}; check the server and proxy"
                ) from None
            if len(content) > limit:
                raise UpstreamError(
                    f"{redacted(self.url)}: larger than {limit:,} bytes; check the URL"
                )
        if inflater and not inflater.eof:
            raise Temporary(
                f"{redacted(self.url)}: gzip data cut short; check the server and proxy"
            )
        return bytes(content)


class Connection:
    """A pool of connections to the hosts of upstreams."""

    def __init__(self, upstreams: Upstreams, limits: Limits) -> None:
        self.limits = limits
        self._network = upstreams.network
        self._authenticator = Authenticator(upstreams)

    async def __aenter__(self) -> "Connection":
        limits = self.limits
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=limits.connect_seconds, sock_read=limits.idle_seconds
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limits.connections, ssl=_tls(self._network)),
            timeout=timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER,
            headers={"User-Agent": "pyindex"},
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Response]:
        """Send a GET request and follow redirects; yields the response, whose status may be an
        error of the client, as 404.

        Raises :class:`Temporary` for what another attempt may repair, and :class:`UpstreamError`
        for redirects that are unsafe or too many, and if the login fails.
        """
        seen: list[str] = []
        while True:
            response = await self._respond(url, headers)
            try:
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    yield Response(url, response, self.limits)
                    return
                seen.append(url)
                url = self._target(seen, response.headers["Location"])
            finally:
                response.release()

    def _target(self, seen: list[str], location: str) -> str:
        """Where the last URL of ``seen`` redirects to."""
        first, last = redacted(seen[0]), seen[-1]
        try:
            url = absolute(last, location)
        except ValueError:
            url = ""
        if urlsplit(url).scheme not in ("http", "https"):
            raise UpstreamError(f"{first}: redirects to {redacted(location)!r}; check the URL")
        if urlsplit(last).scheme == "https" != urlsplit(url).scheme:
            raise UpstreamError(
                f"{first}: redirects from https to {redacted(url)}; choose a server that stays on"
                " https"
            )
        if url in seen:
            raise UpstreamError(f"{first}: redirects in a circle; check the URL")
        if len(seen) > self.limits.redirects:
            raise UpstreamError(
                f"{first}: more than {self.limits.redirects} redirects; check the URL"
            )
        return url

    async def _respond(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The response to one request, sent again with a password from the keyring if it lacked
        one."""
        plain, user, password = without_userinfo(url)
        login = basic(user, password or "") if user else self._authenticator.header(plain)
        response = await self._send(plain, headers, login)
        if response.status == 401 and login is None:
            login = await self._authenticator.ask_keyring(plain)
            if login is not None:
                response.release()
                response = await self._send(plain, headers, login)

        try:
            _check_status(plain, response, is_logged_in=login is not None)
        except UpstreamError:
            response.release()
            raise
        return response

    async def _send(
        self, url: str, headers: Mapping[str, str], login: str | None
    ) -> aiohttp.ClientResponse:
        proxy, proxy_login = _proxy(url, self._network.proxies)
        own = {"Authorization": login} if login else {}
        to_proxy = {"Proxy-Authorization": proxy_login} if proxy_login else {}
        # Only a plain request is read by the proxy; the headers of a TLS one are the host's.
        is_read = url.startswith("http:")
        with reported(url):
            return await self._session.get(
                URL(url, encoded=True),
                headers={**headers, **own, **(to_proxy if is_read else {})},
                allow_redirects=False,
                ssl=not self._network.is_trusted(url),
                proxy=proxy,
                proxy_headers=to_proxy,
            )


def _check_status(url: str, response: aiohttp.ClientResponse, is_logged_in: bool) -> None:
    """Raise for a status that no caller can use."""
    status = response.status
    answer = f"{redacted(url)}: the server answered {status}"
    if status == 401 and not is_logged_in:
        raise UpstreamError(f"{answer}, and no password is known; add one to ~/.netrc or the URL")
    if status in (401, 403):
        raise UpstreamError(f"{answer}; check user, password and permissions")
    if status == 407:
        raise UpstreamError(f"{answer}; add user and password to the URL of the proxy")
    if status in (408, 425, 429) or status >= 500:
        wait = retry_after_seconds(response.headers.get("Retry-After"))
        raise Temporary(f"{answer}; retry later", wait)


def _proxy(url: str, proxies: Mapping[str, str]) -> tuple[URL | None, str | None]:
    """The proxy for ``url`` and the login there."""
    split = urlsplit(url)
    proxy = proxies.get(split.scheme) or proxies.get("all")
    if proxy is None or urllib.request.proxy_bypass(split.netloc, proxies):
        return None, None
    plain, user, password = without_userinfo(proxy)
    return URL(plain), basic(user, password or "") if user else None


def _tls(network: Network) -> ssl.SSLContext | bool:
    """The TLS settings: trusted certificates, and the own one; ``True`` for those of aiohttp, which
    has read the certificates of the system already."""
    paths = ssl.get_default_verify_paths()
    has_system = bool(paths.cafile or paths.capath)
    if has_system and network.ca is None and network.client_certificate is None:
        return True
    try:
        ca = str(network.ca) if network.ca else None
        context = ssl.create_default_context(
            cafile=None if network.ca and network.ca.is_dir() else ca,
            capath=ca if network.ca and network.ca.is_dir() else None,
        )
        if network.client_certificate:
            context.load_cert_chain(network.client_certificate)
    except (OSError, ssl.SSLError) as error:
        files = " or ".join(str(file) for file in (network.ca, network.client_certificate) if file)
        raise PyindexError(f"{files}: not a certificate (PEM): {error}; correct the path") from None

    if network.ca is None and not has_system:
        for file in filter(os.path.exists, _SYSTEM_CA):
            context.load_verify_locations(file)
            break
    return context
