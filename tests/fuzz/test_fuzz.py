"""Inputs of the fuzzer: valid ones, those that once failed, and a few thousand of its own."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import failed, seeds
from tests.fuzz.subjects import SUBJECTS

ROOT = Path(__file__).parents[2]
FAILED = [(subject, path) for subject in SUBJECTS for path in failed(subject)]


@pytest.mark.parametrize(
    ("subject", "path"), FAILED, ids=lambda value: getattr(value, "name", value)
)
def test_input_that_once_failed_holds(subject: str, path: Path) -> None:
    """What must always hold holds for an input for which it once did not."""
    SUBJECTS[subject](path.read_bytes())


@pytest.mark.parametrize("subject", SUBJECTS)
def test_valid_inputs_hold(subject: str) -> None:
    """What must always hold holds for the valid inputs from which the fuzzer starts."""
    for data in seeds(subject):
        SUBJECTS[subject](data)


@pytest.mark.integration
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris has no wheel here")
def test_fuzzer_finds_nothing(tmp_path: Path) -> None:
    """The fuzzer finds no input for which what must always hold does not, in a few runs."""
    command = [sys.executable, "-m", "tests.fuzz", str(tmp_path), "-runs=1500", "-seed=1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {path.name: path.read_bytes() for path in tmp_path.glob("*-*")}
    assert (run.returncode, found) == (0, {}), run.stderr[-3000:]
