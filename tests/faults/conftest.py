"""Benches for faults, and whether strace may trace here."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.faults.labs import Bench, benches


@pytest.fixture(scope="session")
def strace() -> None:
    """Skips where no process may be traced, which is so in some containers."""
    tried = subprocess.run(["strace", "true"], check=False, capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"strace true: {tried.stderr.strip()}")


@pytest.fixture(scope="module")
def workplaces(strace: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Bench]]:
    """A bench for each core; tests of a module use them in turn."""
    with benches(tmp_path_factory.mktemp("benches")) as found:
        yield found
