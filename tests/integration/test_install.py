"""Installation with every supported client."""

import pytest

from tests.integration.clients import CLIENTS, Environments
from tests.integration.installers import install
from tests.integration.servers import Server

pytestmark = pytest.mark.integration

# PDM installs into a project: see test_client_settings.py.
INSTALLERS = [
    name for name in CLIENTS if name.startswith(("pip-", "easy_install-", "uv", "poetry"))
]


@pytest.mark.parametrize("client", INSTALLERS)
def test_client_installs_newest_release_with_dependency(
    client: str, server: Server, environments: Environments
) -> None:
    """A client installs the newest release with the newest matching release of its dependency."""
    installed = install(client, environments(client), f"{server.url}/simple/", "demo")
    assert installed.versions("demo", "demo_base") == ["1.1", "1.5"]


@pytest.mark.parametrize(
    "client", ["pip-8.1.2-py2.7", "pip-18.1-py2.7", "easy_install-py2.7", "pip-21.3.1-py3.6"]
)
def test_client_installs_sdist(client: str, server: Server, environments: Environments) -> None:
    """A client builds and installs an sdist with an old file name, with its dependency."""
    installed = install(client, environments(client), f"{server.url}/simple/", "Old.Sdist")
    assert installed.versions("old_sdist", "demo_base") == ["1.0", "1.5"]
