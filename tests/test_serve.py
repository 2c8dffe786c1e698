"""`pyindex serve` as a process: its watcher, workers, messages and end."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urljoin

import pytest

from appliance import spec
from benchmarks.ports import free_port
from tests.conftest import Lab, eventually, scanned
from tests.dist import make_wheel
from tests.serving import PYINDEX, Serving, serving

pytestmark = pytest.mark.integration


@pytest.fixture(params=[(), ("--no-nginx",)], ids=["nginx in front", "alone"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Serving]:
    with serving(tmp_path, options=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Server for many requests, which no test ends."""
    with serving(tmp_path_factory.mktemp("steady"), options=["--no-nginx"]) as running:
        yield running


def test_serve_publishes_directory(server: Serving) -> None:
    """The server serves present and new files of a directory without a spec."""
    path = make_wheel(server.packages, "foo", "1.0")
    eventually(lambda: server.get("/simple/foo/"))
    assert server.get(f"/packages/{path.name}") == path.read_bytes()
    assert server.get(f"/packages/{path.name}.metadata")
    health = server.get("/health")
    assert health is not None
    eventually(lambda: json.loads(server.get("/health") or "{}").get("status") == "ok")


def test_server_restarts_killed_watcher(server: Serving) -> None:
    """The server restarts a killed watcher."""
    eventually(server.watchers)
    for pid in server.watchers():
        os.kill(pid, signal.SIGKILL)
    make_wheel(server.packages, "foo", "1.0")
    eventually(lambda: server.get("/simple/foo/"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_watcher_ends_with_server(server: Serving, number: int) -> None:
    """The watcher ends with the server, whatever signal ends it."""
    eventually(server.watchers)
    server.process.send_signal(number)
    server.process.wait(timeout=60)
    eventually(lambda: not server.watchers())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_server_finishes_started_answer(server: Serving, number: int) -> None:
    """The server sends a started file completely when it stops or restarts its workers."""
    path = make_wheel(server.packages, "large", "1.0", modules={"large": "#" + "x" * 20_000_000})
    eventually(lambda: server.get("/simple/large/"))
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", f"/packages/{path.name}")
        answer = connection.getresponse()
        begun = answer.read(1000)
        server.process.send_signal(number)
        name = signal.Signals(number).name.removeprefix("SIG").lower()
        eventually(lambda: f"Handling signal: {name}" in server.log.read_text())
        assert begun + answer.read() == path.read_bytes()


def test_restarted_server_serves_published_pages(tmp_path: Path) -> None:
    """A restarted server serves the published pages immediately."""
    with serving(tmp_path) as first:
        make_wheel(first.packages, "foo", "1.0")
        eventually(lambda: first.get("/simple/foo/"))
        page = first.get("/simple/foo/")
    with serving(tmp_path) as second:
        assert second.get("/simple/foo/") == page
    assert page is not None


def test_server_answers_with_and_without_prefix(tmp_path: Path) -> None:
    """The server answers at the path of the spec's url and also without it."""
    for name in ("main", "base"):
        (tmp_path / name).mkdir()
        make_wheel(tmp_path / name, f"only-{name}", "1.0")
    port = free_port()
    (tmp_path / "pyindex.yml").write_text(
        f"url: http://127.0.0.1:{port}/py\nstate: state\nserver: {{port: {port}}}\n"
        "indexes: {main: {packages: main, bases: [base]}, base: {packages: base}}\n"
    )
    with serving(tmp_path, "-c", tmp_path / "pyindex.yml", port=port) as server:
        eventually(lambda: server.get("/py/simple/only-base/"))
        paths = ["", "/", "/simple/", "/simple/Only_Main", "/pypi/only-base/json", "/-/pip.conf"]
        for path in (*paths, "/base/simple/only-base/", "/packages/"):
            assert server.get(f"/py{path}") == server.get(path) is not None
        assert f"http://127.0.0.1:{port}/py/simple/".encode() in (server.get("/py") or b"")
        scanned(spec.load(tmp_path / "pyindex.yml"))
        line = f"ready; try `pip install --index-url http://127.0.0.1:{port}/py/simple/ NAME`"
        eventually(lambda: line in server.log.read_text())
        assert server.get("/pyx/simple/") is None
        [link] = re.findall('href="([^"#]+)', (server.get("/py/simple/only-base/") or b"").decode())
        page = f"http://127.0.0.1:{port}/py/simple/only-base/"
        assert server.get(urljoin(page, link).removeprefix(f"http://127.0.0.1:{port}"))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/", "/legacy/", "/simple/", "/main/", "/pypi", "/main/legacy"])
def test_upload_is_rejected_with_reason(steady: Serving, path: str, chunked: bool) -> None:
    """The server answers a large upload that it does not accept with the reason."""
    pieces = [b"x" * (1 << 20)] * 20
    with closing(http.client.HTTPConnection("127.0.0.1", steady.port, timeout=60)) as connection:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        if not chunked:
            headers["Content-Length"] = str(sum(map(len, pieces)))
        for _ in range(2):
            connection.request("POST", path, iter(pieces), headers, encode_chunked=chunked)
            answer = connection.getresponse()
            body = answer.read().decode()
            if path in ("/simple/", "/pypi"):
                reason = "No uploads at this URL; upload to /legacy/ of the index"
                assert (answer.status, answer.reason) == (405, reason)
            else:
                assert answer.status == 403
                assert answer.reason.startswith("Index main accepts no uploads: `indexes.main.")
            assert body == f"{answer.status} {answer.reason}\n"


# A user who can read everything, because Python may be in /root, and cannot write files of root.
OTHER_USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
OTHER_USER += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_state_of_other_user_is_served_if_published() -> None:
    """The server serves published pages of another user's state and rejects one without pages."""
    # pytest's directories are accessible only to their owner.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        lab = Lab(Path(name))
        make_wheel(lab.packages, "foo", "1.0")
        lab.spec.state.mkdir()
        serve = [str(PYINDEX), "serve", str(lab.packages), "--state", str(lab.spec.state)]
        ended = subprocess.run([*OTHER_USER, *serve], capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        message = (
            f"pyindex: state directory {lab.spec.state}: Permission denied; make it writable for"
            " uid .*, or choose another .*\n"
        )
        assert re.fullmatch(message, ended.stderr)
        lab.once()
        with serving(Path(name), before=OTHER_USER) as server:
            assert server.get("/simple/foo/")
            eventually(lambda: "ermission denied" in server.log.read_text())


HOSTILE_MODULES = [
    *("yaml", "json", "multiprocessing", "falcon", "sitecustomize", "usercustomize", "gunicorn"),
    *(
        "sqlalchemy",
        "appliance",
        "logging",
        "zipfile",
        "readline",
        "inotify_simple",
        "__main__",
        "site",
    ),
]
_CANARY = "open({path!r}, 'a').write(__name__ + ' ' + ' '.join(__import__('sys').argv) + '\\n')\n"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Packages directory with hostile modules, and files for several examiners."""
    packages = tmp_path / "packages"
    packages.mkdir()
    text = _CANARY.format(path=str(tmp_path / "canary"))
    for name in HOSTILE_MODULES:
        (packages / f"{name}.py").write_text(text)
    (packages / "encodings").mkdir()
    (packages / "encodings/__init__.py").write_text(text)
    (packages / "gunicorn.conf.py").write_text(text)
    (packages / "x.pth").write_text(f"import os; {text}")
    for number in range(100):
        make_wheel(packages, f"project{number}", "1.0")
    return packages


def test_no_code_runs_from_packages_directory(hostile: Path, tmp_path: Path) -> None:
    """No server, watcher, examiner or command imports modules from the packages directory."""
    state, port = tmp_path / "state", free_port()
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = [str(PYINDEX), "serve", ".", "--state", str(state), "--port", str(port)]
        serve = subprocess.Popen(command, cwd=hostile, stdout=output, stderr=output)
    try:
        eventually(lambda: answer(port, "/simple/project99/"))
        make_wheel(hostile, "late", "1.0")
        eventually(lambda: answer(port, "/simple/late/"))
    finally:
        serve.terminate()
        serve.wait(60)
    for verb in (["watch", ".", "--once"], ["status", "-d", "."], ["rebuild", "-d", "."]):
        for program in ([PYINDEX], [sys.executable, "-P", "-m", "appliance"]):
            subprocess.run([*program, *verb, "--state", state], cwd=hostile, capture_output=True)
    canary = tmp_path / "canary"
    assert not canary.exists(), f"{canary.read_text()}{log.read_text()}"


def test_python_m_imports_no_modules_from_packages_directory(hostile: Path, tmp_path: Path) -> None:
    """`python -m appliance` imports nothing else from the working directory, even without -P."""
    for name in ("appliance", "__main__"):
        (hostile / f"{name}.py").unlink()
    command = [sys.executable, "-m", "appliance", "watch", ".", "--once", "--state"]
    ended = subprocess.run(
        [*command, tmp_path / "state"], cwd=hostile, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / "canary").exists()


def answer(port: int, path: str) -> bytes | None:
    """Return the body of an answer, or ``None`` if there is no successful one."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
            return bytes(response.read())
    except (OSError, http.client.HTTPException):
        return None


def test_url_option_sets_prefix_behind_proxy(tmp_path: Path) -> None:
    """Redirects and client files have the path of `--url`, whether the proxy strips it or not."""
    with serving(tmp_path, before=(), options=("--url", "http://pypi.lab/team/py")) as server:
        make_wheel(server.packages, "foo", "1.0")
        eventually(lambda: server.get("/simple/foo/"))
        for prefix in ("", "/team/py"):
            for path, there in (
                ("/simple/Foo", "/simple/foo/"),
                ("/packages", "/packages/"),
                ("/main", "/main/"),
                ("/foo", "/simple/foo/"),
            ):
                status, location = redirect(server.port, prefix + path)
                assert (status, location) == (301, f"/team/py{there}")
            settings = server.get(f"{prefix}/-/pip.conf") or b""
            assert b"index-url = http://pypi.lab/team/py/simple/" in settings
        assert redirect(server.port, "/team/py?x=y") == (301, "/team/py/?x=y")
        scanned(spec.for_directory(server.packages, server.state))
        eventually(lambda: "/team/py/simple/ NAME`" in server.log.read_text())


def redirect(port: int, path: str) -> tuple[int, str | None]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers["Location"]


def command(*arguments: object) -> tuple[int, str, str]:
    """Run `pyindex` and return exit code, standard output and standard error."""
    full_command = [str(PYINDEX), *map(str, arguments)]
    ended = subprocess.run(full_command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("is_given", [True, False])
def test_missing_directory_stays_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_given: bool
) -> None:
    """The server keeps pages of a missing packages directory, which each command reports."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    packages, away = tmp_path / "packages", tmp_path / "away"
    state = ["--state", tmp_path / "state"] if is_given else []
    packages.mkdir()
    path = make_wheel(packages, "foo", "1.0")
    assert command("watch", "--once", packages, *state)[0] == 0
    packages.rename(away)
    message = f"pyindex: '{packages}': No such file or directory; keeping its published pages\n"
    code, out, error = command("status", "-d", packages, *state)
    assert (code, error) == (1, message)
    assert "main: 1 project, 1 file" in out
    code, out, error = command("verify", "-d", packages, *state)
    assert (code, error) == (1, message)
    assert f"packages directory {packages}: not found" in out
    code, _, error = command("confirm-deletions", "-d", packages, *state)
    assert (code, error.startswith(message)) == (1, True)
    assert "not found; mount or create it" in error
    with serving(tmp_path, packages, *state, makes=False) as server:
        assert b"foo-1.0" in (server.get("/simple/foo/") or b"")
        eventually(lambda: "not found; mount" in server.log.read_text())
        away.rename(packages)
        eventually(lambda: server.get(f"/packages/{path.name}"))
        make_wheel(packages, "bar", "1.0")
        eventually(lambda: server.get("/simple/bar/"))


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("127.0.0.1", "Address already in use"),
        ("203.0.113.9", "Cannot assign requested address"),
        ("::ffff:1", "Cannot assign requested address"),
        ("name.invalid", "[^;]*[Nn]ame[^;]*"),
        ("..", "not a host name"),
    ],
)
def test_unavailable_address_is_reported_in_one_line(
    tmp_path: Path, host: str, message: str
) -> None:
    """The server reports in one line an address that it cannot listen on."""
    packages = tmp_path / "packages"
    packages.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        asked = ["--host", host, "--port", port, "--state", tmp_path / "state"]
        code, _, err = command("serve", packages, *asked)
    assert code == 1
    where = re.escape(f"[{host}]" if ":" in host else host)
    assert re.fullmatch(f"pyindex: cannot listen on {where}:{port}: {message}; choose .*\n", err), (
        err
    )
    assert not (tmp_path / "state" / "watcher.json").exists()
