"""Indexes that not every client may read, through nginx: the answers of the application."""

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance import render, spec
from appliance.operations.accesslog import Unread, fetches
from appliance.operations.update import update
from benchmarks.ports import HOST, free_port
from tests.conftest import eventually, scanned
from tests.dist import make_wheel
from tests.nginx.servers import Server, application, serving
from tests.nginx.sites import Pair, nginx_port
from tests.web.test_login import ALICE, BOB, WRONG, write_accounts

FOO, SECRET = "foo-1.0-py2.py3-none-any.whl", "secret_x-1.0-py2.py3-none-any.whl"
PRIVATE = (
    *("/", "/simple/", "/simple/foo/", "/main/simple/foo/", "/packages/", "/pypi/foo/json"),
    *(f"/packages/{FOO}{suffix}" for suffix in ("", ".metadata", ".asc")),
)
HIDDEN = (
    *("/mixed/simple/secret-x/", "/mixed/pypi/secret-x/json"),
    *(f"/mixed/packages/{SECRET}{suffix}" for suffix in ("", ".metadata", ".asc")),
)
LISTS = ("/mixed/simple/", "/mixed/packages/", "/mixed/")


@pytest.fixture(scope="module", params=["", "/team/py.pi"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Appliance of a private index, of one with hidden projects, and of an open one."""
    directory = tmp_path_factory.mktemp("private")
    for name in ("main", "mixed", "open"):
        (directory / name).mkdir()
        wheels = [make_wheel(directory / name, "foo", "1.0")]
        wheels += [make_wheel(directory / name, "secret-x", "1.0")] if name == "mixed" else []
        for wheel in wheels:
            wheel.with_name(f"{wheel.name}.asc").write_bytes(b"-----BEGIN PGP SIGNATURE-----")
    write_accounts(directory / "htpasswd")
    path = directory / "pyindex.yml"
    path.write_text(
        f"url: http://{HOST}:{free_port()}{request.param}\nstate: state\n"
        f"server: {{port: {free_port()}}}\naccounts: {{htpasswd: htpasswd}}\n"
        "indexes:\n"
        "  main: {packages: main, read: [alice]}\n"
        "  mixed: {packages: mixed, projects: {secret-*: {read: [alice]}}}\n"
        "  open: {packages: open}\n"
    )
    given = spec.load(path)
    update(given)
    scanned(given)
    port, behind = nginx_port(given), given.server.port
    with (
        application(path, behind),
        serving(directory / "nginx", render.nginx(given, HOST)),
    ):
        yield Pair(given, Server(port, request.param), Server(behind))


def login(header: str | None) -> dict[str, str]:
    return {"Authorization": header} if header else {}


@pytest.mark.parametrize("path", PRIVATE)
def test_private_index_is_for_its_readers(pair: Pair, path: str) -> None:
    """Both servers answer 401, 403 or the page, whether or not nginx remembers who may read."""
    for _ in range(2):
        for header, status in ((None, 401), (WRONG, 401), (BOB, 403), (ALICE, 200)):
            answer = pair.both(path, login(header))
            assert (answer.status, "private" in answer.headers.get("cache-control", "")) == (
                status,
                status == 200,
            )


@pytest.mark.parametrize("path", HIDDEN)
def test_hidden_project_is_absent(pair: Pair, path: str) -> None:
    """Both servers hide a project from all but its readers."""
    for header, status in ((None, 404), (BOB, 404), (ALICE, 200), (WRONG, 401), (None, 404)):
        assert pair.both(path, login(header)).status == status


@pytest.mark.parametrize("path", LISTS)
def test_lists_leave_hidden_projects_out(pair: Pair, path: str) -> None:
    """Both servers list hidden projects for their readers alone."""
    for header in (None, ALICE, BOB):
        answer = pair.both(path, login(header))
        assert answer.status == 200
        assert (b"secret" in answer.body) == (header == ALICE and path != "/mixed/")


def test_nginx_sends_what_the_client_may_read(pair: Pair) -> None:
    """nginx sends pages and files itself, of private indexes too."""
    encoded = {"Accept-Encoding": "gzip"}
    for path in (*PRIVATE[1:3], *PRIVATE[6:], "/open/simple/foo/"):
        assert pair.sender(path, login(ALICE) | encoded) == "nginx"
    for path in ("/mixed/simple/foo/", f"/mixed/packages/{FOO}", f"/mixed/packages/{FOO}.metadata"):
        assert pair.sender(path, encoded) == "nginx"
    for path in (HIDDEN[0], *HIDDEN[2:]):
        assert pair.sender(path, login(ALICE) | encoded) == "nginx"
        assert pair.sender(path, encoded) == "application"


ASKED = (
    (f"/main/packages/{FOO}", "/main/packages/bar-1.0-py2.py3-none-any.whl"),
    (f"/packages/{FOO}", "/packages/bar-1.0-py2.py3-none-any.whl"),
    (f"/packages/{FOO}.asc", "/packages/bar-1.0-py2.py3-none-any.whl.asc"),
    (f"/packages/{FOO}.metadata", "/packages/bar-1.0-py2.py3-none-any.whl.metadata"),
    (f"/mixed/packages/{SECRET}", "/mixed/packages/secret_y-1.0-py2.py3-none-any.whl"),
    ("/mixed/simple/secret-x/", "/mixed/simple/secret-y/"),
    ("/simple/foo/", "/simple/bar/"),
)


def test_time_does_not_tell_what_is_hidden(pair: Pair, tmp_path: Path) -> None:
    """nginx asks the application as often about what a client may not read as about what there is
    not: each question takes time."""
    with recording(pair.spec.server.port) as (behind, questions):
        server = pair.spec.server.model_copy(update={"port": behind})
        url = f"http://{HOST}:{free_port()}{pair.nginx.prefix}"
        given = pair.spec.model_copy(update={"server": server, "url": url})
        with serving(tmp_path / "nginx", render.nginx(given, HOST)):
            nginx = Server(nginx_port(given), pair.nginx.prefix)
            for paths in ASKED:
                asked = []
                for path in paths:
                    questions.clear()
                    status = nginx.ask(path, login(BOB)).status
                    asked.append((status, [each.replace(path, "") for each in questions]))
                assert asked[0] == asked[1], paths


@contextmanager
def recording(application: int) -> Iterator[tuple[int, list[str]]]:
    """Run a proxy to the port of an application; yield its own port and the paths it was asked."""
    paths: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            with closing(http.client.HTTPConnection(HOST, application)) as connection:
                connection.request("GET", self.path, headers=dict(self.headers.items()))
                answer = connection.getresponse()
                body = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer((HOST, 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, paths
        finally:
            server.shutdown()
            thread.join()


EVASIONS = (
    "/open/../simple/foo/",
    "/open/%2e%2e/simple/foo/",
    "//simple/foo/",
    "/open/..%2fsimple/foo/",
    "/./simple//foo/",
    f"/open/packages/../../packages/{FOO}",
    f"/open/packages/..%2f..%2fpackages/{FOO}",
    f"/packages/./{FOO}",
    "/mixed/simple/%73ecret-x/",
    "/mixed/simple/secret-x/?format=application/vnd.pypi.simple.v1%2Bjson",
    "/mixed/simple/./secret-x/",
    f"/mixed/packages//{SECRET}",
    "/mixed/packages/%73ecret_x-1.0-py2.py3-none-any.whl",
    f"/mixed/packages/x/../{SECRET}",
    "/-/authorize/main",
    "/main/-/authorize/main",
)


@pytest.mark.parametrize("path", EVASIONS)
def test_other_spellings_reveal_nothing(pair: Pair, path: str) -> None:
    """No spelling of a path, and no header, gets a client what it may not read."""
    for headers in ({}, {"X-Asked": "simple/foo"}, {"X-Original-URI": "/open/simple/foo/"}):
        for header in (None, BOB):
            answer = pair.nginx.ask(path, headers | login(header))
            assert answer.status in (301, 400, 401, 403, 404)
            assert b"whl" not in answer.body


def test_answers_about_rights_are_not_on_disk(pair: Pair, tmp_path: Path) -> None:
    """The answers of a host, which contain credentials, are in a directory in memory."""
    on_host = pair.spec.model_copy(
        update={"host": pair.spec.host.model_copy(update={"system": "debian-12"})}
    )
    assert 'proxy_cache_path "/run/nginx-pyindex" ' in render.nginx(on_host)


@pytest.mark.parametrize("form", ["json", "lines"])
def test_log_says_who_fetched(pair: Pair, tmp_path: Path, form: str) -> None:
    """The access log of a host has the account of a client that nginx sends a file to, also from
    memory, and of one that the application answers; `pyindex who` reads it."""
    port = free_port()
    update = {"url": f"http://{HOST}:{port}{pair.nginx.prefix}"}
    system = pair.spec.host.model_copy(update={"system": "debian-12"})
    nginx = pair.spec.nginx.model_copy(update={"log": form})
    server = pair.spec.server.model_copy(update={"bind": "port"})
    given = pair.spec.model_copy(update=update | {"host": system, "nginx": nginx, "server": server})
    (tmp_path / "logs").mkdir()
    site = render.nginx(given).replace(render.LOGS, str(tmp_path / "logs"))
    site = site.replace("/run/nginx-pyindex", str(tmp_path / "rights"))
    log = tmp_path / "logs/access.log"
    asked = (
        *[(f"/packages/{FOO}", ALICE)] * 2,
        (f"/packages/{FOO}", BOB),
        (f"/open/packages/{FOO}", None),
        (f"/mixed/packages/{SECRET}", ALICE),
        (f"/packages/{FOO}.metadata", ALICE),
    )
    with serving(tmp_path / "nginx", site) as pid:
        prefix = pair.nginx.prefix
        answers = [Server(port, prefix).ask(path, login(header)) for path, header in asked]

        def written() -> bool:
            os.kill(pid, signal.SIGUSR1)
            return log.read_text().count("\n") == len(asked)

        eventually(written)
    assert [answer.status for answer in answers] == [200, 200, 403, 200, 200, 200]
    assert not any("x-actor" in answer.headers for answer in answers)
    unread = Unread()
    found = [(each.actor, each.client) for each in fetches([log], FOO, 0.0, unread)]
    assert found == [("alice", HOST), ("alice", HOST), ("", HOST)]
    assert [each.actor for each in fetches([log], "Secret.X==1", 0.0, unread)] == ["alice"]
    assert unread.lines == 0
