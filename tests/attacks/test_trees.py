"""Hostile trees and replaced files in a packages directory: the index reveals nothing."""

import http.client
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.attacks.target import SECRET, Target, before, stays_up
from tests.attacks.trees import SWAPS, TREES, WHEEL, Swap, Tree
from tests.conftest import eventually
from tests.dist import make_wheel

pytestmark = pytest.mark.integration
ROOT = os.geteuid() == 0


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_index_survives_hostile_tree(attacked: Target, tree: Tree) -> None:
    """The watcher rejects what cannot be served in a hostile tree and continues to work."""
    if tree.root and not ROOT:
        pytest.skip("only root can make it")
    since = before(attacked)
    tree.do(attacked.packages, attacked.outside)
    try:
        stays_up(attacked, since)
        for path, reason in tree.refused.items():
            eventually(partial(is_rejected, attacked, path, reason))
        for path in tree.served:
            eventually(partial(attacked.serves, attacked.packages / path))
        assert attacked.get(f"/packages/secret{WHEEL}").status == 404
    finally:
        attacked.clear()


def is_rejected(attacked: Target, path: str, reason: str) -> bool:
    return reason in attacked.refused().get(path, "not refused")


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.name)
def test_replaced_file_reveals_nothing(attacked: Target, swap: Swap) -> None:
    """The server sends no bytes from outside for a replaced file and serves the restored one."""
    if swap.root and not ROOT:
        pytest.skip("only root can make it")
    since = before(attacked)
    victim, url = attacked.packages / "sub" / f"victim{WHEEL}", f"/packages/sub/victim{WHEEL}"
    victim.parent.mkdir()
    made = make_wheel(victim.parent, "victim", "1.0")
    content = made.read_bytes()
    try:
        eventually(lambda: attacked.serves(victim))
        swap.do(victim, attacked.outside)

        eventually(partial(is_unpublished, attacked, url, swap))
        stays_up(attacked, since)
        restore(victim, content)
        eventually(lambda: attacked.serves(victim))
    finally:
        attacked.clear()
        for leftover in (attacked.outside / victim.name, attacked.outside.parent / "made"):
            leftover.unlink(missing_ok=True)
    eventually(lambda: not attacked.page("victim"))


def is_unpublished(attacked: Target, url: str, swap: Swap) -> bool:
    """Return whether page and file are unpublished; fail if an answer has outside content."""
    try:
        answers = [attacked.get(url), attacked.get(f"{url}.metadata")]
    except http.client.IncompleteRead:
        return False  # the file was overwritten while it was sent
    for answer in answers:
        assert SECRET not in answer.body
        assert answer.status < 500 or answer.status == 503
    return not swap.gone or (not attacked.page("victim") and answers[0].status == 404)


def restore(victim: Path, content: bytes) -> None:
    """Write the original file to its path."""
    if victim.parent.is_symlink():
        victim.parent.unlink()
        victim.parent.mkdir()
    if victim.is_dir() and not victim.is_symlink():
        victim.rmdir()
    victim.unlink(missing_ok=True)
    wheel = make_wheel(victim.parent, "victim", "1.0")
    assert wheel.read_bytes() == content


def test_moved_file_is_served_at_new_path(attacked: Target) -> None:
    """The watcher publishes a moved file at its new path."""
    since = before(attacked)
    try:
        wheel = make_wheel(attacked.packages, "moved", "1.0")
        eventually(lambda: attacked.serves(wheel))
        for directory in ("one", "two/deep"):
            (attacked.packages / directory).mkdir(parents=True)
            wheel = wheel.rename(attacked.packages / directory / wheel.name)
            eventually(partial(is_at, attacked, wheel))
        stays_up(attacked, since)
    finally:
        attacked.clear()


def is_at(attacked: Target, wheel: Path) -> bool:
    """Return whether the page links to the file's path and the server sends it there."""
    url, _ = attacked.page("moved").get(wheel.name, ("", ""))
    path = wheel.relative_to(attacked.packages).as_posix()
    return url == f"/packages/{path}" and attacked.serves(wheel)


def test_second_hard_link_is_served(attacked: Target) -> None:
    """The watcher serves the second of two hard links after the first was removed."""
    since = before(attacked)
    try:
        wheel = make_wheel(attacked.packages, "linked", "1.0")
        (attacked.packages / "again").mkdir()
        other = attacked.packages / "again" / wheel.name
        other.hardlink_to(wheel)
        eventually(lambda: attacked.serves(wheel))
        eventually(lambda: sum(is_duplicate(attacked, each) for each in (wheel, other)) == 1)
        served, kept = (wheel, other) if is_duplicate(attacked, other) else (other, wheel)
        served.unlink()
        eventually(lambda: attacked.serves(kept))
        stays_up(attacked, since)
    finally:
        attacked.clear()


def is_duplicate(attacked: Target, path: Path) -> bool:
    return path.relative_to(attacked.packages).as_posix() in attacked.refused()


@pytest.fixture
def mounted(attacked: Target) -> Path:
    """Subdirectory of the packages directory with a file system of its own."""
    disk = attacked.packages / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        disk.rmdir()
        pytest.skip("needs the right to mount a tmpfs")
    return disk


def test_unmounted_disk_keeps_projects(attacked: Target, mounted: Path) -> None:
    """The pages keep files of an unmounted disk, which are served when it is mounted again."""
    since = before(attacked)
    kept = attacked.directory.parent / "kept"
    try:
        wheel = make_wheel(mounted, "ondisk", "1.0")
        shutil.copy2(wheel, kept)
        eventually(lambda: attacked.serves(wheel))
        eventually(lambda: subprocess.run(["umount", mounted], check=False).returncode == 0)
        eventually(lambda: attacked.commands.run("status", *attacked.server.source).code == 1)
        stays_up(attacked, since)
        assert wheel.name in attacked.page("ondisk")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", mounted], check=True)
        shutil.copy2(kept, wheel)
        eventually(lambda: attacked.serves(wheel))
        stays_up(attacked, since)
    finally:
        kept.unlink(missing_ok=True)
        subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)
        attacked.clear()
