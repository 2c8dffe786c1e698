"""The clients are shut off, or the other tests would show nothing."""

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
def test_nothing_else_is_reachable(client: str, scheme: str, environments: Environments) -> None:
    """Whatever is not on this machine is asked for at a port that refuses."""
    output = environments(client).run("-c", OPEN.format(scheme=scheme), code=1)
    assert "Connection refused" in output


@pytest.mark.parametrize("client", ["pip-18.1-py2.7", NEWEST.name])
def test_no_settings_of_this_machine(
    client: str, environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip has no settings but the tests'."""
    monkeypatch.setenv("PIP_FIND_LINKS", "/opt/wheels")
    listed = environments(client).run("-m", "pip", "config", "list").split()
    assert sorted(listed) == [
        ":env:.config-file='/dev/null'",
        ":env:.disable-pip-version-check='1'",
        ":env:.trusted-host='127.0.0.1'",
    ]
