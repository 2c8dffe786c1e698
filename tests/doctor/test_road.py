"""The way to an index, with real servers at its end."""

import http.server
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.doctor.finding import Finding
from appliance.doctor.road import JSON, Road
from benchmarks.ports import free_port
from tests.nginx.certificates import certificate, needs_openssl

PAGE = json.dumps({"meta": {"api-version": "1.4"}, "projects": [{"name": "foo"}]}).encode()


class _Answers(http.server.BaseHTTPRequestHandler):
    status, kind, date = 200, JSON, ""

    def do_GET(self) -> None:
        self.send_response_only(self.status)
        self.send_header("Date", self.date or self.date_time_string())
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def answering(facts: dict[str, object], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run a server that answers with ``facts`` during the context; yield its port."""
    handler = type("Answers", (_Answers,), facts)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def findings(index: str, ca: str | None = None) -> list[Finding]:
    return list(Road(index, ca).examine())


FOUND = [
    Finding("ok", "DNS", "127.0.0.1 is 127.0.0.1"),
    Finding("ok", "connection", "127.0.0.1 port {port} accepts connections"),
]
ENDS: dict[str, tuple[dict[str, object], str, str, str]] = {
    "an index": ({}, "ok", "index", "simple API 1.4, 1 project"),
    "nothing there": (
        {"status": 404},
        "problem",
        "index",
        r"http://\S+/simple/ answered 404 .*; check the URL",
    ),
    "a login": (
        {"status": 401},
        "warning",
        "index",
        r"http://\S+/simple/ answered 401 .*; clients need a login",
    ),
    "another page": (
        {"kind": "text/html"},
        "problem",
        "index",
        r"http://\S+ is no index with a simple API; check the URL",
    ),
    "another time": (
        {"date": "Sun, 29 Nov 2020 12:00:00 GMT"},
        "warning",
        "clock",
        r"\d+ minutes apart from the index; certificates depend on it: set it",
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_way_ends_at_an_index(case: str) -> None:
    """The last finding says what is at the end of the way."""
    facts, level, subject, text = ENDS[case]
    with answering(facts) as port:
        *found, last = findings(f"http://127.0.0.1:{port}/simple/")
    assert [each.text.format(port=port) for each in FOUND] == [each.text for each in found[:2]]
    assert (last.level, last.subject) == (level, subject)
    assert re.fullmatch(text, last.text)


@pytest.mark.parametrize(
    ("index", "subject", "text"),
    [
        (
            "http://nowhere.invalid/simple/",
            "DNS",
            r"nowhere\.invalid: .*; add it to DNS or /etc/hosts",
        ),
        (
            "http://127.0.0.1:{port}/simple/",
            "connection",
            r"127\.0\.0\.1 port \d+: Connection refused; check firewalls, and that nginx runs",
        ),
    ],
)
def test_way_that_is_closed_is_named(index: str, subject: str, text: str) -> None:
    """A name that nobody knows and a port where nobody listens end the way."""
    last = findings(index.format(port=free_port()))[-1]
    assert (last.level, last.subject) == ("problem", subject)
    assert re.fullmatch(text, last.text)


@needs_openssl
def test_certificate_needs_its_ca(tmp_path: Path) -> None:
    """The certificate of a private CA is trusted if the CA is named."""
    tls = certificate(tmp_path, "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls["certificate"], tls["key"])
    with answering({}, context) as port:
        index = f"https://127.0.0.1:{port}/simple/"
        assert findings(index)[-1].subject == "TLS"
        assert findings(index)[-1].level == "problem"
        *_, secure, last = findings(index, tls["ca"])
    assert re.fullmatch(
        r"TLSv1\.\d: the certificate of 127\.0\.0\.1 is valid until .*", secure.text
    )
    assert last.text == "simple API 1.4, 1 project"
