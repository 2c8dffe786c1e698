"""nginx with TLS: security headers, redirects, access to health, limits, access log."""

import http.client
import json
import os
import select
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance import render
from appliance.headers import CLIENT_FILE
from benchmarks.ports import HOST, free_port
from tests.conftest import eventually
from tests.integration.clients import Environments
from tests.nginx.certificates import KEYS, certificate, privileged
from tests.nginx.servers import PATIENCE, Answer, Server, application, serving
from tests.nginx.sites import SECURITY, load, publish

pytestmark = privileged
HSTS = {"strict-transport-security": "max-age=31536000"}


@dataclass(frozen=True)
class Https:
    """Site with TLS at its own loopback address, and its application."""

    server: Server
    wheel: str

    @property
    def plain(self) -> Server:
        """Return the same server at port 80 without TLS."""
        return replace(self.server, port=80, ca=None)

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        source: str = HOST,
    ) -> Answer:
        return self.sent_from(source).ask(path, headers, method)

    def sent_from(self, source: str) -> Server:
        return replace(self.server, source=source)


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Https]:
    directory = tmp_path_factory.mktemp("https")
    address = f"127.{os.getpid() >> 16 & 0xFF}.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF}"
    tls = certificate(directory, f"IP:{address}")
    settings: dict[str, object] = {"url": f"https://{address}", "nginx": {"max_upload": "3m"}}
    given = load(directory, settings, tls, "debian-12")
    wheel = publish(given)
    socket_path = directory / "app.sock"
    site = render.nginx(given, address).replace(render.SOCKET, str(socket_path))
    with (
        application(directory / "pyindex.yml", free_port(), f"unix:{socket_path}"),
        serving(directory / "nginx", site),
    ):
        server = Server(443, address=address, ca=tls["ca"], host=address)
        yield Https(server, f"/packages/{wheel.name}")


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
    ("GET", "/metrics", {}, 200),
    ("GET", "/-/pip.conf", {}, 200),
    ("GET", "/-/ca.pem", {}, 200),
    ("GET", "/-/nothing", {}, 404),
    ("GET", "/%00", {}, 400),
    ("POST", "/", {"Content-Length": "29999999"}, 413),
    ("POST", "/simple/", {"Content-Length": "9999999"}, 413),
    ("POST", "{wheel}", {"Content-Length": "9999999"}, 413),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), ANSWERS)
def test_each_answer_has_security_headers(
    https: Https, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Each answer has the security headers, errors of nginx too; nginx repeats them with 416."""
    answer = https.ask(path.format(wheel=https.wheel), method, headers)
    assert answer.status == status
    for name, value in (SECURITY | HSTS).items():
        assert answer.headers[name] == ", ".join([value] * (2 if status == 416 else 1)), name
    assert answer.server and not any(character.isdigit() for character in answer.server)


@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308)])
def test_plain_http_redirects_to_https(https: Https, method: str, status: int) -> None:
    """nginx redirects plain HTTP to the spec's url with path and query, whatever Host is."""
    headers = {"Host": "evil.example"}
    for path in ("/simple/foo-bar/?x=%20y", "//evil.example/", "/"):
        answer = https.plain.ask(path, headers, method)
        expected = f"https://{https.server.address}{path}"
        assert (answer.status, answer.headers["location"]) == (status, expected)
        assert answer.headers["x-frame-options"] == "DENY"
        assert "strict-transport-security" not in answer.headers


def test_plain_http_at_https_port_is_redirected(https: Https) -> None:
    """nginx redirects plain HTTP at the port of HTTPS."""
    answer = replace(https.plain, port=443).ask("/simple/?x")
    assert answer.status == 301
    assert answer.headers["location"] == f"https://{https.server.address}/simple/?x"


@pytest.mark.parametrize(
    "path", ["/health", "/metrics", "/ready", "/%68ealth", "/x/../health", "//health"]
)
def test_health_is_limited_to_internal_addresses(https: Https, path: str) -> None:
    """nginx answers 403 to health requests from outside ``internal``, however spelled."""
    assert https.ask(path, source="127.0.0.2").status == 403
    assert https.ask(path).status != 403
    assert https.ask("/simple/", source="127.0.0.2").status == 200


@pytest.mark.parametrize("path", ["/", "/legacy/", "/main/", "/1-x/", "/1-x/legacy/"])
def test_upload_limit_includes_form(https: Https, path: str) -> None:
    """nginx allows a body 16 MiB larger than the file limit and rejects a larger one early."""
    answer = https.ask(path, "POST", {"Content-Length": str(19 * 2**20 + 1)}, "127.0.0.3")
    assert answer.status == 413
    assert b"the limit is 3m for an uploaded file" in answer.body
    with closing(https.sent_from("127.0.0.3").connect()) as connection:
        # The application answers and closes before it has read the whole body, so that nginx may
        # fail while it sends.
        with suppress(ConnectionError):
            connection.request("POST", path, b"x" * (19 * 2**20))
        assert connection.getresponse().status != 413


@pytest.mark.parametrize("path", ["/pypi", "/1-x/RPC2", "/nothing/legacy/", "/simple/"])
def test_other_bodies_are_limited_to_1_mib(https: Https, path: str) -> None:
    """nginx rejects a body larger than 1 MiB at paths without uploads."""
    answer = https.ask(path, "POST", {"Content-Length": str(2**20 + 1)}, "127.0.0.4")
    assert answer.status == 413


def test_nginx_limits_rate_of_posts(https: Https) -> None:
    """nginx answers 429 to fast POST requests from one address and never limits GET requests."""
    sender = "127.0.0.5"
    connections = [https.sent_from(sender).connect() for _ in range(80)]
    for connection in connections:
        connection.connect()
    for connection in connections:
        connection.request("POST", "/legacy/", headers={"Content-Length": "0"})
    waiting = {connection.sock.fileno(): connection for connection in connections}
    statuses: list[int] = []
    while 429 not in statuses:
        answered = select.select(list(waiting), [], [], PATIENCE)[0]
        assert answered, statuses
        for descriptor in answered:
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
def test_old_client_gets_cipher(tmp_path: Path, kind: str, cipher: str) -> None:
    """nginx offers ciphers of OpenSSL 1.0 with TLS 1.2, no older protocol and no CBC."""
    port = free_port()
    tls = certificate(tmp_path, f"IP:{HOST}", kind)
    given = load(tmp_path, {"url": f"https://{HOST}:{port}"}, tls, None)
    site = render.nginx(given, HOST)

    def handshake(*options: str) -> str:
        asked = ["openssl", "s_client", "-connect", f"{HOST}:{port}", *options]
        done = subprocess.run(asked, input="", capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout

    name = f"ECDHE-{kind.upper()}-{cipher}"
    with serving(tmp_path / "nginx", site):
        assert f"Cipher is {name}" in handshake("-tls1_2", "-cipher", name, "-curves", "P-256")
        assert "Cipher is (NONE)" in handshake("-tls1_2", "-cipher", "AES128-SHA:ECDHE+AES+SHA1")
        assert "Cipher is (NONE)" in handshake("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        assert "TLSv1.3" in handshake("-tls1_3")


@pytest.mark.integration
@pytest.mark.parametrize("client", ["pip-18.1-py2.7", "uv"])
def test_client_installs_through_https(https: Https, client: str, tmp_path: Path) -> None:
    """A client installs with the offered client file and the certificate of the private CA."""
    environment = Environments(tmp_path)(client)
    named = "uv.toml" if client == "uv" else "pip.conf"
    settings = tmp_path / named
    settings.write_bytes(https.ask(f"/-/{named}").body)
    authority = tmp_path / "ca.pem"
    authority.write_bytes(https.ask("/-/ca.pem").body)
    variables = {"no_proxy": https.server.address, "PIP_CONFIG_FILE": str(settings)}
    variables |= {"PIP_TRUSTED_HOST": "", "PIP_CERT": str(authority)}
    variables |= {"UV_CONFIG_FILE": str(settings), "SSL_CERT_FILE": str(authority)}
    tool = ("-m", "uv", "pip") if client == "uv" else ("-m", "pip")
    more = ("--python", environment.python) if client == "uv" else ()
    out = environment.run(*tool, "install", *more, "foo-bar", variables=variables)
    assert "foo-bar" in out
    environment.run("-c", "import foo_bar")


def test_host_nginx_logs_and_sends_client_files(tmp_path: Path) -> None:
    """nginx on a host sends the client files and logs a JSON object per request without secrets."""
    port = free_port()
    settings: dict[str, object] = {"url": f"https://{HOST}:{port}/x"}
    tls = certificate(tmp_path, f"IP:{HOST}")
    given = load(tmp_path, settings, tls, "debian-12")
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
    log = tmp_path / "logs/access.log"
    with serving(tmp_path / "nginx", site) as pid:
        for name in (*render.CLIENT, "ca.pem", "nothing", ""):
            connection = http.client.HTTPSConnection(
                HOST, port, timeout=PATIENCE, context=unchecked
            )
            with closing(connection):
                connection.putrequest("GET", f"/x/-/{name}")
                connection.putheader("User-Agent", agent.replace(b"\x07", b"\t"))
                connection.putheader("Authorization", "Basic bWU6c2VjcmV0")
                connection.endheaders()
                answer = connection.getresponse()
                assert {name: answer.headers[name] for name in SECURITY | HSTS} == SECURITY | HSTS
                if answer.status == 200:
                    assert dict(CLIENT_FILE).items() <= dict(answer.getheaders()).items()
                content = answer.read().decode()
                answers[name] = answer.status, answer.headers["Content-Type"], content

        def written() -> bool:  # as logrotate does, so that nginx writes its buffer
            os.kill(pid, signal.SIGUSR1)
            return log.read_text().count("\n") == len(answers)

        eventually(written)
    for name in render.CLIENT:
        content = render.client(given, name, str(given.url))
        assert answers[name] == (200, "text/plain; charset=utf-8", content)
    authority = Path(tls["ca"]).read_text()
    assert answers["ca.pem"] == (200, "application/x-x509-ca-cert", authority)
    assert answers["nothing"][0] == answers[""][0] == 503
    lines = log.read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    assert [entry["status"] for entry in logged] == [status for status, *_ in answers.values()]
    assert logged[0]["request"] == "GET /x/-/pip.conf HTTP/1.1"
    assert (logged[0]["client"], logged[0]["user"]) == (HOST, "me")
    assert isinstance(logged[0]["seconds"], float)
    assert "föö" in logged[0]["agent"]
    assert not any("secret" in line or "bWU6" in line for line in lines)
