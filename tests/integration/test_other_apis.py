"""What clients ask an index for besides its pages: a search, a mirror of all of it."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.integration.clients import NEWEST, Environments
from tests.integration.projects import SUMMARY
from tests.integration.servers import Server

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
def test_pip_search(client: str, endpoint: str, server: Server, environments: Environments) -> None:
    """``pip search`` finds a project by a word of its summary."""
    search = ("-m", "pip", "search", "--index", f"{server.url}{endpoint}")
    output = environments(client).run(*search, "fortnight")
    assert re.fullmatch(rf"demo \(1\.1\) +- {SUMMARY}\n", output)


def test_pip_search_in_vain(server: Server, environments: Environments) -> None:
    """pip says so, by its exit code, when nothing is found."""
    search = ("-m", "pip", "search", "--index", f"{server.url}/pypi")
    environments(NEWEST.name).run(*search, "no-such-thing", code=23)


def test_bandersnatch(server: Server, environments: Environments) -> None:
    """bandersnatch mirrors every file."""
    environment = environments("bandersnatch")
    config = environment.home / "bandersnatch.conf"
    config.write_text(BANDERSNATCH.format(url=server.url))
    # It would send even what is on this machine through a proxy; it knows of no other index anyway.
    no_proxy = {"http_proxy": "", "https_proxy": ""}
    environment.run("-m", "bandersnatch.main", "--config", config, "mirror", variables=no_proxy)
    mirrored = (environment.home / "mirror" / "web" / "packages").rglob("*")
    assert _contents(mirrored) == _contents(server.packages.iterdir())


def _contents(paths: Iterable[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths if path.is_file()}
