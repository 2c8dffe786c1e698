"""Verification install on a host: its user, the accepted files, its timeouts."""

import ensurepip
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from appliance import spec
from appliance.accounts.tokens import Tokens
from appliance.operations.update import update
from appliance.pack import probe
from benchmarks.ports import HOST, free_port
from tests.conftest import eventually
from tests.dist import make_sdist, make_wheel
from tests.integration.servers import PYINDEX
from tests.nginx.servers import application

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "ansible/roles/verify/files/client.py"
PYTHON = "/usr/bin/python3"  # every user may run it
pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or not Path(PYTHON).exists(), reason="needs root to become another user"
    ),
    pytest.mark.integration,
]

# A hostile module, which runs code when it is imported.
HOSTILE = """\
import os, subprocess
subprocess.Popen(["sleep", "864123"], preexec_fn=os.setsid)
home = os.access(os.environ["HOME"], os.W_OK)
secrets = [path for path in ("/root", "/etc/shadow") if os.access(path, os.R_OK)]
raise SystemExit("uid %d, gid %d, groups %s, home %s, secrets %s" % (
    os.getuid(), os.getgid(), os.getgroups(), home, secrets))
"""


@pytest.fixture(scope="module")
def release() -> Iterator[Path]:
    """Tools of a release, readable by every user as on a host."""
    directory = Path(tempfile.mkdtemp(prefix="pyindex-release-"))
    directory.chmod(0o755)
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(pip, directory)
    probe.write(directory / probe.PROBE)
    for path in directory.iterdir():
        path.chmod(0o644)
    yield directory
    shutil.rmtree(directory)


def verify(
    release: Path,
    url: str,
    package: str,
    module: str,
    probe: str = "",
    seconds: int = 60,
    login: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the verification install as the play does, for a private index with its spec."""
    (pip,) = release.glob("pip-*.whl")
    command = [PYTHON, CLIENT, url, "", pip, package, module, seconds, probe and release / probe]
    command += [PYINDEX] if login else []
    variables = os.environ | ({"PYINDEX_SPEC": str(login)} if login else {})
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, env=variables
    )


@contextmanager
def serving(directory: Path, **changes: object) -> Iterator[str]:
    """Serve the packages in a directory as an index with these settings; yield its URL."""
    path = directory.parent / "pyindex.yml"
    index = {"packages": directory.name, **changes}
    path.write_text(yaml.safe_dump({"state": "state", "indexes": {"main": index}}))
    update(spec.load(path))
    port = free_port()
    with application(path, port):
        yield f"http://{HOST}:{port}"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    (tmp_path / "packages").mkdir()
    return tmp_path / "packages"


def test_verification_installs_probe(packages: Path, release: Path) -> None:
    """The verification installs and imports the probe and leaves no files."""
    before = set(Path(tempfile.gettempdir()).glob("pyindex-verify-*"))
    shutil.copy(release / probe.PROBE, packages)
    with serving(packages) as url:
        done = verify(release, url, "pyindex-probe", "pyindex_probe", probe.PROBE)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"is installed from {url}" in done.stdout
    assert set(Path(tempfile.gettempdir()).glob("pyindex-verify-*")) <= before


PRIVATE: list[dict[str, object]] = [
    {"read": ["members"]},
    {"projects": {"pyindex-probe": {"read": ["alice"]}}},
]


@pytest.mark.parametrize("rights", PRIVATE)
def test_verification_logs_in(packages: Path, release: Path, rights: dict[str, object]) -> None:
    """The verification of a private index logs in with a token of its own, which is revoked at the
    end, also if the verification fails."""
    shutil.copy(release / probe.PROBE, packages)
    path = packages.parent / "pyindex.yml"
    with serving(packages, **rights) as url:
        done = verify(release, url, "pyindex-probe", "pyindex_probe", probe.PROBE, login=path)
        failed = verify(release, url, "missing", "missing", seconds=0, login=path)
        anonymous = verify(release, url, "pyindex-probe", "pyindex_probe", seconds=0)
    assert (done.returncode, done.stderr) == (0, "")
    assert (failed.returncode, anonymous.returncode) == (1, 1)
    assert "pyi-" not in done.stdout + failed.stdout + failed.stderr
    assert Tokens(spec.load(path).tokens).all() == []


def replace_probe(packages: Path, release: Path) -> None:
    made = make_wheel(packages, "pyindex-probe", "1", modules={"pyindex_probe": HOSTILE})
    assert made.name == probe.PROBE


def add_newer_builds(packages: Path, release: Path) -> None:
    """Add another build of the version, which pip prefers, and a newer version."""
    shutil.copy(release / probe.PROBE, packages)
    made = make_wheel(packages, "pyindex-probe", "2", modules={"pyindex_probe": HOSTILE})
    made = make_wheel(packages, "pyindex-probe", "1-9", modules={"pyindex_probe": HOSTILE})
    made.rename(packages / "pyindex_probe-1-9-py2.py3-none-any.whl")


SHADOWS: list[tuple[Callable[[Path, Path], None], bool]] = [
    (replace_probe, False),
    (add_newer_builds, True),
]


@pytest.mark.parametrize(("prepare", "good"), SHADOWS)
def test_verification_runs_only_probe(
    packages: Path, release: Path, prepare: Callable[[Path, Path], None], good: bool
) -> None:
    """The verification runs no other file than the probe and reports a replaced one."""
    prepare(packages, release)
    with serving(packages) as url:
        done = verify(release, url, "pyindex-probe", "pyindex_probe", probe.PROBE)
    assert (done.returncode == 0) is good
    assert "uid" not in done.stderr + done.stdout
    assert good or "the packages directory has another file of this name" in done.stderr


def test_verification_isolates_package(packages: Path, release: Path) -> None:
    """The verification runs a package as an unprivileged user and ends all its processes."""
    make_wheel(packages, "strange", "1", modules={"strange": HOSTILE})
    with serving(packages) as url:
        done = verify(release, url, "strange", "strange")
    assert done.returncode == 1
    match = re.search(r"uid (\d+), gid (\d+), groups \[\], home True, secrets \[\]", done.stderr)
    assert match, done.stderr
    assert match[1] == match[2] and 61184 <= int(match[1]) < 65520
    eventually(lambda: not re.search(rf"^ *{match[1]} |sleep 864123$", running(), re.M))


def running() -> str:
    """Return user and command line of the processes of this machine."""
    command = ["ps", "-eo", "uid,args"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_verification_rejects_sdist(packages: Path, release: Path) -> None:
    """The verification rejects an sdist, because a build would run its code."""
    make_sdist(packages, "only-source", "1.0")
    with serving(packages) as url:
        done = verify(release, url, "only-source", "only_source")
    assert done.returncode == 1
    assert "pip install only-source: " in done.stderr


@contextmanager
def answering(*answers: tuple[int, str]) -> Iterator[str]:
    """Run a server that gives these answers in turn, then repeats the last; yield its URL."""
    waiting = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def starting(count: int) -> tuple[int, str]:
    return 503, f'{{"status": "starting", "problems": ["main: {count} of 9 files scanned"]}}'


# (answers of the index, message of a verification that tolerates no time without progress)
WAITS: list[tuple[list[tuple[int, str]], str]] = [
    # It waits during progress; then it continues and fails at the project's page.
    ([*map(starting, range(6)), (200, ""), (404, "")], "/simple/x/: HTTP Error 404"),
    ([*map(starting, range(3)), starting(2)], "2 of 9 files scanned"),
    ([(503, '{"status": "failing", "problems": ["a disk"]}')], "a disk"),
    ([(502, "silence")], "502: Bad Gateway silence"),
    ([(403, "not for you"), (404, "")], "/simple/x/: HTTP Error 404"),
]


@pytest.mark.parametrize(("answers", "message"), WAITS)
def test_verification_waits_during_progress(
    release: Path, answers: list[tuple[int, str]], message: str
) -> None:
    """The verification waits while a first scan makes progress and reports a stalled one."""
    with answering(*answers) as url:
        done = verify(release, url, "x", "x", seconds=0)
    assert done.returncode == 1
    assert message in done.stderr
