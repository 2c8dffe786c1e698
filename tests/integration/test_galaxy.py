"""The pinned packages of Galaxy 18.05 for Python 2.7, installed on a host without network."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clients import (
    CACHE,
    CLIENTS,
    Environment,
    Environments,
    build,
    build_step,
    locked,
)
from tests.integration.galaxy import CLIENT, LIST, PINS, digests, missing, without_compiler
from tests.integration.servers import Server, embedded

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def upstream_files() -> Path:
    """Directory of the pinned files, fetched once by pip with this machine's settings."""
    directory = CACHE / "galaxy-18.05-py27"
    with locked(directory.with_name(f"{directory.name}.lock")):
        if not directory.exists():
            python = build(CLIENTS[CLIENT]) / "bin" / "python"
            unfinished = directory.with_name(f"{directory.name}.part")
            shutil.rmtree(unfinished, ignore_errors=True)
            build_step(
                *(str(python), "-m", "pip", "download", "--no-deps"),
                *("--requirement", str(LIST), "--dest", str(unfinished)),
            )
            unfinished.rename(directory)
    return directory


@pytest.fixture(scope="module")
def galaxy_server(
    upstream_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`pyindex serve` on the directory of pinned files."""
    with embedded(upstream_files, tmp_path_factory.mktemp("galaxy")) as server:
        yield server


def test_pip_downloads_every_pin(
    galaxy_server: Server, upstream_files: Path, environments: Environments
) -> None:
    """pip 18.1 downloads all 62 pinned files from the index, each with upstream's digest."""
    environment = _environment(environments, galaxy_server)
    environment.run(
        *("-m", "pip", "download", "--no-deps", "--requirement", LIST, "--dest", "files"),
        *("--index-url", f"{galaxy_server.url}/simple/"),
    )
    downloaded = digests(environment.home / "files")
    assert len(PINS) == len(downloaded) == 62
    assert downloaded == digests(upstream_files)


def test_pip_installs_wheels_and_pure_sdists(
    galaxy_server: Server, upstream_files: Path, environments: Environments
) -> None:
    """pip installs every wheel, and every sdist without compiled code, from the index."""
    pins = without_compiler(upstream_files)
    environment = _environment(environments, galaxy_server)
    environment.run(
        *("-m", "pip", "install", "--no-deps", "--index-url", f"{galaxy_server.url}/simple/"),
        *map(str, pins),
    )
    assert len(pins) == 53
    assert missing(pins, environment.run("-m", "pip", "freeze", "--all")) == set()


def _environment(environments: Environments, server: Server) -> Environment:
    """Return a client whose setup scripts get requirements from *server* (bx-python does)."""
    environment = environments(CLIENT)
    settings = f"[easy_install]\nindex_url = {server.url}/simple/\n"
    (environment.home / ".pydistutils.cfg").write_text(settings)
    return environment
