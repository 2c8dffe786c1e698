"""Downloads of files by clients: with hashes, in ranges, and after a broken connection."""

import hashlib

import pytest

from tests.integration.clients import NEWEST, Environment, Environments
from tests.integration.servers import Server
from tests.integration.taps import tapped

pytestmark = pytest.mark.integration

LARGE = "large-1.0-py2.py3-none-any.whl"
HASHING = ["pip-8.1.2-py2.7", "pip-18.1-py2.7", "pip-21.3.1-py3.6", NEWEST.name]


@pytest.mark.parametrize("client", HASHING)
def test_pip_accepts_required_hash(client: str, server: Server, environments: Environments) -> None:
    """pip downloads a file with the required hash."""
    environment = environments(client)
    original = (server.packages / LARGE).read_bytes()
    _download_pinned(environment, server, hashlib.sha256(original).hexdigest())
    assert (environment.home / LARGE).read_bytes() == original


@pytest.mark.parametrize("client", HASHING)
def test_pip_rejects_wrong_hash(client: str, server: Server, environments: Environments) -> None:
    """pip rejects a file with another hash than required."""
    environment = environments(client)
    output = _download_pinned(environment, server, "0" * 64, code=1)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in output
    assert not (environment.home / LARGE).exists()


def test_pip_resumes_download(server: Server, environments: Environments) -> None:
    """pip resumes a download that is cut off twice."""
    environment = environments(NEWEST.name)
    with tapped(server.port, cut_after=1_000_000, cuts=2) as tap:
        environment.run(
            *("-m", "pip", "download", "--resume-retries", "5"),
            *("--index-url", f"{tap.url}/simple/", "large"),
        )
    ranges = [request.headers.get("range", "") for request in tap.asked(".whl")]
    starts = [int(text.removeprefix("bytes=").removesuffix("-")) for text in ranges if text]
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1]
    assert (environment.home / LARGE).read_bytes() == (server.packages / LARGE).read_bytes()


def test_pip_reads_metadata_in_ranges(server: Server, environments: Environments) -> None:
    """pip reads a wheel's metadata in ranges before it downloads the complete file."""
    environment = environments("pip-22.3.1-py3.11")
    with tapped(server.port) as tap:
        environment.run(
            *("-m", "pip", "install", "--use-feature=fast-deps"),
            *("--index-url", f"{tap.url}/simple/", "large"),
        )
    methods = [request.method for request in tap.asked(".whl")]
    ranged = ["range" in request.headers for request in tap.asked(".whl")]
    assert methods[:2] == ["HEAD", "GET"]
    assert ranged[:2] == [False, True]
    assert environment.versions("large") == ["1.0"]


def _download_pinned(environment: Environment, server: Server, digest: str, code: int = 0) -> str:
    requirements = environment.home / "requirements.txt"
    requirements.write_text(f"large==1.0 --hash=sha256:{digest}\n")
    return environment.run(
        *("-m", "pip", "download", "--no-deps", "--require-hashes"),
        *("--index-url", f"{server.url}/simple/", "-r", requirements),
        code=code,
    )
