"""The nginx site as a whole: any spec's through ``nginx -t``, and what it does beside reading."""

import http.client
import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from appliance import render, spec
from appliance.index.watch import Watch
from appliance.spec import Spec
from benchmarks.ports import HOST, free_port
from tests.dist import make_wheel
from tests.integration.clients import Environments
from tests.test_nginx import configuration, running

from . import nginxes

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None or os.geteuid() != 0,
    reason="makes certificates with openssl, and listens at ports 80 and 443",
)
UNAVAILABLE = b"503 Service Unavailable: the application behind nginx does not answer"
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
KEYS = {"rsa": ["rsa:2048"], "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]}


def certificate(folder: Path, name: str, kind: str = "rsa") -> dict[str, str]:
    """A certificate for ``name`` from a private CA: what a spec says of it."""
    authority, place = folder / f"{kind}-ca", folder / kind
    more = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName={name}"]
    for path, options in (
        (authority, ["-subj", "/CN=a private CA"]),
        (place, ["-subj", "/CN=pyindex", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key"]),
    ):
        command = ["openssl", "req", "-x509", "-nodes", "-days", "9", "-newkey", *KEYS[kind]]
        command += ["-keyout", f"{path}.key", "-out", f"{path}.pem", *options]
        command += more if path == place else []
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    return {"certificate": f"{place}.pem", "key": f"{place}.key", "ca": f"{authority}.pem"}


@pytest.fixture(scope="module")
def pair_of_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return certificate(tmp_path_factory.mktemp("tls"), "DNS:pypi.lab.example")


TLS, PLAIN = True, False
LONG = ".".join(["a-long-name-of-a-department"] * 4)
SITES: list[tuple[bool, dict[str, object]]] = [
    (PLAIN, {"url": "http://pypi.lab.example"}),
    (PLAIN, {"url": "http://pypi.lab.example:8088/team/v1.2"}),
    (PLAIN, {"url": "http://[::1]:8088", "nginx": {"internal": ["::/0", "10.0.0.0/8"]}}),
    (PLAIN, {"url": "https://tls.ends.before.us/x"}),
    (PLAIN, {"url": "http://pypi", "nginx": {"internal": [], "max_upload": "8589934591g"}}),
    (PLAIN, {"server": {"bind": "port", "host": "::", "port": 1}, "url": f"http://{LONG}"}),
    (TLS, {"url": "https://pypi.lab.example"}),
    (TLS, {"url": "https://pypi.lab.example:8443/~team/py.pi"}),
    (TLS, {"url": "https://[::1]/x", "nginx": {"names": ["pypi", "PyPI", LONG, f"x.{LONG}"]}}),
    (TLS, {"url": "https://pypi", "nginx": {"max_upload": 1}, "server": {"bind": "port"}}),
]


@pytest.mark.parametrize("version", ["installed", "1.18"])
@pytest.mark.parametrize("system", [None, "debian-12", "centos-7"])
@pytest.mark.parametrize(("tls", "more"), SITES)
def test_nginx_takes_any_site(
    tmp_path: Path,
    pair_of_keys: dict[str, str],
    tls: bool,
    more: dict[str, object],
    system: str | None,
    version: str,
) -> None:
    """Without a warning, beside another site of ours."""
    state = tmp_path / 'a "b" {c}; \\d #e'
    given = load(tmp_path, {**more, "state": str(state)}, pair_of_keys if tls else None, system)
    other = Spec(name="other", url="http://other", state=tmp_path / "s", indexes=given.indexes)
    logs = tmp_path / "logs"
    logs.mkdir()
    site = render.nginx(given).replace(render.LOGS, str(logs)) + render.nginx(other)
    command = configuration(tmp_path / "nginx", site)
    assert nginxes.judge(version, command) == (0, "")


def load(
    folder: Path, more: dict[str, object], tls: dict[str, str] | None, system: str | None
) -> Spec:
    nginx = more.get("nginx", {})
    assert isinstance(nginx, dict)
    data = {
        "state": "state",
        "indexes": {"main": {"packages": "main"}, "1-x": {"packages": "other"}},
        **more,
        "nginx": nginx | ({"tls": tls} if tls else {}),
        **({"host": {"system": system}} if system else {}),
    }
    path = folder / "pyindex.yml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return spec.load(path)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for known, value in self.headers if known.lower() == name.lower()]


@dataclass(frozen=True)
class Https:
    """A site with TLS at a loopback address of its own, and its application."""

    spec: Spec
    address: str
    ca: str
    wheel: str

    def connect(self, source: str = HOST, plain_port: int = 0) -> http.client.HTTPConnection:
        if plain_port:
            return http.client.HTTPConnection(
                self.address, plain_port, timeout=20, source_address=(source, 0)
            )
        trusted = ssl.create_default_context(cafile=self.ca)
        return http.client.HTTPSConnection(
            self.address, timeout=20, source_address=(source, 0), context=trusted
        )

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        source: str = HOST,
        plain_port: int = 0,
    ) -> Answer:
        with closing(self.connect(source, plain_port)) as connection:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Https]:
    folder = tmp_path_factory.mktemp("https")
    address = f"127.{os.getpid() >> 16 & 0xFF}.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF}"
    tls = certificate(folder, f"IP:{address}")
    settings: dict[str, object] = {"url": f"https://{address}", "nginx": {"max_upload": "3m"}}
    given = load(folder, settings, tls, "debian-12")
    for index in given.indexes.values():
        index.packages.mkdir()
    wheel = make_wheel(given.indexes["main"].packages, "foo-bar", "1.0")
    Watch(given).once()
    place = folder / "app.sock"
    site = render.nginx(given, address).replace(render.SOCKET, str(place))
    gunicorn = [sys.executable, "-m", "gunicorn", "--bind", f"unix:{place}", "--threads=4"]
    gunicorn += ["--bind", f"{HOST}:{(port := free_port())}", "--no-control-socket"]
    gunicorn += ["--keep-alive=75", "appliance.wsgi"]
    variables = {"PYINDEX_SPEC": str(folder / "pyindex.yml")}
    with (
        running(gunicorn, port, folder / "gunicorn.log", **variables),
        running(configuration(folder / "nginx", site), 443, folder / "log", address),
    ):
        yield Https(given, address, tls["ca"], f"/packages/{wheel.name}")


ANSWERS: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", "/", {}, 200),
    ("GET", "/simple/", {}, 200),
    ("HEAD", "/simple/foo-bar/", {}, 200),
    ("GET", "/1-x/simple/", {"Accept": "application/vnd.pypi.simple.v1+json"}, 200),
    ("GET", "/simple/", {"Accept": "image/png"}, 406),
    ("GET", "/simple/nothing/", {}, 404),
    ("GET", "/simple/Foo_Bar", {}, 301),
    ("POST", "/simple/", {}, 405),
    ("GET", "{wheel}", {}, 200),
    ("GET", "{wheel}", {"If-Modified-Since": "Mon, 03 Feb 2098 04:05:06 GMT"}, 304),
    ("GET", "{wheel}", {"Range": "bytes=0-1"}, 206),
    ("GET", "{wheel}", {"Range": "bytes=99999999-"}, 416),
    ("GET", "/packages/.layout", {}, 404),
    ("GET", "/packages/", {}, 200),
    ("GET", "/health", {}, 200),
    ("GET", "/metrics", {}, 301),
    ("GET", "/-/pip.conf", {}, 200),
    ("GET", "/-/ca.pem", {}, 200),
    ("GET", "/-/nothing", {}, 404),
    ("GET", "/%00", {}, 400),
    ("POST", "/", {"Content-Length": "9999999"}, 413),
    ("POST", "/simple/", {"Content-Length": "9999999"}, 413),
    ("POST", "{wheel}", {"Content-Length": "9999999"}, 413),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), ANSWERS)
def test_every_answer_says_what_browsers_must_not_do(
    https: Https, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Whoever made the answer, errors too; nginx itself says it twice with 416."""
    answer = https.ask(path.format(wheel=https.wheel), method, headers)
    assert answer.status == status
    for name, value in (SECURITY | HSTS).items():
        assert answer.all(name) == [value] * (2 if status == 416 else 1), name
    assert not any(character.isdigit() for character in answer.all("Server")[0])


@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308)])
def test_plain_http_leads_to_https(https: Https, method: str, status: int) -> None:
    """To the url of the spec, whatever Host says, without losing what was asked."""
    headers = {"Host": "evil.example"}
    for path in ("/simple/foo-bar/?x=%20y", "//evil.example/", "/"):
        answer = https.ask(path, method, headers, plain_port=80)
        expected = [f"https://{https.address}{path}"]
        assert (answer.status, answer.all("Location")) == (status, expected)
        assert answer.all("X-Frame-Options") == ["DENY"]
        assert answer.all("Strict-Transport-Security") == []


def test_plain_http_at_the_port_of_https_is_led_there_too(https: Https) -> None:
    """Instead of nginx's complaint."""
    answer = https.ask("/simple/?x", plain_port=443)
    assert answer.status == 301
    assert answer.all("Location") == [f"https://{https.address}/simple/?x"]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/%68ealth", "/x/../health", "//health"])
def test_health_is_for_internal_addresses(https: Https, path: str) -> None:
    """Whoever is not named in the spec is refused, however the path is spelled."""
    assert https.ask(path, source="127.0.0.2").status == 403
    assert https.ask(path).status != 403
    assert https.ask("/simple/", source="127.0.0.2").status == 200


@pytest.mark.parametrize("path", ["/", "/legacy/", "/main/", "/1-x/", "/1-x/legacy/"])
def test_a_body_has_room_for_a_file_and_its_form(https: Https, path: str) -> None:
    """What is larger is refused with the limit, before it is sent."""
    answer = https.ask(path, "POST", {"Content-Length": str(4 * 2**20 + 1)}, "127.0.0.3")
    assert answer.status == 413
    assert b"a file to upload may have 3m" in answer.body
    with closing(https.connect("127.0.0.3")) as connection:
        # The application takes no uploads yet: it answers, and closes, before it has read it all,
        # which nginx may find out in the middle of sending.
        with suppress(ConnectionError):
            connection.request("POST", path, b"x" * (4 * 2**20))
        assert connection.getresponse().status != 413


@pytest.mark.parametrize("path", ["/pypi", "/1-x/RPC2", "/nothing/legacy/", "/simple/"])
def test_other_bodies_are_small(https: Https, path: str) -> None:
    """Nobody fills the disk with a search."""
    answer = https.ask(path, "POST", {"Content-Length": str(2**20 + 1)}, "127.0.0.4")
    assert answer.status == 413


def test_a_burst_of_posts_is_slowed_down_and_reading_is_not(https: Https) -> None:
    """429 for what comes too fast, by address; who only reads is never counted."""
    sender = "127.0.0.5"
    connections = [https.connect(sender) for _ in range(80)]
    for connection in connections:
        connection.connect()
    for connection in connections:
        connection.request("POST", "/legacy/", headers={"Content-Length": "0"})
    waiting = {connection.sock.fileno(): connection for connection in connections}
    statuses: list[int] = []
    while 429 not in statuses:
        for descriptor in select.select(list(waiting), [], [], 20)[0]:
            answer = waiting.pop(descriptor).getresponse()
            statuses.append(answer.status)
            if answer.status == 429:
                assert b"429 Too Many Requests" in answer.read()
                assert answer.headers["Retry-After"] == "10"
                assert answer.headers["X-Frame-Options"] == "DENY"
    for connection in connections:
        connection.close()
    counted = {"Authorization": "Basic eDp5"}
    for path in ("/", "/simple/", "/simple/Foo_Bar", https.wheel, "/pypi/foo-bar/json"):
        for _ in range(60):
            assert https.ask(path, source=sender).status in (200, 301)
    for _ in range(60):
        assert https.ask("/simple/foo-bar/", headers=counted, source=sender).status == 200
    assert https.ask("/", "POST", source="127.0.0.6").status != 429


CIPHERS = ["AES128-GCM-SHA256", "AES256-GCM-SHA384"]


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("kind", KEYS)
def test_old_clients_find_a_cipher(tmp_path: Path, kind: str, cipher: str) -> None:
    """TLS 1.2 with what OpenSSL 1.0 has, for keys of both kinds; nothing older, and no CBC."""
    port = free_port()
    tls = certificate(tmp_path, f"IP:{HOST}", kind)
    given = load(tmp_path, {"url": f"https://{HOST}:{port}"}, tls, None)
    command = configuration(tmp_path / "nginx", render.nginx(given, HOST))

    def handshake(*options: str) -> str:
        asked = ["openssl", "s_client", "-connect", f"{HOST}:{port}", *options]
        done = subprocess.run(asked, input="", capture_output=True, text=True, timeout=30)
        return done.stdout

    name = f"ECDHE-{kind.upper()}-{cipher}"
    with running(command, port, tmp_path / "log"):
        assert f"Cipher is {name}" in handshake("-tls1_2", "-cipher", name, "-curves", "P-256")
        assert "Cipher is (NONE)" in handshake("-tls1_2", "-cipher", "AES128-SHA:ECDHE+AES+SHA1")
        assert "Cipher is (NONE)" in handshake("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        assert "TLSv1.3" in handshake("-tls1_3")


@pytest.mark.integration
@pytest.mark.parametrize("client", ["pip-18.1-py2.7", "uv"])
def test_clients_install_through_https(https: Https, client: str, tmp_path: Path) -> None:
    """With the file that the index offers for it, and the certificate of the private CA."""
    environment = Environments(tmp_path)(client)
    named = "uv.toml" if client == "uv" else "pip.conf"
    settings = tmp_path / named
    settings.write_bytes(https.ask(f"/-/{named}").body)
    authority = tmp_path / "ca.pem"
    authority.write_bytes(https.ask("/-/ca.pem").body)
    variables = {"no_proxy": https.address, "PIP_CONFIG_FILE": str(settings)}
    variables |= {"PIP_TRUSTED_HOST": "", "PIP_CERT": str(authority)}
    variables |= {"UV_CONFIG_FILE": str(settings), "SSL_CERT_FILE": str(authority)}
    tool = ("-m", "uv", "pip") if client == "uv" else ("-m", "pip")
    more = ("--python", environment.python) if client == "uv" else ()
    out = environment.run(*tool, "install", *more, "foo-bar", variables=variables)
    assert "foo-bar" in out
    environment.run("-c", "import foo_bar")


class Slow:
    """An application that answers once it has seen ``last`` in a body, and tells when ``first``."""

    def __init__(self, place: Path, first: bytes, last: bytes) -> None:
        self.seen = threading.Event()
        self._first, self._last = first, last
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(place))
        self._socket.listen()

    def run(self) -> None:
        connection, _ = self._socket.accept()
        data = b""
        while self._last not in data:
            data += connection.recv(1 << 16)
            if self._first in data:
                self.seen.set()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.close()
        self._socket.close()


@contextmanager
def on_socket(folder: Path, place: Path, surroundings: str = "") -> Iterator[int]:
    """nginx before a Unix socket, without the application; its port."""
    port = free_port()
    given = load(folder, {"url": f"http://{HOST}:{port}/x"}, None, "debian-12")
    for index in given.indexes.values():
        index.packages.mkdir()
    make_wheel(given.indexes["main"].packages, "foo-bar", "1.0")
    Watch(given).once()
    site = render.nginx(given, HOST).replace(render.SOCKET, str(place))
    site = site.replace("timeout 10m", "timeout 1s").replace("timeout 2m", "timeout 1s")
    command = configuration(folder / "nginx", site, surroundings)
    with running(command, port, folder / "log"):
        yield port


@pytest.mark.parametrize("length", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "10"}])
@pytest.mark.parametrize("path", ["/x/", "/x/1-x/", "/x/legacy/", "/x/main/legacy/"])
def test_an_upload_is_sent_on_as_it_comes(
    tmp_path: Path, path: str, length: dict[str, str]
) -> None:
    """The application sees its first bytes before the client has sent the last."""
    application = Slow(tmp_path / "sock", b"first", b"last!")
    thread = threading.Thread(target=application.run)
    thread.start()
    with on_socket(tmp_path, tmp_path / "sock") as port:
        connection = http.client.HTTPConnection(HOST, port, timeout=20)
        parts = [b"first", b"last!"]
        if "Transfer-Encoding" in length:
            parts = [b"5\r\nfirst\r\n", b"5\r\nlast!\r\n0\r\n\r\n"]
        connection.putrequest("POST", path)
        for name, value in length.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(parts[0])
        assert application.seen.wait(20)
        connection.send(parts[1])
        assert connection.getresponse().status == 200
        connection.close()
    thread.join()


@pytest.mark.parametrize("fault", ["missing", "nobody listens", "hangs"])
def test_an_application_that_is_silent_is_503(tmp_path: Path, fault: str) -> None:
    """Said in words, for uploads too; pages and files are served as before."""
    place = tmp_path / "sock"
    listening = socket.socket(socket.AF_UNIX)
    if fault != "missing":
        listening.bind(str(place))
    if fault == "hangs":
        listening.listen()
    with closing(listening), on_socket(tmp_path, place, "proxy_read_timeout 1s;") as port:
        for method, path, status in (
            ("GET", "/x/", 503),
            ("POST", "/x/legacy/", 503),
            ("PUT", "/x/simple/", 503),
            ("GET", "/x/health", 503),
            ("GET", "/x/simple/nothing/", 503),
            ("GET", "/x/simple/foo-bar/", 200),
            ("GET", "/x/packages/foo_bar-1.0-py2.py3-none-any.whl", 200),
        ):
            with closing(http.client.HTTPConnection(HOST, port, timeout=20)) as connection:
                body = b"x" * 500_000 if method == "POST" else None
                connection.request(method, path, body)
                answer = connection.getresponse()
                assert answer.status == status
                assert {name: answer.headers[name] for name in SECURITY} == SECURITY
                if status == 503:
                    assert answer.headers["Content-Type"] == "text/plain"
                    assert UNAVAILABLE in answer.read()


def test_a_host_s_nginx_keeps_a_log_and_has_the_client_files(
    tmp_path: Path, pair_of_keys: dict[str, str]
) -> None:
    """One JSON object for each request, whatever a client calls itself; no secret in it."""
    port = free_port()
    settings: dict[str, object] = {"url": f"https://{HOST}:{port}/x"}
    given = load(tmp_path, settings, pair_of_keys, "debian-12")
    for name in ("client", "logs"):
        (tmp_path / name).mkdir()
    for name in render.CLIENT:
        content = render.client(given, name, str(given.url))
        (tmp_path / "client" / name).write_text(content)
    site = render.nginx(given).replace(render.LOGS, str(tmp_path / "logs"))
    site = site.replace("alias /etc/pyindex/client/", f"alias {tmp_path}/client/")
    agent = 'x "quoted" \\ \x07 föö'.encode()
    unchecked = ssl._create_unverified_context()
    answers = {}
    with running(configuration(tmp_path / "nginx", site), port, tmp_path / "log") as pid:
        for name in (*render.CLIENT, "ca.pem", "nothing", ""):
            connection = http.client.HTTPSConnection(HOST, port, timeout=20, context=unchecked)
            connection.putrequest("GET", f"/x/-/{name}")
            connection.putheader("User-Agent", agent.replace(b"\x07", b"\t"))
            connection.putheader("Authorization", "Basic bWU6c2VjcmV0")
            connection.endheaders()
            answer = connection.getresponse()
            assert {name: answer.headers[name] for name in SECURITY | HSTS} == SECURITY | HSTS
            answers[name] = answer.status, answer.headers["Content-Type"], answer.read().decode()
            connection.close()
        os.kill(pid, signal.SIGUSR1)  # as logrotate does: nginx writes what it holds
    for name in render.CLIENT:
        content = render.client(given, name, str(given.url))
        assert answers[name] == (200, "text/plain; charset=utf-8", content)
    authority = Path(pair_of_keys["ca"]).read_text()
    assert answers["ca.pem"] == (200, "application/x-x509-ca-cert", authority)
    assert answers["nothing"][0] == answers[""][0] == 503
    lines = (tmp_path / "logs/access.log").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    assert [entry["status"] for entry in logged] == [status for status, *_ in answers.values()]
    assert logged[0]["request"] == "GET /x/-/pip.conf HTTP/1.1"
    assert (logged[0]["client"], logged[0]["user"]) == (HOST, "me")
    assert isinstance(logged[0]["seconds"], float)
    assert "föö" in logged[0]["agent"]
    assert not any("secret" in line or "bWU6" in line for line in lines)
