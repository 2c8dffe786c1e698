"""Removal of the appliance: its own files, and nothing of other programs."""

from pathlib import Path

import pytest

from appliance.host import HostPaths, remove
from tests.host.hosts import FIRST, SYSTEMD, new_host, run, tree

PACKAGES, STATE = "/srv/packages", "/var/lib/pyindex"
CREATED = (
    *("opt/pyindex/python-0123456789ab/bin/python", "run/pyindex/pyindex.sock"),
    *("var/log/pyindex/access.log", "var/log/pyindex/error.log.2.gz"),
    *("var/log/pyindex/pyindex-watch.log.1", "var/cache/pyindex-debs/nginx.deb"),
    "srv/packages/x.whl",
)


@pytest.fixture
def host(tmp_path: Path) -> HostPaths:
    """A host with a release, logs and caches."""
    host = new_host(tmp_path, FIRST)
    run(host, FIRST)
    touch(host, *CREATED)
    (host.opt / "made").write_text(f"{PACKAGES}\n{STATE}\n")
    return host


def touch(host: HostPaths, *names: str) -> None:
    for name in names:
        (host.root / name).parent.mkdir(parents=True, exist_ok=True)
        (host.root / name).touch()


def test_remove_deletes_everything_but_data(host: HostPaths) -> None:
    """Package files and catalog stay; a second removal finds nothing."""
    removal = remove(host)
    assert set(tree(host)) == {"srv/packages/x.whl"}
    assert set(SYSTEMD) | {f"/opt/pyindex/releases/{FIRST}"} <= set(removal.removed)
    assert removal.remaining == {}
    assert not any(
        host.of(path).exists() for path in ("/opt/pyindex", "/etc/pyindex", "/run/pyindex")
    )
    assert (remove(host).changed, remove(host).removed) == (False, [])


def test_dry_run_removes_nothing(host: HostPaths) -> None:
    """It names the paths that a removal would delete."""
    before = tree(host)
    planned = remove(host, [PACKAGES], dry_run=True)
    assert tree(host) == before
    assert planned.removed == remove(host, [PACKAGES]).removed


def test_files_of_other_programs_stay(host: HostPaths) -> None:
    """Beside the appliance's own, behind links, under its command's name; removal reports them."""
    others = {
        *("opt/pyindex/notes", "opt/pyindex/releases/mine/x", "opt/pyindex/releases/1.0-zzz/x"),
        *("opt/pyindex/python-mine/x", "etc/pyindex/htpasswd", "etc/pyindex/tls/key.pem"),
        *("var/log/pyindex/mine", "usr/local/bin/pyindex", "elsewhere/x"),
    }
    (host.root / "usr/local/bin/pyindex").unlink()
    touch(host, *others)
    (host.releases / "2-0123456789ab").symlink_to(host.root / "elsewhere")
    removal = remove(host)
    assert set(tree(host)) == others | {"srv/packages/x.whl"}
    for path in ("/opt/pyindex", "/etc/pyindex", "/var/log/pyindex"):
        assert removal.remaining[path] == "contains files of other programs"


def test_only_data_that_a_play_created_is_removed(host: HostPaths) -> None:
    """A state directory of /var/lib would be much: it was not created by a play."""
    touch(host, "var/lib/x/y")
    removal = remove(host, [PACKAGES, "/var/lib", STATE, "/srv"])
    assert not host.of(PACKAGES).exists()
    assert host.of("/var/lib/x/y").exists()
    assert PACKAGES in removal.removed
    assert removal.remaining == {
        "/var/lib": "not created by a play",
        "/srv": "not created by a play",
    }
