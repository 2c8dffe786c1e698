"""Isolation of the clients, on which the other tests rely."""

import pytest

from tests.integration.clients import NEWEST, Environments

pytestmark = pytest.mark.integration

OPEN = """
try:
    from urllib.request import urlopen
except ImportError:
    from urllib2 import urlopen
urlopen("{scheme}://index.invalid/")
"""


@pytest.mark.parametrize("client", ["pip-18.1-py2.7", NEWEST.name])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_client_reaches_only_this_machine(
    client: str, scheme: str, environments: Environments
) -> None:
    """A client reaches no other machine, because its proxy refuses connections."""
    output = environments(client).run("-c", OPEN.format(scheme=scheme), code=1)
    assert "Connection refused" in output


@pytest.mark.parametrize("client", ["pip-18.1-py2.7", NEWEST.name])
def test_client_ignores_settings_of_machine(
    client: str, environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip has no settings but those of the tests."""
    monkeypatch.setenv("PIP_FIND_LINKS", "/opt/wheels")
    listed = environments(client).run("-m", "pip", "config", "list").split()
    assert sorted(listed) == [
        ":env:.config-file='/dev/null'",
        ":env:.disable-pip-version-check='1'",
        ":env:.trusted-host='127.0.0.1'",
    ]
