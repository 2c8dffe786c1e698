"""The image of deploy/container, built by buildah and run by podman."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import bcrypt
import pytest

from tests.conftest import eventually
from tests.dist import make_wheel
from tests.hosts.engine import Engine
from tests.hosts.machines import Workstation
from tests.hosts.team import upload
from tests.integration.clients import NEWEST, ROOT
from tests.integration.uploaders import PASSWORDS, Attempt, Target

pytestmark = pytest.mark.hosts

COMPOSE = ROOT / "deploy/container/compose.yml"
URL = "http://engine:8080/python"
FILE = "foo-1.0-py2.py3-none-any.whl"
SANDBOX = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
ZOMBIES = "grep -l '^State:.Z' /proc/[0-9]*/status"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packages directory with one wheel."""
    folder = tmp_path_factory.mktemp("packages")
    folder.chmod(0o755)
    assert make_wheel(folder, "foo", "1.0").name == FILE
    return folder


class Composed:
    """The index of the compose file."""

    def __init__(self, engine: Engine, packages: Path) -> None:
        self._engine = engine
        self._variables = {"PYINDEX_PACKAGES": str(packages), "PYINDEX_URL": URL}
        self.name = ""

    def up(self) -> None:
        """Start it, and wait until its container, of that name, is healthy."""
        self._compose("up", "--detach", "--no-build")
        (self.name,) = self._engine.podman("ps", "--format", "{{.Names}}").split()
        eventually(partial(is_healthy, self._engine, self.name))

    def down(self) -> None:
        """Stop it, and remove its container."""
        self._compose("down")

    def run(self, *command: str, code: int | None = 0) -> str:
        """Run a command in its container, and return what that prints."""
        return self._engine.podman("exec", self.name, *command, code=code)

    def _compose(self, *arguments: str) -> None:
        command = ("podman-compose", "--project-name", "index", "--file", str(COMPOSE))
        self._engine.run(*command, *arguments, variables=self._variables)


@pytest.fixture(scope="module")
def composed(engine: Engine, packages: Path) -> Iterator[Composed]:
    made = Composed(engine, packages)
    made.up()
    yield made
    made.down()


def is_healthy(engine: Engine, name: str) -> bool:
    return engine.podman("healthcheck", "run", name, code=None) == ""


def watcher_of(composed: Composed) -> int:
    """Return the process id of the watcher."""
    return int(json.loads(composed.run("cat", "/data/state/watcher.json"))["pid"])


def test_composed_index_is_installed_from(composed: Composed, workstation: Workstation) -> None:
    """A client installs through nginx from the index of the compose file, below the path of its
    url."""
    pip = workstation.environment(NEWEST.name)
    index = ("--index-url", f"{URL}/simple/", "--trusted-host", "engine")
    assert "Successfully installed foo-1.0" in pip.run("-m", "pip", "install", *index, "foo")
    assert f"{URL}/packages/{FILE}" in workstation.run("curl", "-s", f"{URL}/pypi/foo/json")
    page = workstation.run("curl", "-si", "http://engine:8080/simple/foo/")
    assert "Server: nginx" in page


def test_composed_index_writes_into_its_volume_only(composed: Composed, engine: Engine) -> None:
    """Nothing but the volume of the state and temporary directories can be written."""
    # Some versions of podman list where they mount their own files.
    assert engine.podman("diff", composed.name) in ("", "C /etc\n")
    for folder in ("/", "/etc/pyindex", "/opt/pyindex", "/data", "/data/packages"):
        refused = composed.run("touch", f"{folder}/file", code=1)
        assert "Read-only file system" in refused
    composed.run("touch", "/data/state/file", "/tmp/file")


def test_first_process_reaps_orphans(composed: Composed) -> None:
    """Processes whose parents have ended leave no zombies, and a killed watcher is restarted."""
    composed.run("sh", "-c", "sleep 0.1 & sleep 0.2 &")
    watcher = watcher_of(composed)
    composed.run("sh", "-c", f"kill -KILL {watcher}")
    eventually(lambda: watcher_of(composed) != watcher)
    eventually(lambda: composed.run("sh", "-c", ZOMBIES, code=None) == "")


def test_composed_index_keeps_its_state(composed: Composed, engine: Engine) -> None:
    """A stopped index has ended in order, within ten seconds; the next has its decisions."""
    composed.run("pyindex", "yank", "foo==1.0", "--reason", "broken")
    engine.podman("stop", "--time", "10", composed.name)
    state = engine.podman("inspect", "--format", "{{.State.ExitCode}}", composed.name)
    assert state == "0\n"  # 137 after a kill
    composed.down()
    composed.up()
    page = composed.run("cat", "/data/state/www/simple/foo/index.html")
    assert 'data-yanked="broken"' in page
    ready = f"ready; try `pip install --index-url {URL}/simple/ NAME`"
    assert ready in engine.podman("logs", composed.name)


def test_any_user_runs_the_image(engine: Engine, packages: Path) -> None:
    """A user without an account serves with a volume of its own, and logs requests if asked to."""
    mounted = ("--volume", f"{packages}:/data/packages:ro", "--volume", "/data/state")
    options = (*mounted, "--user", "1000650000:0")
    image = ("pyindex", "--access-log", "-")
    engine.podman("run", "--detach", "--name", "other", *SANDBOX, *options, *image)
    try:
        eventually(partial(is_healthy, engine, "other"))
        assert "1000650000" in engine.podman("exec", "other", "id", "-u")
        eventually(lambda: '"GET /health HTTP/1.1" 200' in engine.podman("logs", "other"))
    finally:
        engine.podman("rm", "--force", "--volumes", "other")


TEAM = """\
state: /data/state
accounts: {htpasswd: /etc/pyindex/htpasswd}
indexes: {main: {packages: /data/packages, read: [members], upload: [alice]}}
server: {host: 0.0.0.0, workers: 1}
"""


def test_container_accepts_uploads(
    engine: Engine, workstation: Workstation, tmp_path: Path
) -> None:
    """A private index with a spec of its own accepts an upload into its volume of packages, which
    pip then installs."""
    (packages := tmp_path / "packages").mkdir()
    (htpasswd := tmp_path / "htpasswd").write_bytes(
        b"alice:" + bcrypt.hashpw(PASSWORDS["alice"].encode(), bcrypt.gensalt(4))
    )
    (spec := tmp_path / "pyindex.yml").write_text(TEAM)
    htpasswd.chmod(0o600)
    for path in (packages, htpasswd):
        os.chown(path, 9898, 0)
    mounted = (f"{packages}:/data/packages", f"{htpasswd}:/etc/pyindex/htpasswd:ro")
    options = [f"--volume={each}" for each in (*mounted, f"{spec}:/etc/pyindex/pyindex.yml:ro")]
    options += ["--volume=/data/state", "--publish=8081:8080"]
    engine.podman("run", "--detach", "--name", "team", *SANDBOX, *options, "pyindex")
    try:
        eventually(partial(is_healthy, engine, "team"))
        attempt = Attempt(tmp_path / "project", "demo", "1.0")
        upload(workstation, Target("http://engine:8081", None, packages), attempt)
        index = f"http://alice:{PASSWORDS['alice']}@engine:8081/simple/"
        pip = workstation.environment(NEWEST.name)
        install = ("install", "--index-url", index, "--trusted-host", "engine", "demo")
        assert "Successfully installed demo-1.0" in pip.run("-m", "pip", *install)
    finally:
        engine.podman("rm", "--force", "--volumes", "team")


FAILURES = {
    "state of another user": (
        ("--volume", "{}:/data/state"),
        "pyindex: state directory /data/state: Permission denied; make it writable for uid 9898, or"
        " choose another one (--state, or `state` in the spec)\n",
    ),
    "no temporary directory": (
        ("--read-only-tmpfs=false", "--volume", "/data/state"),
        "pyindex: no writable directory for temporary files; mount a tmpfs at /tmp, or set"
        " TMPDIR\n",
    ),
    "url without scheme": (
        ("--env", "PYINDEX_URL=pypi.example.org"),
        "pyindex: /etc/pyindex/pyindex.yml:2: url: expected http[s]://HOST[:PORT][/PREFIX] without"
        " user, query or fragment, got 'pypi.example.org'\n",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_container_names_what_it_lacks(engine: Engine, tmp_path: Path, case: str) -> None:
    """A container that cannot serve ends with one line that says why."""
    options, message = FAILURES[case]
    given = [option.format(tmp_path) for option in options]
    run = ("run", "--rm", "--network=none", *SANDBOX, *given, "pyindex")
    assert engine.podman(*run, code=1) == message
