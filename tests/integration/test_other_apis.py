"""What clients ask an index for besides its pages: a search, a mirror of all of it."""

import hashlib

import pytest

from .clients import NEWEST, Environments
from .servers import Server

pytestmark = pytest.mark.integration

BANDERSNATCH = """
[mirror]
master = {url}
allow-non-https = true
directory = mirror
json = true
workers = 2
hash-index = false
stop-on-error = true
"""


@pytest.mark.parametrize("client", ["pip-18.1-py2.7", NEWEST.name])
@pytest.mark.parametrize("endpoint", ["/pypi", "/RPC2", ""])
def test_pip_search(
    client: str, endpoint: str, server: Server, environments: Environments
) -> None:
    """``pip search`` finds a project by a word of its summary."""
    search = ("-m", "pip", "search", "--index", f"{server.url}{endpoint}")
    output = environments(client).run(*search, "fortnight")
    assert [line.split(" - ") for line in output.splitlines()] == [
        ["demo (1.1)".ljust(len(output.partition(" - ")[0])), "Shows what a fortnight is"]
    ]


def test_pip_search_in_vain(server: Server, environments: Environments) -> None:
    """pip says so, by its exit code, when nothing is found."""
    search = ("-m", "pip", "search", "--index", f"{server.url}/pypi")
    environments(NEWEST.name).run(*search, "no-such-thing", code=23)


def test_bandersnatch(server: Server, environments: Environments) -> None:
    """bandersnatch mirrors every file."""
    environment = environments("bandersnatch")
    config = environment.home / "bandersnatch.conf"
    config.write_text(BANDERSNATCH.format(url=server.url))
    environment.run("-m", "bandersnatch.main", "--config", config, "mirror")
    files = {path.name: path for path in environment.home.glob("mirror/web/packages/**/*.whl")}
    ...
