"""What root makes and removes on a host: never by a way that somebody else may turn."""

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
OWNER, STRANGER = "daemon", "nobody"  # in the place of pyindex, and of somebody with a shell
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives directories away, as root may")


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory in which only root writes, all the way from /."""
    with tempfile.TemporaryDirectory(prefix="pyindex-test-", dir="/opt") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def provide(root: Path, path: Path, kind: str = "state") -> tuple[str, str]:
    """What is said of a directory, on both ways."""
    wanted = json.dumps([{"path": str(path), "kind": kind, "owner": OWNER, "mode": "2775"}])
    script = ROLES / "base/files/directories.py"
    command = [sys.executable, str(script), wanted, str(root / "made")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is (done.stderr == "")
    assert "Traceback" not in done.stderr
    return done.stdout.strip(), done.stderr.strip()


def made(root: Path) -> list[str]:
    return (root / "made").read_text().split("\n")[:-1] if (root / "made").exists() else []


def of(path: Path) -> tuple[str, int]:
    found = path.stat()
    return pwd.getpwuid(found.st_uid).pw_name, found.st_mode & 0o7777


def give(path: Path, user: str = STRANGER) -> None:
    os.chown(path, pwd.getpwnam(user).pw_uid, -1)


@pytest.mark.parametrize("kind", ["state", "packages"])
def test_a_directory_is_made(root: Path, kind: str) -> None:
    """With the parents, which are root's; written down as made; and left alone from then on."""
    place = root / "a b/c/it's"
    assert provide(root, place, kind) == (f"made {place}", "")
    assert (of(place), of(place.parent)) == ((OWNER, 0o2775), ("root", 0o755))
    assert made(root) == [str(place)]
    assert provide(root, place, kind) == ("", "")
    place.chmod(0o700)
    assert provide(root, place, kind) == (f"changed {place}", "")
    assert made(root) == [str(place)]


@pytest.mark.parametrize("kind", ["state", "packages"])
def test_an_empty_disk_is_taken(root: Path, kind: str) -> None:
    """A directory of root's that holds nothing; it is not removed later, for it was there."""
    (root / "disk/lost+found").mkdir(parents=True)
    assert provide(root, root / "disk", kind) == (f"changed {root / 'disk'}", "")
    assert (of(root / "disk"), made(root)) == ((OWNER, 0o2775), [])


@pytest.mark.parametrize("user", ["root", STRANGER])
def test_what_is_somebody_s_stays_so(root: Path, user: str) -> None:
    """Packages are served from where they are; a state of `/var` is refused, and not taken."""
    place = root / "var"
    place.mkdir()
    (place / "log").touch()
    give(place, user)
    before = of(place)
    assert provide(root, place, "packages") == ("", "")
    out, err = provide(root, place)
    assert out == ""
    assert err.startswith(
        f"{place}: is there with something in it, and not of {OWNER}; say another"
    )
    assert (of(place), made(root)) == (before, [])


def test_links_of_root_s_are_followed(root: Path) -> None:
    """As an operator has them: /srv on another disk."""
    (root / "disk").mkdir()
    (root / "srv").symlink_to("disk")
    (root / "disk/more").symlink_to(root / "disk/away")
    assert provide(root, root / "srv/more/packages")[1] == ""
    assert of(root / "disk/away/packages") == (OWNER, 0o2775)


def test_links_of_others_are_not(root: Path) -> None:
    """Where a stranger writes, root makes nothing and gives nothing away, wherever a link leads."""
    home, target = root / "home", root / "etc"
    home.mkdir()
    target.mkdir()
    give(home)
    for name in ("link", "deep"):
        (home / name).symlink_to(target)
    for place in (home / "link", home / "deep/inside", home / "new"):
        out, err = provide(root, place)
        assert out == ""
        assert (
            f"make it: install -d -o {OWNER} -g {OWNER} -m 2775 {place}" in err or "is there" in err
        )
    assert (of(target), list(target.iterdir()), (home / "new").exists()) == (
        ("root", 0o755),
        [],
        False,
    )
    shared = root / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    assert provide(root, shared / "state")[1] == ""  # made by its owner, who may
    assert of(shared / "state")[0] == OWNER


def test_the_owner_makes_what_is_in_his_own(root: Path) -> None:
    """Copies below the state: made by the user, so that no link leads root away."""
    state = root / "state"
    provide(root, state)
    assert provide(root, state / "backups") == (f"made {state / 'backups'}", "")
    assert of(state / "backups")[0] == OWNER
    (state / "backups").rmdir()
    (state / "backups").symlink_to(root / "etc")
    (root / "etc").mkdir()
    provide(root, state / "backups")
    assert of(root / "etc") == ("root", 0o755)


def test_files_of_root_s_go_where_only_root_writes(root: Path) -> None:
    """A key of TLS is not written where somebody could turn it elsewhere."""
    (root / "tls").mkdir(mode=0o700)
    assert provide(root, root / "tls", "above") == ("", "")
    assert of(root / "tls") == ("root", 0o700)
    give(root / "tls")
    for place in (root / "tls", root / "tls/deeper"):
        assert "others than root write to" in provide(root, place, "above")[1]


NAMES = (
    *(
        "usr/local/bin",
        "opt/pyindex/releases",
        "opt/pyindex/python-0123456789ab/bin",
        "run/pyindex",
    ),
    *(
        "etc/pyindex/client",
        "var/log/pyindex",
        "var/cache/pyindex-debs",
        "srv/packages",
        "var/lib/x",
    ),
)
OURS = (
    *("opt/pyindex/releases/0.1.0-0123456789ab/bin/x", "opt/pyindex/made", "opt/pyindex/served"),
    *("opt/pyindex/started.json", "etc/pyindex/placed.json", "var/log/pyindex/access.log"),
    *(
        "var/log/pyindex/error.log.2.gz",
        "var/log/pyindex/pyindex-watch.log.1",
        "srv/packages/x.whl",
    ),
)


@pytest.fixture
def host(root: Path) -> Path:
    """A host whose files the play has placed and removed, with what it left for this."""
    for name in (*NAMES, *(str(Path(name).parent) for name in OURS)):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in OURS:
        (root / name).touch()
    (root / "opt/pyindex/current").symlink_to("releases/0.1.0-0123456789ab")
    (root / "usr/local/bin/pyindex").symlink_to("/opt/pyindex/current/bin/pyindex")
    (root / "opt/pyindex/made").write_text("/srv/packages\n/var/lib/pyindex\n")
    return root


def uninstall(host: Path, *directories: str) -> str:
    command = ["sh", str(ROLES / "service/files/uninstall.sh"), str(host), *directories]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def files(host: Path) -> set[str]:
    return {str(path.relative_to(host)) for path in host.rglob("*") if not path.is_dir()}


def test_all_of_ours_is_removed(host: Path) -> None:
    """But not package files and catalog, unless that is asked for."""
    assert "left" not in uninstall(host)
    assert files(host) == {"srv/packages/x.whl"}
    assert not any((host / name).exists() for name in ("opt/pyindex", "etc/pyindex", "run/pyindex"))
    assert uninstall(host) == ""


def test_what_is_not_ours_stays(host: Path) -> None:
    """What others put beside it, a program of that name, what a link leads to; all is told."""
    theirs = {
        *("opt/pyindex/notes", "opt/pyindex/releases/mine/x", "opt/pyindex/releases/1.0-zzz/x"),
        *("opt/pyindex/python-mine/x", "etc/pyindex/htpasswd", "etc/pyindex/tls/key.pem"),
        *("var/log/pyindex/mine", "usr/local/bin/pyindex", "elsewhere/x"),
    }
    (host / "usr/local/bin/pyindex").unlink()
    for name in theirs:
        (host / name).parent.mkdir(parents=True, exist_ok=True)
        (host / name).touch()
    (host / "opt/pyindex/releases/2-0123456789ab").symlink_to(host / "elsewhere")
    said = uninstall(host)
    assert files(host) == theirs | {"srv/packages/x.whl"}
    for name in ("opt/pyindex", "etc/pyindex", "var/log/pyindex"):
        assert f"left {host / name}: it has something in it" in said


def test_only_directories_that_the_play_made_are_removed(host: Path) -> None:
    """With `state: /var/lib` that would be much; what was there before the play is told."""
    (host / "var/lib/x/y").touch()
    said = uninstall(host, "/srv/packages", "/var/lib", "/var/lib/pyindex", "/srv")
    assert not (host / "srv/packages").exists()
    assert (host / "var/lib/x/y").exists()
    assert f"removed {host}/srv/packages\n" in said
    assert f"left {host}/var/lib: it was there before the first play\n" in said
    assert f"left {host}/srv: it was there before the first play\n" in said
