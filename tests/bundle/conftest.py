"""Fixtures: two sides of a gap."""

from pathlib import Path

import pytest

from tests.bundle.sides import Sides, sides


@pytest.fixture
def both(tmp_path: Path) -> Sides:
    return sides(tmp_path)
