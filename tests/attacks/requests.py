"""Hostile requests as bytes, with the statuses allowed for each.

``CLOSED`` is a connection that is closed without an answer. No request may be answered with 500.
"""

from typing import NamedTuple

CLOSED = 0
_OK = range(200, 300)
_BAD = (CLOSED, *range(400, 500), 501, 505)


class Request(NamedTuple):
    """Bytes to send and allowed statuses; ``nginx`` if those of nginx differ."""

    sent: bytes
    allowed: tuple[int, ...]
    nginx: tuple[int, ...] | None = None


def _request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [line, "Host: x", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _get(path: str, *headers: str) -> bytes:
    return _request(f"GET {path} HTTP/1.1", *headers)


def _chunked(path: str, body: bytes, kind: str = "text/xml") -> bytes:
    headers = (f"Content-Type: {kind}", "Transfer-Encoding: chunked")
    return _request(f"POST {path} HTTP/1.1", *headers, body=body)


def _post(path: str, body: bytes, *headers: str, kind: str = "text/xml") -> bytes:
    length = f"Content-Length: {len(body)}"
    return _request(f"POST {path} HTTP/1.1", f"Content-Type: {kind}", length, *headers, body=body)


_FORM = "multipart/form-data; boundary=x"
_CALL = (
    b"<methodCall><methodName>search</methodName>"
    b"<params><param><value>%s</value></param></params></methodCall>"
)

REQUESTS = {
    "not http": Request(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", _BAD),
    "zeros": Request(b"\x00" * 4096 + b"\r\n\r\n", _BAD),
    "empty lines": Request(b"\r\n" * 1000, _BAD),
    "bare line feeds": Request(b"GET / HTTP/1.1\nHost: x\nConnection: close\n\n", (*_BAD, 200)),
    "no version": Request(b"GET /simple/\r\n\r\n", (*_BAD, 200)),
    "version 9.9": Request(_request("GET /simple/ HTTP/9.9"), _BAD),
    "http/2": Request(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", _BAD),
    "no host": Request(b"GET /simple/ HTTP/1.1\r\nConnection: close\r\n\r\n", (*_BAD, 200)),
    "two hosts": Request(_get("/simple/", "Host: y"), _BAD),
    "host with a slash": Request(_get("/", "X: y").replace(b"Host: x", b"Host: x/y"), (*_BAD, 200)),
    "control characters in a header": Request(_get("/simple/", "X: \x01\x02"), (*_BAD, 200)),
    "null in a header": Request(_get("/simple/", "X: a\x00b"), _BAD),
    "folded header": Request(_get("/simple/", "X: a\r\n b"), (*_BAD, 200)),
    "space before the colon": Request(_get("/simple/", "X : a"), (*_BAD, 200)),
    "thousand headers": Request(_get("/simple/", *(f"X{n}: y" for n in range(1000))), (*_BAD, 200)),
    "hundred kilobytes of a header": Request(_get("/simple/", "X: " + "y" * 100_000), _BAD),
    "hundred kilobytes of a path": Request(_get("/simple/" + "y" * 100_000), _BAD),
    "long accept": Request(_get("/simple/", "Accept: " + "a/b;q=0.1," * 700), (*_BAD, 200)),
    "long query": Request(_get("/simple/?format=" + "x&" * 1900), (200, 414)),
    "many parameters": Request(_get("/simple/foo-bar/?" + "a=b&" * 900), (200, 414)),
    "thousand ranges": Request(
        _get("/packages/large-1.0-py2.py3-none-any.whl", "Range: bytes=" + "0-0," * 1000 + "0-0"),
        (200, 206, 416, 400, 431),
    ),
    "range of a huge number": Request(
        _get("/packages/large-1.0-py2.py3-none-any.whl", f"Range: bytes={'9' * 500}-"), (200, 416)
    ),
    "invalid date": Request(
        _get("/packages/large-1.0-py2.py3-none-any.whl", "If-Modified-Since: Mon, 99 Foo 0000"),
        (200,),
    ),
    "length and chunks": Request(
        _post("/RPC2", b"0\r\n\r\n", "Transfer-Encoding: chunked"), (*_BAD,)
    ),
    "two lengths": Request(_post("/RPC2", b"x", "Content-Length: 2"), _BAD),
    "negative length": Request(_post("/RPC2", b"", "X: y").replace(b": 0", b": -5"), _BAD),
    "length of a huge number": Request(
        _request("POST /RPC2 HTTP/1.1", "Content-Type: text/xml", f"Content-Length: {'9' * 400}"),
        _BAD,
    ),
    "length that is not a number": Request(
        _request("POST /RPC2 HTTP/1.1", "Content-Type: text/xml", "Content-Length: 1e3"), _BAD
    ),
    "unknown coding": Request(
        _request("POST / HTTP/1.1", f"Content-Type: {_FORM}", "Transfer-Encoding: foo"), _BAD
    ),
    "chunk size that is not a number": Request(_chunked("/RPC2", b"zz\r\nxx\r\n0\r\n\r\n"), _BAD),
    "chunk size that is not a number in a form": Request(
        _chunked("/", b"zz\r\nxx\r\n0\r\n\r\n", _FORM), _BAD
    ),
    "chunk longer than its size": Request(_chunked("/", b"1\r\nabc\r\n0\r\n\r\n", _FORM), _BAD),
    "chunk of a huge size": Request(_chunked("/", b"f" * 200 + b"\r\nx", _FORM), _BAD),
    "huge chunk extension": Request(
        _chunked("/", b"1;" + b"x" * 50_000 + b"\r\na\r\n0\r\n\r\n", _FORM), _BAD
    ),
    "trailers": Request(_chunked("/", b"0\r\n" + b"X: y\r\n" * 50 + b"\r\n", _FORM), _BAD),
    "smuggled request": Request(
        _post("/", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", kind=_FORM), (403,)
    ),
    "expect something else": Request(_get("/simple/", "Expect: y"), (*_BAD, 200)),
    "upgrade": Request(_get("/simple/", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), (200,)),
    "method in lower case": Request(_request("get / HTTP/1.1"), _BAD),
    "unknown method": Request(_request("FROB /simple/ HTTP/1.1"), _BAD),
    "trace": Request(_request("TRACE / HTTP/1.1"), _BAD),
    "connect": Request(_request("CONNECT x:443 HTTP/1.1"), _BAD),
    "absolute form": Request(_request("GET http://evil/simple/ HTTP/1.1"), (*_BAD, 200)),
    "asterisk": Request(_request("OPTIONS * HTTP/1.1"), (*_BAD, 200)),
    "form of many parts": Request(_post("/", b"--x\r\n" * 10_000, kind=_FORM), (403,)),
    "form without a boundary": Request(_post("/", b"x", kind="multipart/form-data"), (403,)),
    "not xml": Request(_post("/RPC2", b"\x00\xff" * 100), (400,)),
    "xml of a decimal": Request(_post("/RPC2", _CALL % b"<bigdecimal>x</bigdecimal>"), (400,)),
    "xml of a huge number": Request(
        _post("/RPC2", _CALL % (b"<i8>%s</i8>" % (b"9" * 9000))), (400,)
    ),
    "xml of a float": Request(_post("/RPC2", _CALL % b"<double>1e999</double>"), (200,)),
    "xml of a date": Request(
        _post("/RPC2", _CALL % b"<dateTime.iso8601>99999999</dateTime.iso8601>"), (400,)
    ),
    "xml of base64": Request(_post("/RPC2", _CALL % b"<base64>\xc3\xa9!</base64>"), (200, 400)),
    "xml of a boolean": Request(_post("/RPC2", _CALL % b"<boolean>7</boolean>"), (400,)),
    "xml in an unknown encoding": Request(
        _post("/RPC2", b"<?xml version='1.0' encoding='utf-7'?><a/>"), (400,)
    ),
    "xml of nesting": Request(_post("/RPC2", _CALL % (b"<array><data><value>" * 3000)), (400,)),
    "xml of complete nesting": Request(
        _post(
            "/RPC2",
            _CALL
            % (
                b"<array><data><value>" * 1000 + b"<int>1</int>" + b"</value></data></array>" * 1000
            ),
        ),
        (200, 400),
    ),
    "xml of entities": Request(
        _post("/RPC2", b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'), (400,)
    ),
    "xml that is a fault": Request(
        _post(
            "/RPC2", b"<methodResponse><fault><value><int>1</int></value></fault></methodResponse>"
        ),
        (400,),
    ),
    "xml of a long word": Request(
        _post(
            "/RPC2",
            _CALL
            % (
                b"<struct><member><name>name</name><value>%s</value></member></struct>"
                % (b"x" * 60_000)
            ),
        ),
        (200,),
    ),
    "search without a length": Request(
        _chunked("/RPC2", b"5\r\n<a/>x\r\n0\r\n\r\n"), (411,), (400,)
    ),
    "serial of a huge number": Request(
        _post(
            "/RPC2",
            (_CALL % (b"<i8>%s</i8>" % (b"9" * 4000))).replace(
                b"search", b"changelog_since_serial"
            ),
        ),
        (200,),
    ),
    "body of a page": Request(_post("/simple/", b"x" * 100_000), (405,)),
}
