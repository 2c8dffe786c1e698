"""APIs other than pages with real clients: search and mirroring."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import requests

from appliance.bundle.takeover import take_over
from appliance.index.names import normalize
from tests.conftest import Lab
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


def test_mirror_of_bandersnatch_is_taken_over(
    server: Server, environments: Environments, tmp_path: Path
) -> None:
    """What bandersnatch has mirrored becomes an index with the same files, times and yanks."""
    environment = environments("bandersnatch")
    config = environment.home / "bandersnatch.conf"
    config.write_text(BANDERSNATCH.format(url=server.url))
    no_proxy = {"http_proxy": "", "https_proxy": ""}
    environment.run("-m", "bandersnatch.main", "--config", config, "mirror", variables=no_proxy)
    (tmp_path / "target").mkdir()
    lab = Lab(tmp_path / "target")
    taken = take_over(lab.spec, lab.index, "bandersnatch", environment.home / "mirror")
    assert taken.messages == []
    keys = ("filename", "hashes", "upload-time", "yanked", "size", "requires-python")
    for project in lab.projects():
        here, there = lab.page(normalize(project)), _page(server, normalize(project))
        assert here is not None
        assert [[file.get(key) for key in keys] for file in here["files"]] == [
            [file.get(key) for key in keys] for file in there["files"]
        ]
    assert lab.projects()


def _page(server: Server, project: str) -> dict[str, Any]:
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    answer = requests.get(f"{server.url}/simple/{project}/", headers=accept, timeout=60)
    page: dict[str, Any] = answer.json()
    return page


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    files = (path for path in paths if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
