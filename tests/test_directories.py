"""Directories that root creates on a host, safe from other users."""

import json
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROLES = Path(__file__).parent.parent / "ansible/roles"
OWNER, OTHER_USER = "daemon", "nobody"  # instead of pyindex and of a user with a shell
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change owners")


@pytest.fixture
def root() -> Iterator[Path]:
    """Directory below /opt in which only root can write."""
    with tempfile.TemporaryDirectory(prefix="pyindex-test-", dir="/opt") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def provide(root: Path, path: Path, kind: str = "state") -> tuple[str, str]:
    """Run the role's script for a directory; return standard output and standard error."""
    request = json.dumps([{"path": str(path), "kind": kind, "owner": OWNER, "mode": "2775"}])
    script = ROLES / "base/files/directories.py"
    command = [sys.executable, str(script), request, str(root / "made")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is (done.stderr == "")
    assert "Traceback" not in done.stderr
    return done.stdout.strip(), done.stderr.strip()


def made(root: Path) -> list[str]:
    return (root / "made").read_text().split("\n")[:-1] if (root / "made").exists() else []


def of(path: Path) -> tuple[str, int]:
    status = path.stat()
    return pwd.getpwuid(status.st_uid).pw_name, status.st_mode & 0o7777


def give(path: Path, user: str = OTHER_USER) -> None:
    os.chown(path, pwd.getpwnam(user).pw_uid, -1)


@pytest.mark.parametrize("kind", ["state", "packages", "uploads"])
def test_script_creates_directory(root: Path, kind: str) -> None:
    """The script creates and records a directory, and later only corrects its mode."""
    directory = root / "a b/c/it's"
    assert provide(root, directory, kind) == (f"created {directory}", "")
    assert (of(directory), of(directory.parent)) == ((OWNER, 0o2775), ("root", 0o755))
    assert made(root) == [str(directory)]
    assert provide(root, directory, kind) == ("", "")
    directory.chmod(0o700)
    assert provide(root, directory, kind) == (f"changed {directory}", "")
    assert made(root) == [str(directory)]


@pytest.mark.parametrize("kind", ["state", "packages"])
def test_script_takes_empty_directory_of_root(root: Path, kind: str) -> None:
    """The script gives an empty directory of root to the owner without recording it as created."""
    (root / "disk/lost+found").mkdir(parents=True)
    assert provide(root, root / "disk", kind) == (f"changed {root / 'disk'}", "")
    assert (of(root / "disk"), made(root)) == ((OWNER, 0o2775), [])


@pytest.mark.parametrize("user", ["root", OTHER_USER])
def test_script_keeps_directory_in_use(root: Path, user: str) -> None:
    """The script keeps packages of another user and rejects a state directory in use."""
    directory = root / "var"
    directory.mkdir()
    (directory / "log").touch()
    give(directory, user)
    before = of(directory)
    assert provide(root, directory, "packages") == ("", "")
    out, err = provide(root, directory)
    assert out == ""
    assert err.startswith(
        f"{directory}: not empty, and not owned by {OWNER}; choose an empty or a new directory"
    )
    assert (of(directory), made(root)) == (before, [])


def test_script_rejects_packages_that_take_no_uploads(root: Path) -> None:
    """The script keeps the packages of another user where an index accepts uploads only if the
    service can write there."""
    directory = root / "packages"
    directory.mkdir(mode=0o755)
    (directory / "foo-1.0.tar.gz").touch()
    give(directory)
    message = f"run chown {OWNER}: {directory}, or give its group that right"
    assert message in provide(root, directory, "uploads")[1]
    os.chown(directory, -1, pwd.getpwnam(OWNER).pw_gid)
    directory.chmod(0o2775)
    assert provide(root, directory, "uploads") == ("", "")
    assert (of(directory), made(root)) == ((OTHER_USER, 0o2775), [])


def test_script_follows_links_of_root(root: Path) -> None:
    """The script follows symbolic links of root, such as /srv on another disk."""
    (root / "disk").mkdir()
    (root / "srv").symlink_to("disk")
    (root / "disk/more").symlink_to(root / "disk/away")
    assert provide(root, root / "srv/more/packages")[1] == ""
    assert of(root / "disk/away/packages") == (OWNER, 0o2775)


def test_script_rejects_links_of_other_users(root: Path) -> None:
    """The script creates nothing where another user can write, wherever a symbolic link leads."""
    home, target = root / "home", root / "etc"
    home.mkdir()
    target.mkdir()
    give(home)
    for name in ("link", "deep"):
        (home / name).symlink_to(target)
    for path in (home / "link", home / "deep/inside", home / "new"):
        out, err = provide(root, path)
        assert out == ""
        needed = f"with install -d -o {OWNER} -g {OWNER} -m 2775 {path}"
        assert needed in err or "not empty" in err
    assert (of(target), list(target.iterdir()), (home / "new").exists()) == (
        ("root", 0o755),
        [],
        False,
    )
    shared = root / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    assert provide(root, shared / "state")[1] == ""  # created by its owner, who may write there
    assert of(shared / "state")[0] == OWNER


def test_owner_creates_directory_below_state(root: Path) -> None:
    """The script creates directories below the state as its owner, safe from links."""
    state = root / "state"
    provide(root, state)
    assert provide(root, state / "backups") == (f"created {state / 'backups'}", "")
    assert of(state / "backups")[0] == OWNER
    (state / "backups").rmdir()
    (state / "backups").symlink_to(root / "etc")
    (root / "etc").mkdir()
    provide(root, state / "backups")
    assert of(root / "etc") == ("root", 0o755)


def test_script_rejects_key_directory_of_others(root: Path) -> None:
    """The script rejects a directory for TLS keys to which others than root can write."""
    (root / "tls").mkdir(mode=0o700)
    assert provide(root, root / "tls", "parent") == ("", "")
    assert of(root / "tls") == ("root", 0o700)
    give(root / "tls")
    for place in (root / "tls", root / "tls/deeper"):
        assert "users other than root may write to" in provide(root, place, "parent")[1]
