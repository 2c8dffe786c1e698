"""Rewritten locks, installed by uv and pip from a served index alone."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inputs.fixtures import DATA, UV, make_index
from tests.integration.clients import NEWEST, Environments
from tests.integration.servers import PYINDEX, Server, embedded

pytestmark = pytest.mark.integration


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Server]:
    """A running index with the files of the locks."""
    packages = tmp_path / "packages"
    packages.mkdir()
    make_index(packages)
    with embedded(packages, tmp_path) as server:
        yield server


def project(tmp_path: Path, name: str) -> Path:
    return shutil.copytree(DATA / name, tmp_path / name)


def rewrite(*arguments: str | Path) -> None:
    subprocess.run([PYINDEX, "lock", "rewrite", *arguments], check=True, timeout=60)


def test_uv_syncs_from_rewritten_lock(tmp_path: Path, locked: Server) -> None:
    """uv sync --frozen installs from the index that only the rewritten lock names, and uv lock
    --check accepts that lock."""
    directory = project(tmp_path, "uv")
    rewrite(directory / "uv.lock", "--to", locked.url, *locked.source)

    uv: list[str | Path] = [UV, "--no-config", "--project", directory]
    settings = ["--python", sys.executable, "--no-python-downloads", "--no-cache"]
    run([*uv, "sync", "--frozen", "--extra", "cli", *settings], tmp_path)
    listed = run([UV, "pip", "freeze", "--python", directory / ".venv"], tmp_path)
    assert "rich==14.0.0" in listed
    assert "pytest==9.0.1" in listed
    run([*uv, "lock", "--check", "--default-index", f"{locked.url}/simple/", *settings], tmp_path)


def run(command: list[str | Path], home: Path) -> str:
    """Run a command whose proxy refuses every connection to another machine."""
    refused = "http://127.0.0.1:9"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "http_proxy": refused,
        "https_proxy": refused,
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pip_installs_rewritten_pylock(
    tmp_path: Path, locked: Server, environments: Environments
) -> None:
    """pip installs a rewritten pylock.toml from the index alone."""
    directory = project(tmp_path, "uv")
    rewrite(directory / "pylock.toml", "--to", locked.url)

    pip = environments(NEWEST.name)
    pip.run("-m", "pip", "install", "--no-index", "-r", directory / "pylock.toml")
    assert "pytest==9.0.1" in pip.run("-m", "pip", "freeze")
