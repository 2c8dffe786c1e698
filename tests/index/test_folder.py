"""The packages directory: what may be opened in it."""

import os
from pathlib import Path

import pytest

from appliance.index.folder import open_beneath


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
def test_what_lies_in_the_directory_is_opened(root: Path, path: str, content: str) -> None:
    """A file, and a link that stays inside, in any directory."""
    with os.fdopen(open_beneath(str(root), path)) as file:
        assert file.read() == content


@pytest.mark.parametrize(
    "path", ["outside", "elsewhere/secret", "loop", "loop/a", "absent", "a/b", "sub/absent"]
)
def test_nothing_else_is_opened(root: Path, path: str) -> None:
    """A link that leads out, whichever step of the path it is, and what is not there."""
    with pytest.raises(OSError, match=r"Errno (2|20|40)\b"):
        os.close(open_beneath(str(root), path))
