"""The way to an index: name, address, certificate, answer, clock."""

import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any

from appliance.doctor.finding import Finding, ok, problem, warning
from appliance.text import counted
from appliance.upstream.urls import origin

JSON = "application/vnd.pypi.simple.v1+json"
SECONDS = 10.0
_LARGEST = 1 << 26
_SKEW = timedelta(minutes=5)
_NOTICE = timedelta(days=30)


class Road:
    """The way to ``index``, the URL of a simple API, with the certificates of ``ca``, a file, or of
    the system."""

    def __init__(self, index: str, ca: str | None) -> None:
        self.index = index
        self._scheme, self._host, self._port = origin(index)
        self._context = ssl.create_default_context(cafile=ca)
        handlers = (
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=self._context),
        )
        self._opener = urllib.request.build_opener(*handlers)

    def examine(self) -> Iterator[Finding]:
        """Yield findings until the first that ends the way."""
        try:
            infos = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            text = f"{self._host}: {error.strerror}; add it to DNS or /etc/hosts"
            yield problem("DNS", text)
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

    def read(self, path: str = "") -> Any:
        """Return the JSON document at a path below the index. Raises OSError, ValueError or
        HTTPException."""
        return json.loads(self._get(path)[1])

    def _get(self, path: str) -> tuple[dict[str, str], bytes]:
        url = f"{self.index}{path}"  # http or https, says origin()
        request = urllib.request.Request(url, headers={"Accept": JSON})  # noqa: S310
        with self._opener.open(request, timeout=SECONDS) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return headers, answer.read(_LARGEST)

    def _connect(self, address: str) -> Iterator[Finding]:
        where = f"{address} port {self._port}"
        try:
            with socket.create_connection((address, self._port), timeout=SECONDS):
                yield ok("connection", f"{where} accepts connections")
        except OSError as error:
            text = f"{where}: {error.strerror or error}; check firewalls, and that nginx runs"
            yield problem("connection", text)

    def _secure(self) -> Iterator[Finding]:
        try:
            with (
                socket.create_connection((self._host, self._port), timeout=SECONDS) as plain,
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
            headers, content = self._get("")
        except urllib.error.HTTPError as error:
            login = "; clients need a login" if error.code == 401 else "; check the URL"
            level = warning if error.code == 401 else problem
            yield level("index", f"{self.index} answered {error.code} {error.reason}{login}")
            return
        except (OSError, HTTPException) as error:
            yield problem("index", f"{self.index}: {error}; check that a server of HTTP is there")
            return

        if headers.get("content-type", "").partition(";")[0] != JSON:
            yield problem("index", f"{self.index} is no index with a simple API; check the URL")
            return
        listed = json.loads(content)
        projects = len(listed["projects"])
        yield ok(
            "index", f"simple API {listed['meta']['api-version']}, {counted(projects, 'project')}"
        )
        yield from self._compare_clocks(headers)

    def _compare_clocks(self, headers: dict[str, str]) -> Iterator[Finding]:
        try:
            there = parsedate_to_datetime(headers["date"])
        except (KeyError, ValueError):
            return
        skew = abs(datetime.now(UTC) - there)
        if skew > _SKEW:
            minutes = round(skew.total_seconds() / 60)
            text = f"{minutes} minutes apart from the index; certificates depend on it: set it"
            yield warning("clock", text)
