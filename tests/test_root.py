"""Root runs every command without breaking the service: it acts as who owns the state."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.source import find_spec
from appliance.errors import SpecError
from benchmarks.ports import free_port
from tests.conftest import eventually
from tests.dist import make_wheel

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

ROOT = Path(__file__).parent.parent
NOBODY = pwd.getpwnam("nobody")
NAMELESS = 61234
WHEEL = "foo-1.0-py2.py3-none-any.whl"


def python() -> list[str]:
    """A Python that others may run: that of the tests may lie in root's home."""
    for place in (sys.executable, "/usr/bin/python3"):
        script = "import sys, json; print(sys.version_info[:2])"
        try:
            found = subprocess.run(
                [place, "-c", script], capture_output=True, text=True, check=False, user=NAMELESS
            )
        except PermissionError:
            continue
        if found.stdout.strip() == str(sys.version_info[:2]):
            return [place, "-P", "-m", "appliance"]
    pytest.skip("no Python of this version that others may run")


class Service:
    """An index whose state belongs to a user, with packages that are root's."""

    def __init__(self, place: Path, owner: int) -> None:
        self.packages, self.state, self.owner = place / "packages", place / "state", owner
        self.python = python()
        self.packages.mkdir(0o755)
        self.state.mkdir(0o755)
        os.chown(self.state, owner, owner)
        make_wheel(self.packages, "foo", "1.0")

    def run(self, verb: str, *rest: str) -> "subprocess.CompletedProcess[str]":
        options = [str(self.packages)] if verb == "watch" else ["-d", str(self.packages)]
        command = [*self.python, verb, *options, "--state", str(self.state), *rest]
        return subprocess.run(
            command, env=environment(), cwd="/", capture_output=True, text=True, check=False
        )

    def strangers(self) -> list[str]:
        """What in the state belongs to somebody else."""
        return [
            str(path)
            for path in [self.state, *self.state.rglob("*")]
            if path.lstat().st_uid != self.owner
        ]


def environment() -> dict[str, str]:
    paths = [str(ROOT), *(each for each in sys.path if each.endswith("site-packages"))]
    return {**os.environ, "PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may enter."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


COMMANDS = [
    ("watch", "--once"),
    ("status",),
    ("rebuild",),
    ("yank", WHEEL, "--reason", "x"),
    ("unyank", WHEEL),
    ("status-set", "foo", "archived"),
    ("verify",),
    ("backup",),
    ("gc",),
]


OWNERS = [NOBODY.pw_uid, pytest.param(NAMELESS, marks=pytest.mark.integration)]


@pytest.mark.parametrize("owner", OWNERS)
def test_every_command_leaves_the_state_to_its_owner(place: Path, owner: int) -> None:
    """Also to one that no list of users knows; each says as whom it acts."""
    service = Service(place, owner)
    name = "nobody" if owner == NOBODY.pw_uid else f"user {owner}"
    for verb, *rest in COMMANDS:
        done = service.run(verb, *rest)
        assert done.returncode in (0, 1 if verb == "status" else 0), (verb, done.stderr)
        line = f"pyindex: acting as {name}, the owner of {service.state}"
        assert done.stderr.splitlines().count(line) == 1, verb
        assert service.strangers() == [], verb
    (copy,) = (service.state / "backups").iterdir()
    assert service.run("restore", str(copy)).returncode == 0
    service.state.joinpath("catalog.sqlite").write_bytes(b"no database" * 999)
    assert service.run("rebuild").returncode == 0
    assert service.strangers() == []


def test_a_file_that_the_owner_may_not_move_stays(place: Path) -> None:
    """The error says why and what to do, and nothing is in the trash, however often it is tried."""
    service = Service(place, NOBODY.pw_uid)
    assert service.run("watch", "--once").returncode == 0
    for _ in range(2):
        done = service.run("remove", WHEEL)
        assert done.returncode == 1
        assert (
            f"permission denied: {service.packages} is of user 0, and this runs as 65534;"
            " delete the file there as a user who may"
        ) in done.stderr
    assert list((service.state / "trash").iterdir()) == []
    assert (service.packages / WHEEL).exists()
    os.chown(service.packages, NOBODY.pw_uid, NOBODY.pw_gid)
    assert service.run("remove", WHEEL).returncode == 0
    assert len(list((service.state / "trash").iterdir())) == 1


def test_served_as_the_owner(place: Path) -> None:
    """`serve` and what it starts, too."""
    service = Service(place, NOBODY.pw_uid)
    command = [*service.python, "serve", str(service.packages), "--state", str(service.state)]
    port = free_port()
    process = subprocess.Popen([*command, "--port", str(port)], env=environment(), cwd="/")
    try:
        page = service.state / "www" / "simple" / "foo" / "index.html"
        eventually(page.exists)
        assert Path(f"/proc/{process.pid}").stat().st_uid == NOBODY.pw_uid
        assert service.strangers() == []
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def test_a_python_that_the_owner_may_not_read_is_named(place: Path) -> None:
    """Rather than the first module that is missing then."""
    service = Service(place, NOBODY.pw_uid)
    hidden = place / "hidden"
    shutil.copytree(ROOT / "appliance", hidden / "appliance")
    hidden.chmod(0o700)
    paths = f"{hidden}:{environment()['PYTHONPATH']}"
    command = [
        *service.python,
        "status",
        "-d",
        str(service.packages),
        "--state",
        str(service.state),
    ]
    done = subprocess.run(
        command,
        env={**environment(), "PYTHONPATH": paths},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (
        "owner.py: permission denied for nobody; install pyindex where all users can read it"
        in done.stderr
    )


def test_a_state_of_root_is_served_by_root(place: Path) -> None:
    """Nothing changes for who runs all of it as root."""
    service = Service(place, 0)
    done = service.run("watch", "--once")
    assert (done.returncode, "acting as" in done.stderr) == (0, False)


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_remove_from_a_read_only_file_system_leaves_no_copy(place: Path) -> None:
    """Across file systems a file is copied before it is removed: not if it cannot be removed."""
    service = Service(place, 0)
    assert service.run("watch", "--once").returncode == 0
    options = ["mount", "--bind", str(service.packages), str(service.packages)]
    if subprocess.run(options, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        remount = ["mount", "-o", "remount,bind,ro", str(service.packages)]
        subprocess.run(remount, check=True)
        for _ in range(2):
            done = service.run("remove", WHEEL)
            assert done.returncode == 1
            assert (
                f"{service.packages} is on a file system that is mounted read-only" in done.stderr
            )
        assert list((service.state / "trash").iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", str(service.packages)], check=True)


READ_ONLY = [("yank", WHEEL), ("unyank", WHEEL), ("remove", WHEEL), ("status-set", "foo", "active")]


@pytest.mark.parametrize("command", READ_ONLY, ids=lambda command: command[0])
def test_a_read_only_state_is_named(place: Path, command: tuple[str, ...]) -> None:
    """A decision that cannot be kept says where and why, and blames no owner."""
    service = Service(place, 0)
    assert service.run("watch", "--once").returncode == 0
    bind = ["mount", "--bind", str(service.state), str(service.state)]
    if subprocess.run(bind, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        remount = ["mount", "-o", "remount,bind,ro", str(service.state)]
        subprocess.run(remount, check=True)
        done = service.run(*command)
        assert done.returncode == 1
        assert done.stderr == (
            f"pyindex: state {service.state}: Read-only file system: {service.state} is on a file"
            " system that is mounted read-only; nothing was changed\n"
        )
        assert (service.packages / WHEEL).exists()
    finally:
        subprocess.run(["umount", "--lazy", str(service.state)], check=True)


# --- ./pyindex.yml -----------------------------------------------------------------------------


def test_a_spec_of_somebody_else_is_not_found_by_habit(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decides what is written where: root in a stranger's directory must not take it."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("PYINDEX_SPEC", raising=False)
    spec = place / "pyindex.yml"
    spec.write_text("state: state\nindexes: {main: {packages: packages}}\n")
    assert find_spec(None) == Path("pyindex.yml")
    os.chown(spec, NOBODY.pw_uid, NOBODY.pw_gid)
    with pytest.raises(SpecError) as caught:
        find_spec(None)
    assert str(caught.value) == (
        "./pyindex.yml: owned by uid 65534, must be owned by uid 0; if you trust it, pass"
        " -c ./pyindex.yml"
    )
    assert find_spec(Path("pyindex.yml")) == Path("pyindex.yml")


def test_a_link_of_somebody_else_is_not_followed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its target may be root's: the link is not."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("PYINDEX_SPEC", raising=False)
    (place / "other.yml").touch()
    (place / "pyindex.yml").symlink_to("other.yml")
    os.lchown(place / "pyindex.yml", NOBODY.pw_uid, NOBODY.pw_gid)
    with pytest.raises(SpecError, match="owned by uid 65534"):
        find_spec(None)
