"""HTTPS upstreams with a certificate of a private CA, also through a proxy with a login."""

import asyncio
import base64
import os
import ssl
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import PyindexError
from appliance.spec import Upstream
from appliance.upstream import Client, Upstreams, choose, fetch, uv_environment
from tests.dist import make_wheel
from tests.nginx.certificates import certificate, needs_openssl
from tests.upstream.conftest import LIMITS
from tests.upstream.faulty import Faulty, page, serving, whole
from tests.upstream.proxies import Proxy, proxying
from tests.upstream.test_configuration import spec
from tests.upstream.test_environment import UV

pytestmark = [needs_openssl, pytest.mark.integration]
LOGIN = "Basic " + base64.b64encode(b"bob:s3:cret@").decode()
CLIENTS = ["pyindex", "uv"]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
def secure(tls: Mapping[str, str], tmp_path: Path) -> Iterator[Faulty]:
    """An index with foo 1.0, whose certificate is of a private CA."""
    wheel = make_wheel(tmp_path, "foo", "1.0")
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read("foo-1.0.dist-info/METADATA")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls["certificate"], tls["key"])
    with serving(tls=context) as server:
        server.behaviors |= {
            "/simple/foo/": page(f'<a href="/{wheel.name}" data-core-metadata="true">'),
            f"/{wheel.name}.metadata": whole(metadata),
            f"/{wheel.name}": whole(wheel.read_bytes()),
        }
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxying(LOGIN) as running:
        yield running


def collect(client: str, upstreams: Upstreams, directory: Path) -> str:
    """Have a client find foo; return its output, with an error's text."""
    if client == "pyindex":
        return _fetch(upstreams, directory)
    requirements = directory / "requirements.txt"
    requirements.write_text("foo\n")
    command, environment = [*UV, str(requirements)], uv_environment(upstreams)
    kept = {name: os.environ[name] for name in ("PATH", "HOME")}
    done = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else f"failed: {done.stderr}"


def _fetch(upstreams: Upstreams, directory: Path) -> str:
    async def main() -> str:
        async with Client(upstreams, limits=LIMITS) as client:
            project = await client.project("foo")
            assert project is not None
            (outcome,) = await fetch(client, project.files, directory / "fetched")
            return str(outcome)

    try:
        return asyncio.run(main())
    except PyindexError as error:
        return f"failed: {error}"


@pytest.mark.parametrize("client", CLIENTS)
def test_private_ca_of_the_spec_is_trusted(
    client: str, secure: Faulty, tls: Mapping[str, str], tmp_path: Path
) -> None:
    """The `ca` of the spec's upstreams is that of our client and of uv; without it neither
    connects."""
    url = f"{secure.url}/simple/"
    without = choose(spec=spec(Upstream(url=url)))
    assert collect(client, without, tmp_path).startswith("failed: ")
    assert secure.requests == []

    trusting = choose(spec=spec(Upstream(url=url, ca=Path(tls["ca"]))))
    output = collect(client, trusting, tmp_path)
    assert "foo" in output and not output.startswith("failed"), output


@pytest.mark.parametrize("has_login", [True, False])
@pytest.mark.parametrize("client", CLIENTS)
def test_proxy_with_login_is_used_for_https(
    client: str,
    has_login: bool,
    secure: Faulty,
    proxy: Proxy,
    tls: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """Through a proxy that wants a login, an https index is reached by the login in its URL."""
    upstreams = choose(spec=spec(Upstream(url=f"{secure.url}/simple/", ca=Path(tls["ca"]))))
    login = "bob:s3%3Acret%40@" if has_login else ""
    proxies = {"https": f"http://{login}127.0.0.1:{proxy.port}"}
    through = replace(upstreams, network=replace(upstreams.network, proxies=proxies))
    output = collect(client, through, tmp_path)
    assert output.startswith("failed: ") != has_login, output
    assert set(proxy.opened) == ({secure.url.removeprefix("https://")} if has_login else set())
    assert bool(secure.requests) == has_login
    assert "s3" not in output
