"""The packages directory: opening files, and paths in it."""

import os
from pathlib import Path

import pytest

from appliance.incoming.beneath import open_beneath
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import is_entered


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "packages"
    (root / "sub" / "deep").mkdir(parents=True)
    for place in (root / "a", root / "sub" / "deep" / "b", tmp_path / "secret"):
        place.write_text(place.name)
    (root / "inside").symlink_to("sub/deep/b")
    (root / "sub" / "up").symlink_to("../a")
    (root / "directory").symlink_to("sub")
    (root / "outside").symlink_to(tmp_path / "secret")
    (root / "elsewhere").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    return root


@pytest.mark.parametrize(
    ("path", "content"),
    [("a", "a"), ("sub/deep/b", "b"), ("inside", "b"), ("sub/up", "a"), ("directory/deep/b", "b")],
)
def test_open_beneath_opens_files_inside(root: Path, path: str, content: str) -> None:
    """A file, and a symbolic link that stays inside, are opened in any directory."""
    with os.fdopen(open_beneath(str(root), path)) as file:
        assert file.read() == content


@pytest.mark.parametrize(
    "path", ["outside", "elsewhere/secret", "loop", "loop/a", "absent", "a/b", "sub/absent"]
)
def test_open_beneath_opens_nothing_outside(root: Path, path: str) -> None:
    """A symbolic link that leads out is not opened, at whichever component of the path."""
    with pytest.raises(OSError, match=r"Errno (2|20|40)\b"):
        os.close(open_beneath(str(root), path))


RELATIVE = [
    ("a/b.whl", "a/b.whl"),
    ("", ""),
    ("a/.b/c", None),
    ("../packages2/a", None),
    ("a/caf\udce9.whl", "a"),
    ("a/b\n/c/d.whl", "a"),
    ("caf\udce9", ""),
]


@pytest.mark.parametrize(("path", "relative"), RELATIVE)
def test_relative_path_of_absolute_one(root: Path, path: str, relative: str | None) -> None:
    """An absolute path gives a relative one; with an unprintable name, that of the directory
    above."""
    assert PackagesDirectory(root).relative(f"{root}/{path}") == relative


ENTERED = ["a", "a/b c", "ünder", "readme", "a/x.tar"]
NOT_ENTERED = [".a", "a/.b", "lost+found", "a/@eaDir", "x.whl", "a/x.tar.gz", "a\nb", "caf\udce9"]
NOT_ENTERED += ["a\\b", "d/" * 600]


def test_is_entered_agrees_with_walk(tmp_path: Path) -> None:
    """A walk enters the directories that is_entered permits by their paths."""
    assert [path for path in (*ENTERED, *NOT_ENTERED) if is_entered(path)] == ENTERED
    for path in (*ENTERED, *NOT_ENTERED[:-1]):
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        (tmp_path / path / "file").touch()
    walked = [entry.path for entry in PackagesDirectory(tmp_path).walk() if entry.problem is None]
    assert sorted(walked) == sorted(f"{path}/file" for path in ENTERED)
