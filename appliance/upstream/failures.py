"""Failures of upstreams: permanent ones, and those that another attempt may repair."""

import contextlib
import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import TypeVar

import aiohttp
import stamina

from appliance.errors import PyindexError
from appliance.text import printable
from appliance.upstream.limits import Limits
from appliance.upstream.urls import redacted

# Stamina logs each retry; without a handler of its own that would be printed between progress bars.
logging.getLogger("stamina").addHandler(logging.NullHandler())

_T = TypeVar("_T")


class UpstreamError(PyindexError):
    """An upstream cannot answer; the text begins with the URL."""


class Temporary(UpstreamError):
    """A failure that may pass; ``retry_after`` is the time in seconds that the server states."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


@contextlib.contextmanager
def reported(url: str) -> Iterator[None]:
    """Raise exceptions of aiohttp as :class:`UpstreamError`."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        kind, text = _described(error)
        raise kind(f"{redacted(url)}: {text}") from None


def _described(error: aiohttp.ClientError | OSError) -> tuple[type[UpstreamError], str]:
    """The class of the error to raise, and its text."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return UpstreamError, (
                f"no trusted TLS connection: {_tls_reason(error)};"
                " set its CA by `ca` of the upstream in the spec, `cert` in pip's configuration, or"
                " SSL_CERT_FILE"
            )
        case TimeoutError():
            return Temporary, "timed out; check the network and the server"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno or 0  # of getaddrinfo() they are negative
            reason = os.strerror(number) if number > 0 else error.os_error.strerror or "no answer"
            return Temporary, f"cannot connect: {reason}; check the URL and network"
        case aiohttp.ClientHttpProxyError():
            kind = Temporary if error.status >= 500 else UpstreamError
            text = f"the proxy answered {error.status}; check its URL, user and password"
            return kind, text
        case aiohttp.InvalidURL() | aiohttp.ClientResponseError():
            return UpstreamError, f"not HTTP: {_reason(error)}; check the URL and proxy"
    return Temporary, f"connection lost: {_reason(error)}; check the network and the server"


def _tls_reason(error: aiohttp.ClientConnectorError) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    return cause.reason if isinstance(cause, ssl.SSLError) else _reason(error)


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientPayloadError):
        return "body cut short or malformed"
    if isinstance(error, aiohttp.ClientResponseError):
        return error.message.partition("\n")[0].rstrip(":").lower()
    first = str(error).partition("\n")[0] or type(error).__name__
    return printable(redacted(first))


async def retried(limits: Limits, attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Await ``attempt()`` until it raises no :class:`Temporary`, within the limits."""
    caller = stamina.AsyncRetryingCaller(
        attempts=limits.attempts,
        timeout=None,
        wait_initial=limits.first_wait_seconds,
        wait_max=limits.longest_wait_seconds,
        wait_jitter=limits.first_wait_seconds,
    )

    def wait(error: Exception) -> bool | float:
        if not isinstance(error, Temporary):
            return False
        if error.retry_after is None:
            return True
        return min(error.retry_after, limits.longest_retry_after_seconds)

    return await caller(wait, attempt)


def retry_after_seconds(value: str | None) -> float | None:
    """The seconds that a Retry-After header states, as a number or a date (RFC 9110, 10.2.3);
    ``None`` without a valid one."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
