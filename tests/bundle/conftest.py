"""Fixtures: two sides of a gap, and a signed bundle."""

import shutil
from pathlib import Path

import pytest

from appliance.bundle.minisign import SUFFIX
from tests.bundle.hostile import Saved
from tests.bundle.sides import SECRET, Sides, seen, sides
from tests.dist import make_wheel


@pytest.fixture
def both(tmp_path: Path) -> Sides:
    return sides(tmp_path)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Sides whose bundle is signed. No test may change the far index, so that all share it."""
    both = sides(tmp_path_factory.mktemp("sides"))
    both.bundle("old.tar", key=SECRET)
    make_wheel(both.near.packages, "p0", "2.0")
    both.bundle(key=SECRET)
    return Saved(both, seen(both.far), both.out.read_bytes())


@pytest.fixture
def stick(saved: Saved, tmp_path: Path) -> Path:
    """Directory of this test, with a copy of the bundle and its signature."""
    shutil.copy2(saved.both.out, tmp_path)
    shutil.copy2(f"{saved.both.out}{SUFFIX}", tmp_path)
    return tmp_path
