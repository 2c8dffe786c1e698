"""The image of deploy/container, built by buildah and run by podman."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.dist import make_wheel
from tests.hosts.engine import Engine
from tests.hosts.machines import Workstation
from tests.integration.clients import NEWEST, ROOT

pytestmark = pytest.mark.hosts

COMPOSE = ROOT / "deploy/container/compose.yml"
URL = "http://engine:8080/python"
FILE = "foo-1.0-py2.py3-none-any.whl"
SANDBOX = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
ZOMBIES = "grep -l '^State:.Z' /proc/[0-9]*/status"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A packages directory with one wheel."""
    folder = tmp_path / "packages"
    folder.mkdir()
    assert make_wheel(folder, "foo", "1.0").name == FILE
    return folder


class Composed:
    """The index of the compose file."""

    def __init__(self, engine: Engine, packages: Path) -> None:
        self._engine = engine
        self._variables = {"PYINDEX_PACKAGES": str(packages), "PYINDEX_URL": URL}

    def up(self) -> str:
        """Start it, and return the name of its container when that is healthy."""
        self.compose("up", "--detach", "--no-build")
        (name,) = self._engine.podman("ps", "--format", "{{.Names}}").split()
        eventually(partial(is_healthy, self._engine, name))
        return name

    def compose(self, *arguments: str) -> None:
        command = ("podman-compose", "--project-name", "index", "--file", str(COMPOSE))
        self._engine.run(*command, *arguments, variables=self._variables)


@pytest.fixture
def composed(engine: Engine, packages: Path) -> Iterator[Composed]:
    made = Composed(engine, packages)
    yield made
    made.compose("down")


def is_healthy(engine: Engine, name: str) -> bool:
    return engine.podman("healthcheck", "run", name, code=None) == ""


def inspect(engine: Engine, name: str, field: str) -> str:
    return engine.podman("inspect", "--format", f"{{{{{field}}}}}", name).strip()


def test_composed_index_is_installed_from(composed: Composed, workstation: Workstation) -> None:
    """A client installs through nginx from the index of the compose file, below the path of its
    url."""
    composed.up()
    pip = workstation.environment(NEWEST.name)
    index = ("--index-url", f"{URL}/simple/", "--trusted-host", "engine")
    assert "Successfully installed foo-1.0" in pip.run("-m", "pip", "install", *index, "foo")
    assert f"{URL}/packages/{FILE}" in workstation.run("curl", "-s", f"{URL}/pypi/foo/json")
    page = workstation.run("curl", "-si", "http://engine:8080/simple/foo/")
    assert "Server: nginx" in page


def test_composed_index_writes_into_its_volume_only(composed: Composed, engine: Engine) -> None:
    """Nothing but the volume of the state and temporary directories can be written."""
    name = composed.up()
    assert engine.podman("diff", name) == "C /etc\n"  # where podman mounts files of its own
    for folder in ("/", "/etc/pyindex", "/opt/pyindex", "/data", "/data/packages"):
        refused = engine.podman("exec", name, "touch", f"{folder}/file", code=1)
        assert "Read-only file system" in refused
    engine.podman("exec", name, "touch", "/data/state/file", "/tmp/file")


def test_composed_index_keeps_its_state(composed: Composed, engine: Engine) -> None:
    """A stopped index has ended in order, within ten seconds; the next has its decisions."""
    name = composed.up()
    engine.podman("exec", name, "pyindex", "yank", "foo==1.0", "--reason", "broken")
    engine.podman("stop", "--time", "10", name)
    assert inspect(engine, name, ".State.ExitCode") == "0"  # 137 after a kill
    composed.compose("down")
    name = composed.up()
    page = engine.podman("exec", name, "cat", "/data/state/www/simple/foo/index.html")
    assert 'data-yanked="broken"' in page
    assert f"ready; try `pip install --index-url {URL}/simple/ NAME`" in engine.podman("logs", name)


def test_first_process_reaps_orphans(composed: Composed, engine: Engine) -> None:
    """Processes whose parents have ended leave no zombies."""
    name = composed.up()
    engine.podman("exec", name, "sh", "-c", "sleep 0.1 & sleep 0.2 &")
    watcher = engine.podman("exec", name, "sh", "-c", "grep -l watch /proc/[0-9]*/cmdline")
    engine.podman("exec", name, "kill", "-KILL", Path(watcher.split()[0]).parts[2])
    eventually(lambda: engine.podman("exec", name, "sh", "-c", ZOMBIES, code=None) == "")
    eventually(partial(is_healthy, engine, name))


def test_any_user_runs_the_image(engine: Engine, packages: Path) -> None:
    """A user without an account serves with a volume of its own, and logs requests if asked to."""
    options = ("--user", "1000650000:0", "--volume", f"{packages}:/data/packages:ro")
    image = ("pyindex", "--access-log", "-")
    engine.podman("run", "--detach", "--name", "other", *SANDBOX, *options, *image)
    try:
        eventually(partial(is_healthy, engine, "other"))
        assert "1000650000" in engine.podman("exec", "other", "id", "-u")
        eventually(lambda: '"GET /health HTTP/1.1" 200' in engine.podman("logs", "other"))
    finally:
        engine.podman("rm", "--force", "--volumes", "other")


FAILURES = {
    "state of another user": (
        ("--volume", "{}:/data/state"),
        "pyindex: state directory /data/state: Permission denied; make it writable for uid 9898, or"
        " choose another one (--state, or `state` in the spec)\n",
    ),
    "no temporary directory": (
        ("--read-only-tmpfs=false",),
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
    given = (option.format(tmp_path) for option in options)
    assert engine.podman("run", "--rm", *SANDBOX, *given, "pyindex", code=1) == message
