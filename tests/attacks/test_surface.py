"""Any request to any URL: no error of the server, and no byte of what its sender may not read."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import yaml
from falcon.inspect import inspect_routes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import spec
from appliance.web.app import create_app
from benchmarks.ports import free_port
from tests.attacks.surface import ALICE, Request, ask, check, requests, uploads
from tests.conftest import eventually
from tests.dist import make_wheel
from tests.nginx.servers import Server
from tests.serving import serving

SECRET = "quince-0451"
UNNAMED = "unnamed-0451"  # a project that no request names
ACCOUNTS = {"alice": "wonderland", "bob": "builder"}
INDEXES = ("main", "private", "mixed")
THREADS = 4
SPEC = f"""
state: state
server: {{port: {free_port()}, workers: 1, threads: {THREADS}}}
accounts: {{htpasswd: htpasswd}}
indexes:
  main: {{packages: main, upload: [alice]}}
  private: {{packages: private, read: [alice]}}
  mixed:
    packages: mixed
    projects:
      secret-*: {{read: [alice]}}
      unnamed-*: {{read: [alice]}}
"""
PAGES = [
    Request("GET", target, {"Authorization": ALICE.encode()})
    for target in (b"/health", b"/simple/demo/", b"/private/simple/", b"/mixed/pypi/demo/json")
]
OPENAPI = Path(__file__).parents[2] / "docs" / "reference" / "openapi.yaml"
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
)
UNDOCUMENTED = {("/-/authorize/{}", "GET")}  # nginx asks it
REDIRECTING = ("on_get_moved", "on_get_absent")
LONG = 3_900  # bytes; a request line may have 4,094
MOST_NEW_THREADS = 2 * (THREADS + 8)  # started when first needed: for requests, and to sync files
GROWTH_BYTES = 24 << 20


@dataclass(frozen=True, repr=False)
class Site:
    """Running server of an index that all may read and alice may upload to, one that she alone may
    read, and one of which a part is hers."""

    directory: Path
    port: int
    routes: list[str]
    secrets: tuple[bytes, ...]
    process: int

    def checked(self, request: Request) -> int:
        """Send a request and check the answer; return its status, 0 without an answer."""
        answer = ask(self.port, request)
        if answer is None:
            return 0
        check(request, answer, self.secrets)
        return answer.status

    def files(self) -> dict[str, bytes]:
        """Return the contents of the packages directories by path."""
        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for name in INDEXES
            for path in (self.directory / name).rglob("*")
            if path.is_file()
        }

    def resources(self) -> tuple[int, int]:
        """Return the memory in bytes and the number of threads of the server and its workers."""
        tasks = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        states = [_status(pid) for pid in (str(self.process), *tasks)]
        memory = sum(int(state["VmRSS"].split()[0]) << 10 for state in states)
        return memory, sum(int(state["Threads"]) for state in states)


def _status(pid: str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def make_site(directory: Path) -> Path:
    """Write a spec with accounts, and the files of its indexes; return its path."""
    lines = [
        f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
        for name, password in ACCOUNTS.items()
    ]
    (directory / "htpasswd").write_text("".join(lines))
    for name in INDEXES:
        (directory / name).mkdir()
    make_wheel(directory / "main", "demo", "1.0")
    make_wheel(directory / "mixed", "demo", "1.0")
    make_wheel(directory / "private", "demo", "1.0", summary=SECRET)
    for name in ("private", "mixed"):
        make_wheel(directory / name, "secret-project", "1.0", summary=SECRET)
        make_wheel(directory / name, UNNAMED, "1.0")
    path = directory / "pyindex.yml"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("surface")
    path = make_site(directory)
    given_spec = spec.load(path)
    port = given_spec.server.port
    routes = sorted(route.path for route in inspect_routes(create_app(given_spec)))
    with serving(directory, "-c", path, port=port, options=["--no-nginx"], makes=False) as server:
        eventually(lambda: server.get("/ready"))
        yield Site(directory, port, routes, (SECRET.encode(), UNNAMED.encode()), server.process.pid)
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def lasting(site: Site) -> Iterator[Site]:
    """The site, which must answer as before after the requests of a test, with no more threads than
    it has and little more memory."""
    assert [site.checked(page) for page in PAGES] == [200] * len(PAGES)
    memory, threads = site.resources()
    yield site
    assert [site.checked(page) for page in PAGES] == [200] * len(PAGES)
    memory_after, threads_after = site.resources()
    assert threads_after <= threads + MOST_NEW_THREADS
    assert memory_after < memory + GROWTH_BYTES


@given(data=st.data())
@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
def test_any_request_gets_an_answer_without_secrets(lasting: Site, data: st.DataObject) -> None:
    """Any request to any route is answered without an error of the server, and without a byte that
    its sender may not read."""
    lasting.checked(data.draw(requests(lasting.routes)))


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_refused_form_changes_no_file(lasting: Site, data: st.DataObject) -> None:
    """A form of a client with some bytes changed is stored and answered 200, or changes nothing."""
    before = lasting.files()
    status = lasting.checked(data.draw(uploads()))
    assert status == 200 or lasting.files() == before


def test_document_has_the_routes_of_the_application(site: Site) -> None:
    """docs/reference/openapi.yaml has the paths and methods of the first index, without those that
    only redirect, and without another spelling of a path."""
    operations = {
        (_shape(path), method.upper())
        for path, item in yaml.safe_load(OPENAPI.read_text())["paths"].items()
        for method in item.keys() & {"get", "post"}
    }
    first = [
        route
        for route in inspect_routes(create_app(spec.load(site.directory / "pyindex.yml")))
        if not route.path.startswith(tuple(f"/{name}" for name in INDEXES))
    ]
    served = {
        (_shape(route.path), method.method)
        for route in first
        for method in route.methods
        if not method.internal and method.method in ("GET", "POST")
        if method.function_name not in REDIRECTING
    }
    assert served - UNDOCUMENTED == operations


def _shape(path: str) -> str:
    """Return a path without the names of its parts, and without a slash at its end."""
    return re.sub(r"{[^}]*}", "{}", path).rstrip("/")


def test_answers_are_those_of_the_document(site: Site) -> None:
    """schemathesis finds no answer with another status, type or form than
    docs/reference/openapi.yaml states."""
    program = str(Path(sys.executable).with_name("st"))
    url = f"http://127.0.0.1:{site.port}"
    options = ("--max-examples=20", "--generation-deterministic", "--warnings=off", "--no-color")
    command = [program, "run", str(OPENAPI), f"--url={url}", "--auth=alice:wonderland", *options]
    command += ["--phases=examples,fuzzing", f"--checks={','.join(CHECKS)}"]
    run = subprocess.run(command, cwd=site.directory, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_names_of_clients_take_no_memory(lasting: Site) -> None:
    """Names and versions that a client makes up are not kept, however many and long."""
    with closing(Server(lasting.port).connect()) as connection:
        for number in range(4_500):
            made_up = f"{number:04}{'a' * LONG}"
            for path in (f"/simple/{made_up}/", f"/pypi/demo/{made_up}/json"):
                connection.request("GET", path)
                assert connection.getresponse().read()
