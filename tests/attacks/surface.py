"""Requests to any URL of the application, and what holds for the answer to each of them.

The routes are those of the application itself. Their parts, the headers and the bodies are drawn by
hypothesis: names of files and projects that exist, and what no client should send.
"""

import base64
import io
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, quote_from_bytes

from hypothesis import strategies as st

from tests.nginx.servers import PATIENCE
from tests.uploads.forms import CONTENT_TYPE

MARKUP = "<q1\"'&>"
"""Text that no answer in HTML may contain as it is."""
KNOWN = ("demo", "Demo.X", "secret-project", "1.0", "list_classifiers", "pip.conf", "main")
FILES = ("demo-1.0-py2.py3-none-any.whl", "secret_project-1.0-py2.py3-none-any.whl")
ALICE, BOB = (
    f"Basic {base64.b64encode(text).decode()}" for text in (b"alice:wonderland", b"bob:builder")
)
_RECORDED = Path(__file__).parent.parent / "data" / "upload-requests"
# Answers of the server's own, which reads no more of the connection, lack the headers of the rest.
_UNREADABLE = (400, 408, 413, 414, 417, 431, 501, 505)
_BODILESS = (204, 304)
_FOR_NGINX = b"/-/authorize/"


@dataclass(frozen=True)
class Request:
    """One request; ``target`` and the values of ``headers`` are sent as they are."""

    method: str
    target: bytes
    headers: Mapping[str, bytes] = field(default_factory=dict)
    body: bytes = b""

    @property
    def is_of_alice(self) -> bool:
        """Whether it has the credentials of the account that may read everything."""
        return self.headers.get("Authorization") == ALICE.encode()

    @property
    def raw(self) -> bytes:
        length = {"Content-Length": b"%d" % len(self.body)} if self.body else {}
        headers = {"Host": b"x", "Connection": b"close", **length, **self.headers}
        lines = [b"%s: %s" % (name.encode(), value) for name, value in headers.items()]
        first = b"%s %s HTTP/1.1" % (self.method.encode(), self.target)
        return b"\r\n".join([first, *lines, b"", self.body])


@dataclass(frozen=True)
class Answer:
    """One answer, whose body has the length that its headers state."""

    status: int
    headers: HTTPMessage
    body: bytes


def ask(port: int, request: Request) -> Answer | None:
    """Send a request and read until the server closes; ``None`` without an answer. Fails for an
    answer of another length than stated, or for more than one."""
    raw = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        try:
            client.sendall(request.raw)
            client.shutdown(socket.SHUT_WR)
            while more := client.recv(1 << 18):
                raw += more
        except ConnectionError:
            pass  # closed before everything was sent
    return _parsed(raw, request.method) if raw else None


class _Received(io.BytesIO):
    """What was received, in place of a socket."""

    def makefile(self, *_arguments: object) -> "_Received":
        return self

    def close(self) -> None:
        """Stay open: whether there is more is of interest."""


def _parsed(raw: bytes, method: str) -> Answer:
    received = _Received(raw)
    response = HTTPResponse(cast(Any, received), method=method)
    response.begin()
    body = response.read()
    rest = received.read()
    # Of a head that cannot be read, the server does not know that its method is HEAD.
    assert not rest or response.status in _UNREADABLE, f"more than one answer: {rest[:200]!r}"
    return Answer(response.status, response.headers, body)


# --- what holds for every answer -----------------------------------------------------------------


def check(request: Request, answer: Answer, secrets: tuple[bytes, ...]) -> None:
    """Check what holds for every answer, whatever the request."""
    assert answer.status < 500 or answer.status in (501, 505)
    assert b"Traceback" not in answer.body
    _check_headers(request, answer)
    if answer.headers.get_content_type() == "text/html":
        assert MARKUP.encode() not in answer.body
    if not request.is_of_alice:
        everything = answer.headers.as_bytes() + answer.body
        assert not [secret for secret in secrets if secret in everything]


def _check_headers(request: Request, answer: Answer) -> None:
    headers = answer.headers
    assert "X-Injected" not in headers
    if answer.status not in _BODILESS and request.method != "HEAD":
        assert "Content-Length" in headers or "Transfer-Encoding" in headers
    if answer.body:
        assert "Content-Type" in headers
    if answer.status not in _UNREADABLE and not request.target.startswith(_FOR_NGINX):
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
    for status, name in ((401, "WWW-Authenticate"), (405, "Allow"), (416, "Content-Range")):
        assert answer.status != status or name in headers
    if 300 < answer.status < 304:
        location = headers["Location"]
        assert location.startswith("/"), location
        assert not location.startswith("//"), location
        assert location.isascii(), location


# --- strategies ----------------------------------------------------------------------------------

_TEXT = st.text(max_size=12)
_LONG = st.sampled_from([300, 3_900, 60_000]).map(lambda size: "a" * size)
_ODD = st.sampled_from(
    (
        *(
            "",
            ".",
            "..",
            "../..",
            "%",
            "\0",
            "\r\nX-Injected: y",
            "//evil.example/",
            "\\",
            "*",
            "?",
        ),
        *(
            "#",
            "\u202e",
            "\ufeff",
            "\u0130",
            "\ud7ff",
            "\U0010ffff",
            "a" * 221,
            "1e999",
            "-1",
            MARKUP,
        ),
    )
)
_WORD = st.one_of(st.sampled_from((*KNOWN, *FILES)), _ODD, _TEXT, _LONG)
_PLAIN = "!$&'()*+,;=:@-._~/"


def _escaped(text: str) -> st.SearchStrategy[bytes]:
    """Spellings of one text in a URL."""
    raw = text.encode("utf-8", "surrogatepass")
    return st.sampled_from(
        [
            quote(raw, safe=_PLAIN).encode(),
            quote_from_bytes(raw, safe="").encode(),
            quote(quote(raw, safe=""), safe="").encode(),
            b"".join(b"%%%02x" % byte for byte in raw[:3000]),
            quote_from_bytes(raw.replace(b"a", b"\xff"), safe=_PLAIN).encode(),
            bytes(byte for byte in raw if byte > 0x20 and byte != 0x7F),
        ]
    )


_SPELLED = _WORD.flatmap(_escaped)
_EXISTING = st.sampled_from([name.encode() for name in (*KNOWN, *FILES)])


@st.composite
def _targets(draw: st.DrawFn, routes: list[str]) -> bytes:
    """A path by one of the routes, or a free one; often with a query."""
    path = b""
    for segment in draw(st.sampled_from(routes + [each for each in routes if "{" in each])).split(
        "/"
    )[1:]:
        path += b"/" + (draw(_EXISTING | _SPELLED) if "{" in segment else segment.encode())
    tail = draw(
        st.sampled_from([b"", b"", b"", b"/", b".metadata", b".asc", b"/..", b"//", b"%00"])
    )
    path += tail
    for name in draw(
        st.lists(st.sampled_from(["format", "after", ":action", "x", ""]), max_size=2)
    ):
        path += b"%s%s=%s" % (b"&" if b"?" in path else b"?", name.encode(), draw(_SPELLED))
    return path[:64_000]


def _value(*known: str) -> st.SearchStrategy[bytes]:
    """Values of a header: known ones, and any bytes that can be in one line."""
    free = st.binary(max_size=30).map(lambda raw: raw.translate(None, b"\r\n\0"))
    return st.one_of(st.sampled_from([each.encode("latin-1") for each in known]), free)


def _credentials() -> st.SearchStrategy[bytes]:
    inner = st.one_of(
        st.binary(max_size=20), st.just(b"alice:wrong"), st.just(b"x:pyi-" + b"a" * 67)
    )
    basic = inner.map(lambda raw: b"Basic " + base64.b64encode(raw))
    known = (ALICE, BOB, f"{ALICE}, {ALICE}", f"Bearer pyi-{'a' * 67}", f"Basic {'a' * 40_000}")
    return st.one_of(_value(*known), basic)


_HEADERS: dict[str, st.SearchStrategy[bytes]] = {
    "Accept": _value(
        "text/html", "application/vnd.pypi.simple.v1+json", "*/*;q=0", "a/b;q=0.1," * 500, ";;;,,"
    ),
    "Accept-Encoding": _value("gzip", "gzip;q=0", "*", "br, zstd"),
    "Authorization": _credentials(),
    "Content-Type": _value(CONTENT_TYPE, "text/xml", "multipart/form-data", "application/json"),
    "Host": _value("pypi.example.org", "[::1", "x:y", "x/../y", MARKUP, "x:99999", "\xff"),
    "If-None-Match": _value("*", '"x"', 'W/"x"', '"', ",,,", '"a", ' * 300),
    "If-Modified-Since": _value("Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 0001 00:00:00 GMT"),
    "If-Range": _value('"x"', "Thu, 01 Jan 1970 00:00:00 GMT", '"'),
    "Origin": _value("null"),
    "Range": _value("bytes=0-0", "bytes=-1", "bytes=5-1", "bytes=0-0,2-2", "bytes=" + "9" * 30),
    "X-Asked": _value("simple/secret-project", f"packages/{FILES[1]}", "packages/", "simple"),
    "X-Forwarded-For": _value("192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0", "1.2.3", ","),
    "X-Log": _value("actor"),
}


def _calls() -> st.SearchStrategy[bytes]:
    """Calls of XML-RPC."""
    methods = ("search", "list_packages_with_serial", "changelog_since_serial", MARKUP)
    values = (
        "<int>0</int>",
        f"<i8>{'9' * 30}</i8>",
        "<string>demo</string>",
        "<nil/>",
        "<struct>",
    )
    return st.builds(
        lambda method, value: (
            f"<methodCall><methodName>{method}</methodName><params><param><value>{value}</value>"
            "</param></params></methodCall>"
        ).encode(),
        st.sampled_from(methods),
        st.sampled_from(values),
    )


@st.composite
def _forms(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Content-Type and body of a form that a client has sent, with some bytes changed."""
    path = draw(st.sampled_from(sorted(_RECORDED.glob("*.bin"))))
    body = bytearray(path.read_bytes())
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(body)))
        stop = start + draw(st.sampled_from([0, 1, 4, 5_000]))
        body[start:stop] = draw(st.one_of(st.binary(max_size=8), _TEXT.map(str.encode)))
    return path.with_suffix(".ct").read_bytes().strip(), bytes(body)


_METHODS = (
    "GET",
    "GET",
    "GET",
    "HEAD",
    "POST",
    "POST",
    "OPTIONS",
    "PUT",
    "DELETE",
    "PATCH",
    "FROB",
)


@st.composite
def requests(draw: st.DrawFn, routes: list[str]) -> Request:
    """Any request to one of the routes."""
    names = draw(st.lists(st.sampled_from(sorted(_HEADERS)), max_size=3, unique=True))
    headers = {name: draw(_HEADERS[name]) for name in names}
    if draw(st.booleans()):
        headers["Authorization"] = ALICE.encode()
    method, target = draw(st.sampled_from(_METHODS)), draw(_targets(routes))
    if method in ("GET", "HEAD", "OPTIONS", "FROB"):
        return Request(method, target, headers)
    body = draw(st.one_of(_calls(), st.binary(max_size=200)))
    length = draw(st.sampled_from([None] * 7 + [b"-1", b"5000", b"x", b"9" * 30, b"+5", b"5, 5"]))
    kind = {"Content-Type": b"text/xml"} | ({} if length is None else {"Content-Length": length})
    return Request(method, target, kind | headers, body)


@st.composite
def uploads(draw: st.DrawFn) -> Request:
    """A form to an index that accepts uploads, mostly of an account that may upload."""
    kind, body = draw(_forms())
    target = draw(st.sampled_from([b"/legacy/", b"/", b"/main/legacy", b"/private/legacy/"]))
    login = draw(st.sampled_from([ALICE, ALICE, ALICE, BOB])).encode()
    return Request("POST", target, {"Authorization": login, "Content-Type": kind}, body)
