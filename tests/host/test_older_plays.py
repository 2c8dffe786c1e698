"""A host that an older play has set up is taken over, rolled back and removed."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.host import HostPaths, apply, remove, rollback
from tests.host.hosts import (
    FIRST,
    GROUP,
    SECOND,
    SERVICE,
    SITE,
    SOCKET,
    SYSTEMD,
    THIRD,
    USER,
    links,
    load,
    new_host,
    placed,
    render,
    run,
)

RECORDS = ("etc/pyindex/placed.json", "opt/pyindex/started.json", "opt/pyindex/served")
OTHER = "/etc/systemd/system/pyindex-other.service"
OLD = SYSTEMD | {SITE: "server { listen 80; }\n", OTHER: "[Service]\n"}
OLDER = SYSTEMD | {SITE: "server { listen 81; }\n"}


@pytest.fixture
def host(tmp_path: Path) -> HostPaths:
    """A host on which an older play switched from the first release to the second."""
    host = new_host(tmp_path, FIRST, SECOND, THIRD)
    older_play(host, SECOND, FIRST)
    keep_settings(host.releases / FIRST, OLDER)
    return host


def older_play(host: HostPaths, current: str, previous: str) -> None:
    """Files and records as an older play leaves them."""
    for path, content in OLD.items():
        host.of(path).parent.mkdir(parents=True, exist_ok=True)
        host.of(path).write_text(content)
    for name, release in (("current", current), ("previous", previous)):
        (host.opt / name).unlink(missing_ok=True)
        (host.opt / name).symlink_to(f"/opt/pyindex/releases/{release}")
    (host.root / RECORDS[0]).write_text(json.dumps(list(OLD)))
    started = {"release": current, "files": "f", "socket": sha256("[Socket]")}
    (host.root / RECORDS[1]).write_text(json.dumps(started))
    (host.root / RECORDS[2]).write_text("s")


def keep_settings(release: Path, contents: Mapping[str, str]) -> None:
    """``settings.tar``, as older plays stored the files of a release."""
    with tarfile.open(release / "settings.tar", "w") as archive:
        for name, content in (*contents.items(), ("/opt/pyindex/served", "s")):
            member = tarfile.TarInfo(name.lstrip("/"))
            member.size, member.mode, member.uname, member.gname = len(content), 0o644, USER, GROUP
            archive.addfile(member, io.BytesIO(content.encode()))


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_apply_takes_over_the_records(host: HostPaths) -> None:
    """One record replaces three files, and files that only the older play placed are removed."""
    change = run(host, THIRD)
    assert (links(host), placed(host)) == ((THIRD, SECOND), SYSTEMD)
    assert (change.removed, change.units) == ([OTHER], ["pyindex-other.service"])
    assert not any((host.root / path).exists() for path in RECORDS)
    assert host.state.exists()


# (content of the socket unit, whether the socket must be closed)
SOCKETS = [("# new head\n[Socket]\n", False), ("# head\n[Socket]\nBacklog=7\n", True)]


@pytest.mark.parametrize(("content", "is_closed"), SOCKETS)
def test_the_socket_that_an_older_play_opened_is_known(
    host: HostPaths, content: str, is_closed: bool
) -> None:
    """An upgrade keeps it open unless its unit differs."""
    run(host, THIRD, SYSTEMD | {SOCKET: content})
    stop = "systemctl stop pyindex.service pyindex.socket"
    assert (stop in load(host, "service")) is is_closed


def test_what_an_older_play_has_loaded_is_known(host: HostPaths) -> None:
    """The same release with the same files needs no restart."""
    older_play(host, SECOND, FIRST)
    directory = render(host.opt / "rendered", OLD)
    service = "".join(sha256(OLD[path]) for path in OLD if path != SITE and "tmpfiles" not in path)
    started = {"release": SECOND, "files": sha256(service), "socket": ""}
    (host.root / RECORDS[1]).write_text(json.dumps(started))
    (host.root / RECORDS[2]).write_text(sha256(sha256(OLD[SITE])))
    for path in OLD:
        host.of(path).chmod(0o640 if path.endswith("pyindex.yml") else 0o644)
    assert apply(host, directory, SECOND).pending == ["base"]


def test_rollback_leads_to_the_release_of_an_older_play(host: HostPaths) -> None:
    """With the files that were placed when it ran."""
    run(host, THIRD)
    rollback(host)
    assert (links(host), placed(host)) == ((SECOND, THIRD), OLD)


def test_rollback_reads_the_settings_of_an_older_play(host: HostPaths) -> None:
    """A release that an older play left has its files in an archive."""
    change = rollback(host)
    assert links(host) == (FIRST, SECOND)
    assert placed(host) == OLDER
    assert change.removed == [OTHER]
    rollback(host)
    assert placed(host) == OLD


def test_an_older_play_in_between_is_taken_over_again(host: HostPaths) -> None:
    """Its records are newer than ours."""
    run(host, THIRD)
    load(host)
    older_play(host, FIRST, THIRD)
    change = run(host, SECOND)
    assert (links(host), placed(host)) == ((SECOND, FIRST), SYSTEMD)
    assert "service" in change.pending
    assert change.removed == [OTHER]


def test_remove_knows_the_files_of_an_older_play(host: HostPaths) -> None:
    """Without an apply before."""
    removal = remove(host)
    assert placed(host) == {}
    assert set(OLD) | {f"/{path}" for path in RECORDS} <= set(removal.removed)
    assert not host.of("/opt/pyindex").exists()
    assert SERVICE in removal.removed
