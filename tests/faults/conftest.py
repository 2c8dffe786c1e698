"""Fixtures for faults: benches, and a check whether strace works."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.faults.labs import Bench, benches


@pytest.fixture(scope="session")
def strace() -> None:
    """Skip the test where processes cannot be traced, as in some containers."""
    tried = subprocess.run(["strace", "true"], check=False, capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"strace true: {tried.stderr.strip()}")


@pytest.fixture(scope="module")
def workplaces(strace: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Bench]]:
    """Bench for each core, shared by the tests of a module in turn."""
    with benches(tmp_path_factory.mktemp("benches")) as ready:
        yield ready
