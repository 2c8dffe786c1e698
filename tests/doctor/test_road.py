"""The way to an index, with real servers at its end."""

import http.server
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.doctor import examination, road
from appliance.doctor.finding import Finding
from appliance.doctor.road import Road
from appliance.upstream.pages import JSON
from benchmarks.ports import free_port
from tests.nginx.certificates import certificate, needs_openssl

PAGE = json.dumps({"meta": {"api-version": "1.4"}, "projects": [{"name": "foo"}]}).encode()


class _Answers(http.server.BaseHTTPRequestHandler):
    status, kind, date, location, page, pause = 200, JSON, "", "", PAGE, 0.0

    def do_GET(self) -> None:
        self.send_response_only(self.status)
        self.send_header("Date", self.date or self.date_time_string())
        self.send_header("Content-Type", self.kind)
        if self.location and self.path == "/simple/":
            self.send_header("Location", self.location)
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        for offset in range(len(self.page) if self.pause else 0):
            self.wfile.write(self.page[offset : offset + 1])
            time.sleep(self.pause)
        if not self.pause:
            self.wfile.write(self.page)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def answering(
    facts: dict[str, object],
    context: ssl.SSLContext | None = None,
    base: type[_Answers] = _Answers,
) -> Iterator[int]:
    """Run a server that answers with ``facts`` during the context; yield its port."""
    handler = type("Answers", (base,), facts)
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
    "another server": (
        {"status": 302, "location": "https://other.example/simple/?token=secret"},
        "problem",
        "index",
        r"http://\S+/simple/: redirects to another server, https://other\.example/simple/\?\.\.\.;"
        r" correct the redirect, or use the URL of that server",
    ),
    "a circle": (
        {"status": 302, "location": "/simple/"},
        "problem",
        "index",
        r"http://\S+/simple/: too many redirects; check the URL",
    ),
    "terminal escapes": (
        {"page": b'{"meta": {"api-version": "1.0\\u001b[31m\\nok"}, "projects": []}'},
        "ok",
        "index",
        r"simple API 1\.0\\x1b\[31m\\nok, 0 projects",
    ),
    "a time without a zone": (
        {"date": "Sun, 29 Nov 2020 12:00:00"},
        "warning",
        "clock",
        r"\d+ minutes apart from the index; certificates depend on it: set it",
    ),
    "a time of an unknown zone": (
        {"date": "Sun, 29 Nov 2020 12:00:00 -0000"},
        "warning",
        "clock",
        r"\d+ minutes apart from the index; certificates depend on it: set it",
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


WRONG = {
    b"{x": "not JSON: .*",
    b"[" * 100_000: "not JSON: .*",
    b"[]": "not JSON: expected .*",
    b'{"meta": {"api-version": "1.0"}}': "not a project list: projects: missing",
    b'{"projects": []}': "not a project list: meta: missing",
    b'{"meta": {"api-version": "1.0"}, "projects": {}}': r"not a project list: projects: .*",
    b'{"meta": {"api-version": "1.0"}, "projects": ["foo"]}': r"not a project list: projects.*",
    b'{"meta": {"api-version": "2.0"}, "projects": []}': "expected version 1.x of the .*'2.0'",
}


@pytest.mark.parametrize("page", WRONG)
def test_list_that_no_client_reads_is_named(page: bytes) -> None:
    """A problem says what is wrong with the project list."""
    with answering({"page": page}) as port:
        last = findings(f"http://127.0.0.1:{port}/simple/")[-1]
    assert (last.level, last.subject) == ("problem", "index")
    end = "; check the URL of the index"
    assert re.fullmatch(rf"http://127\.0\.0\.1:\d+/simple/: {WRONG[page]}{end}", last.text)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ({"requires-python": 3}, r"files\[0\]\.requires-python: expected a valid string, got '3'"),
        ({"size": "big"}, r"files\[0\]\.size: expected a valid integer, got 'big'"),
        ({"filename": None}, r"files\[0\]\.filename: expected a valid string, got nothing"),
    ],
)
def test_page_that_no_client_reads_is_named(file: dict[str, object], text: str) -> None:
    """A problem says what is wrong with the page of the first project."""
    entry = {"filename": "foo-1.0-py3-none-any.whl", "url": "foo", "hashes": {}} | file
    page = json.dumps(json.loads(PAGE) | {"files": [entry]}).encode()
    with answering({"page": page}) as port:
        last = [*examination.examine(f"http://127.0.0.1:{port}/simple/", {})][-1]
    assert (last.level, last.subject) == ("problem", "index")
    where = r"http://127\.0\.0\.1:\d+/simple/foo/: not a project page: "
    assert re.fullmatch(f"{where}{text}; check the URL of the index", last.text)


@pytest.mark.parametrize(
    ("file", "requirement"),
    [
        ({}, "foo==1.0"),
        ({"size": 1 << 30}, None),
        ({"yanked": ""}, None),
        ({"requires-python": ">=99"}, None),
        ({"requires-python": "three"}, None),
        ({"filename": "_rfoo-1.0-py3-none-any.whl"}, None),
        ({"filename": "foo-1.0-cp311-cp311-win32.whl"}, None),
    ],
)
def test_wheel_to_install_suits_this_python(file: dict[str, object], requirement: str) -> None:
    """Only a small pure wheel of the project is installed; a page names no option of pip."""
    entry = {"filename": "foo-1.0-py3-none-any.whl", "url": "foo", "hashes": {}} | file
    page = json.dumps(json.loads(PAGE) | {"files": [entry]}).encode()
    with answering({"page": page}) as port:
        way = Road(f"http://127.0.0.1:{port}/simple/", None)
        list(way.examine())
        assert examination._small_wheel(way) == requirement


def test_slow_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that sends one byte now and then is left after the time for all requests."""
    monkeypatch.setattr(road, "_REQUEST_SECONDS", 1.0)
    with answering({"pause": 0.2}) as port:
        last = findings(f"http://127.0.0.1:{port}/simple/")[-1]
    assert (last.level, last.subject) == ("problem", "index")
    assert last.text.endswith("/simple/: timed out; check the network and the server")


def test_redirect_within_the_index_is_followed() -> None:
    """Another path of the same server is where the index is."""
    facts: dict[str, object] = {"location": "/root/+simple/"}

    class Moved(_Answers):
        def do_GET(self) -> None:
            self.status = 301 if self.path == "/simple/" else 200
            super().do_GET()

    with answering(facts, base=Moved) as port:
        assert findings(f"http://127.0.0.1:{port}/simple/")[-1].text == (
            "simple API 1.4, 1 project"
        )


@pytest.mark.parametrize(
    ("index", "subject", "text"),
    [
        (
            "http://nowhere.invalid/simple/",
            "DNS",
            r"nowhere\.invalid: .*; add it to DNS or /etc/hosts",
        ),
        ("http://a..b/simple/", "DNS", r"a\.\.b: not the name of a host; correct the URL"),
        (
            f"http://{'a' * 64}.example/simple/",
            "DNS",
            r"a+\.example: not the name of a host; correct the URL",
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
