"""Commands run by root: they act as the owner of the state directory."""

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

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
    pytest.mark.integration,
]

ROOT = Path(__file__).parent.parent
NOBODY = pwd.getpwnam("nobody")
NAMELESS = 61234
WHEEL = "foo-1.0-py2.py3-none-any.whl"


def python() -> list[str]:
    """Return the command of a Python that other users can run."""
    for program in (sys.executable, "/usr/bin/python3"):
        script = "import sys, json; print(sys.version_info[:2])"
        try:
            ended = subprocess.run(
                [program, "-c", script], capture_output=True, text=True, check=False, user=NAMELESS
            )
        except PermissionError:
            continue
        if ended.stdout.strip() == str(sys.version_info[:2]):
            return [program, "-P", "-m", "appliance"]
    pytest.skip("no Python of this version that others may run")


class Service:
    """Index whose state directory belongs to a user and whose packages belong to root."""

    def __init__(self, directory: Path, owner: int) -> None:
        self.packages, self.state, self.owner = directory / "packages", directory / "state", owner
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

    def foreign_files(self) -> list[str]:
        """Return the paths in the state directory that another user owns."""
        return [
            str(path)
            for path in [self.state, *self.state.rglob("*")]
            if path.lstat().st_uid != self.owner
        ]


def environment() -> dict[str, str]:
    paths = [str(ROOT), *(each for each in sys.path if each.endswith("site-packages"))]
    return {**os.environ, "PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def directory() -> Iterator[Path]:
    """Directory that every user can enter."""
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


@pytest.mark.parametrize("owner", [NOBODY.pw_uid, NAMELESS])
def test_commands_keep_owner_of_state(directory: Path, owner: int) -> None:
    """Each command of root acts as the owner, also one without an account, and prints that user."""
    service = Service(directory, owner)
    name = "nobody" if owner == NOBODY.pw_uid else f"user {owner}"
    for verb, *rest in COMMANDS:
        done = service.run(verb, *rest)
        assert done.returncode in (0, 1 if verb == "status" else 0), (verb, done.stderr)
        line = f"pyindex: acting as {name}, the owner of {service.state}"
        assert done.stderr.splitlines().count(line) == 1, verb
        assert service.foreign_files() == [], verb
    (copy,) = (service.state / "backups").iterdir()
    assert service.run("restore", str(copy)).returncode == 0
    service.state.joinpath("catalog.sqlite").write_bytes(b"no database" * 999)
    assert service.run("rebuild").returncode == 0
    assert service.foreign_files() == []


def test_remove_keeps_file_that_owner_cannot_move(directory: Path) -> None:
    """A file that the owner cannot move stays in place, and the error names cause and remedy."""
    service = Service(directory, NOBODY.pw_uid)
    assert service.run("watch", "--once").returncode == 0
    for _ in range(2):
        done = service.run("remove", WHEEL)
        assert done.returncode == 1
        assert (
            f"{service.packages}: permission denied: owned by uid 0, used by uid 65534;"
            " delete the file as a user with write permission"
        ) in done.stderr
    assert list((service.state / "trash").iterdir()) == []
    assert (service.packages / WHEEL).exists()
    os.chown(service.packages, NOBODY.pw_uid, NOBODY.pw_gid)
    assert service.run("remove", WHEEL).returncode == 0
    assert len(list((service.state / "trash").iterdir())) == 1


@pytest.mark.parametrize(
    ("closed", "mode"),
    [("stick", 0o700), ("stick/foo.tar", 0o600), ("stick/foo.tar.minisig", 0o600)],
)
def test_load_names_file_that_owner_cannot_read(directory: Path, closed: str, mode: int) -> None:
    """Root can read a mounted medium that the owner of the state cannot: the error says who."""
    service = Service(directory, NOBODY.pw_uid)
    stick, key = directory / "stick", directory / "key"
    stick.mkdir()
    bundle = stick / "foo.tar"
    collected = ("-d", str(service.packages), "--state", str(directory / "collected"))
    for words in (
        ("bundle-key", str(key)),
        ("bundle", str(bundle), *collected, "--sign", str(key)),
    ):
        subprocess.run([*service.python, *words], env=environment(), cwd="/", check=True)
    Path(f"{key}.pub").chmod(0o644)
    path = directory / closed
    path.chmod(mode)
    done = service.run("load", str(bundle), "--key", f"{key}.pub")
    assert done.returncode == 1
    named = bundle if path == stick else path
    assert (
        f"pyindex: {named}: permission denied for uid 65534; let this user read it, or copy it to a"
        " directory where this user can\n"
    ) in done.stderr
    path.chmod(0o755)
    assert service.run("load", str(bundle), "--key", f"{key}.pub").returncode == 0


def test_serve_runs_as_owner(directory: Path) -> None:
    """`pyindex serve` and its processes, nginx too, run as the owner."""
    service = Service(directory, NOBODY.pw_uid)
    installed = directory / "installed"
    shutil.copytree(ROOT / "appliance", installed / "appliance")
    shutil.copytree(ROOT / "deploy", installed / "appliance" / "deploy")
    paths = f"{installed}:{environment()['PYTHONPATH']}"
    command = [*service.python, "serve", str(service.packages), "--state", str(service.state)]
    port = free_port()
    process = subprocess.Popen(
        [*command, "--port", str(port)], env=environment() | {"PYTHONPATH": paths}, cwd="/"
    )
    try:
        page = service.state / "www" / "simple" / "foo" / "index.html"
        eventually(page.exists)
        assert Path(f"/proc/{process.pid}").stat().st_uid == NOBODY.pw_uid
        listed = f"/proc/{process.pid}/task/{process.pid}/children"
        children = [Path(f"/proc/{pid}") for pid in Path(listed).read_text().split()]
        assert {child.stat().st_uid for child in children} == {NOBODY.pw_uid}
        assert any("nginx" in (child / "cmdline").read_text() for child in children)
        assert service.foreign_files() == []
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def test_command_names_unreadable_python(directory: Path) -> None:
    """A command names the installation that the owner cannot read."""
    service = Service(directory, NOBODY.pw_uid)
    hidden = directory / "hidden"
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


def test_state_of_root_stays_with_root(directory: Path) -> None:
    """A command keeps running as root if root owns the state directory."""
    service = Service(directory, 0)
    done = service.run("watch", "--once")
    assert (done.returncode, "acting as" in done.stderr) == (0, False)


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_remove_from_read_only_file_system_leaves_no_copy(directory: Path) -> None:
    """The remove command leaves no copy in the trash if the file system is read-only."""
    service = Service(directory, 0)
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
            assert f"{service.packages}: file system is mounted read-only" in done.stderr
        assert list((service.state / "trash").iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", str(service.packages)], check=True)


READ_ONLY = [("yank", WHEEL), ("unyank", WHEEL), ("remove", WHEEL), ("status-set", "foo", "active")]


@pytest.mark.parametrize("command", READ_ONLY, ids=lambda command: command[0])
def test_decision_reports_read_only_state(directory: Path, command: tuple[str, ...]) -> None:
    """A decision that cannot be recorded reports the read-only state and no owner."""
    service = Service(directory, 0)
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
            f"pyindex: state directory {service.state}: Read-only file system, nothing was changed;"
            f" {service.state}: file system is mounted read-only\n"
        )
        assert (service.packages / WHEEL).exists()
    finally:
        subprocess.run(["umount", "--lazy", str(service.state)], check=True)


# --- ./pyindex.yml -----------------------------------------------------------------------------


def test_default_spec_of_other_user_is_rejected(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command rejects ./pyindex.yml of another user unless `-c` names it."""
    monkeypatch.chdir(directory)
    monkeypatch.delenv("PYINDEX_SPEC", raising=False)
    spec = directory / "pyindex.yml"
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


def test_default_spec_link_of_other_user_is_rejected(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command rejects ./pyindex.yml if it is a symbolic link of another user."""
    monkeypatch.chdir(directory)
    monkeypatch.delenv("PYINDEX_SPEC", raising=False)
    (directory / "other.yml").touch()
    (directory / "pyindex.yml").symlink_to("other.yml")
    os.lchown(directory / "pyindex.yml", NOBODY.pw_uid, NOBODY.pw_gid)
    with pytest.raises(SpecError, match="owned by uid 65534"):
        find_spec(None)
