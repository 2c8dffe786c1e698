"""APIs other than pages with real clients: search and mirroring."""

import hashlib
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
def test_pip_search_finds_summary(
    client: str, endpoint: str, server: Server, environments: Environments
) -> None:
    """`pip search` finds a project by a word of its summary."""
    search = ("-m", "pip", "search", "--index", f"{server.url}{endpoint}")
    output = environments(client).run(*search, "fortnight")
    assert re.fullmatch(rf"demo \(1\.1\) +- {SUMMARY}\n", output)


def test_pip_search_without_results(server: Server, environments: Environments) -> None:
    """`pip search` exits with 23 if no project matches."""
    search = ("-m", "pip", "search", "--index", f"{server.url}/pypi")
    environments(NEWEST.name).run(*search, "no-such-thing", code=23)


def test_bandersnatch_mirrors_all_files(server: Server, environments: Environments) -> None:
    """bandersnatch mirrors every file and the metadata of every wheel."""
    environment = environments("bandersnatch")
    config = environment.home / "bandersnatch.conf"
    config.write_text(BANDERSNATCH.format(url=server.url))
    # bandersnatch uses the proxy even for this machine; its configuration has no other index.
    no_proxy = {"http_proxy": "", "https_proxy": ""}
    environment.run("-m", "bandersnatch.main", "--config", config, "mirror", variables=no_proxy)
    mirrored = _digests((environment.home / "mirror" / "web" / "packages").rglob("*"))
    original = _digests(server.packages.iterdir())
    assert {name: mirrored.get(name) for name in original} == original
    wheels = [name for name in original if name.endswith(".whl")]
    assert mirrored.keys() - original.keys() == {f"{name}.metadata" for name in wheels}


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    files = (path for path in paths if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
