"""The way to an index: name, address, certificate, answer, clock."""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from appliance.doctor.finding import Finding, ok, problem, warning
from appliance.text import counted
from appliance.upstream import pages
from appliance.upstream.connection import Response
from appliance.upstream.failures import UpstreamError, reported
from appliance.upstream.limits import Limits
from appliance.upstream.model import RemoteProject
from appliance.upstream.urls import absolute, origin, redacted

_CONNECT_SECONDS = 10.0
_REQUEST_SECONDS = 60.0  # for all of them
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"Accept": pages.JSON, "Accept-Encoding": "gzip"}
_SKEW = timedelta(minutes=5)
_NOTICE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class _Answer:
    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes


class Road:
    """The way to ``index``, the URL of a simple API, with the certificates of ``ca``, a file, or of
    the system. ``names`` are the projects of the index, once :meth:`examine` has read them."""

    def __init__(self, index: str, ca: str | None) -> None:
        self.index = index
        self.names: tuple[str, ...] | None = None
        self._scheme, self._host, self._port = origin(index)
        self._context = ssl.create_default_context(cafile=ca)
        self._limits, self._seconds = Limits(), _REQUEST_SECONDS

    def examine(self) -> Iterator[Finding]:
        """Yield findings until the first that ends the way."""
        try:
            infos = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            text = f"{self._host}: {error.strerror}; add it to DNS or /etc/hosts"
            yield problem("DNS", text)
            return
        except UnicodeError:  # an empty label, or one of more than 63 characters
            yield problem("DNS", f"{self._host}: not the name of a host; correct the URL")
            return
        addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
        yield ok("DNS", f"{self._host} is {', '.join(addresses)}")

        answers = [finding for each in addresses for finding in self._connect(each)]
        yield from answers
        if all(finding.level == "problem" for finding in answers):
            return
        if self._scheme == "https":
            secure = list(self._secure())
            yield from secure
            if secure[-1].level == "problem":
                return
        yield from self._ask()

    def project(self, name: str) -> RemoteProject | None:
        """The project of a normalized name; ``None`` if the index has no page for it.

        Raises :class:`UpstreamError` if there is no answer in time, or not such a page.
        """
        answer = self._get(f"{name}/")
        if answer.status != 200:
            return None
        kind = answer.headers.get("Content-Type", "")
        return pages.parse(name, answer.content, kind, answer.url, self.index)

    def _get(self, path: str = "") -> _Answer:
        """The answer to a request for a path below the index.

        Raises :class:`UpstreamError` if there is none in the time that is left for all requests.
        """
        since = time.monotonic()
        try:
            return asyncio.run(self._fetch(f"{self.index}{path}"))
        finally:
            self._seconds -= time.monotonic() - since

    async def _fetch(self, url: str) -> _Answer:
        first = url
        connector = aiohttp.TCPConnector(ssl=self._context)
        with reported(first):
            async with (
                asyncio.timeout(self._seconds),
                aiohttp.ClientSession(
                    connector=connector,
                    auto_decompress=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers=_HEADERS,
                ) as session,
            ):
                for _ in range(self._limits.redirects):
                    answer = await self._request(session, url)
                    location = answer.headers.get("Location")
                    if answer.status not in _REDIRECTS or location is None:
                        return answer
                    url = self._target(url, location)
        raise UpstreamError(f"{first}: too many redirects; check the URL")

    async def _request(self, session: aiohttp.ClientSession, url: str) -> _Answer:
        """The answer to one request; a redirect has no content."""
        async with session.get(URL(url, encoded=True), allow_redirects=False) as response:
            content = b""
            if response.status not in _REDIRECTS:
                limit = self._limits.page_bytes
                content = await Response(url, response, self._limits).read(limit)
            return _Answer(url, response.status, response.reason or "", response.headers, content)

    def _target(self, url: str, location: str) -> str:
        """Where ``url`` redirects to. Raises :class:`UpstreamError` for another server."""
        try:
            target = absolute(url, location)
            if origin(target) == origin(self.index):
                return target
        except ValueError:
            pass
        raise UpstreamError(
            f"{redacted(url)}: redirects to another server, {redacted(location)};"
            " correct the redirect, or use the URL of that server"
        )

    def _connect(self, address: str) -> Iterator[Finding]:
        where = f"{address} port {self._port}"
        try:
            with socket.create_connection((address, self._port), timeout=_CONNECT_SECONDS):
                yield ok("connection", f"{where} accepts connections")
        except OSError as error:
            text = f"{where}: {error.strerror or error}; check firewalls, and that nginx runs"
            yield problem("connection", text)

    def _secure(self) -> Iterator[Finding]:
        address = (self._host, self._port)
        try:
            with (
                socket.create_connection(address, timeout=_CONNECT_SECONDS) as plain,
                self._context.wrap_socket(plain, server_hostname=self._host) as secure,
            ):
                certificate, version = secure.getpeercert() or {}, secure.version()
        except ssl.SSLCertVerificationError as error:
            text = (
                f"{error.verify_message}; fetch the CA by a trusted way, and set it as pip's `cert`"
            )
            yield problem("TLS", text)
            return
        except OSError as error:
            yield problem("TLS", f"{error.strerror or error}; check that the port speaks HTTPS")
            return

        end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
        left = end - datetime.now(UTC)
        text = f"the certificate of {self._host} is valid until {end:%Y-%m-%d}"
        yield (
            warning("TLS", f"{text}; renew it")
            if left < _NOTICE
            else ok("TLS", f"{version}: {text}")
        )

    def _ask(self) -> Iterator[Finding]:
        try:
            answer = self._get()
            if (bad := self._unusable(answer)) is not None:
                yield bad
                return
            listed = pages.parse_list(answer.content, answer.url)
        except UpstreamError as error:
            yield problem("index", str(error))
            return
        self.names = listed.names
        found = counted(len(listed.names), "project")
        yield ok("index", f"simple API {listed.version}, {found}")
        yield from _compare_clocks(answer.headers.get("Date"))

    def _unusable(self, answer: _Answer) -> Finding | None:
        """Why the answer is no project list, or ``None``."""
        said = f"{self.index} answered {answer.status} {answer.reason}"
        if answer.status == 401:
            return warning("index", f"{said}; clients need a login")
        if answer.status != 200:
            return problem("index", f"{said}; check the URL")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != pages.JSON:
            return problem("index", f"{self.index} is no index with a simple API; check the URL")
        return None


def _compare_clocks(date: str | None) -> Iterator[Finding]:
    """Warn if a header Date (RFC 9110, 6.6.1: in UTC) is far from the clock of this machine."""
    try:
        there = parsedate_to_datetime(date or "")
    except (ValueError, OverflowError):
        return
    skew = abs(datetime.now(UTC) - (there if there.tzinfo else there.replace(tzinfo=UTC)))
    if skew > _SKEW:
        minutes = round(skew.total_seconds() / 60)
        text = f"{minutes} minutes apart from the index; certificates depend on it: set it"
        yield warning("clock", text)
