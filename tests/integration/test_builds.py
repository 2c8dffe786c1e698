"""Builds of an sdist by real clients, from an index that has only what mirror took."""

from pathlib import Path

import pytest

from appliance.cli import main
from tests.integration.clients import NEWEST, Environments
from tests.integration.installers import install
from tests.integration.servers import embedded

pytestmark = pytest.mark.integration

BUILDERS = ["pip-23.2.1-py3.11", NEWEST.name, "uv"]


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages directory into which an sdist without pyproject.toml was mirrored."""
    packages = tmp_path_factory.mktemp("mirrored")
    targets = [f"--target=cp{python}-manylinux_2_28_x86_64" for python in ("311", "313")]
    state = packages.with_name("state-of-mirrored")
    words = ["mirror", "docopt==0.6.2", "-d", str(packages), "--state", str(state)]
    assert main([*words, *targets]) == 0
    return packages


@pytest.mark.parametrize("client", BUILDERS)
def test_sdist_without_build_system_installs(
    client: str, mirrored: Path, environments: Environments, tmp_path: Path
) -> None:
    """pip 23.1 to 23.3 need wheel beside the setuptools that is the default of PEP 518."""
    with embedded(mirrored, tmp_path) as server:
        installed = install(client, environments(client), f"{server.url}/simple/", "docopt")
    assert installed.versions("docopt") == ["0.6.2"]
