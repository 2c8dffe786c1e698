"""Real clients at an index that requires login: where they get credentials, and without."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from appliance import render, spec
from appliance.accounts.tokens import Tokens
from appliance.operations.update import update
from benchmarks.ports import HOST, free_port
from tests.conftest import scanned
from tests.dist import make_wheel
from tests.integration.clients import Environment, Environments
from tests.integration.installers import install
from tests.integration.servers import PYINDEX
from tests.nginx.certificates import certificate
from tests.nginx.servers import listens, running, serving
from tests.web.test_login import write_accounts

pytestmark = pytest.mark.integration

PASSWORD = "geheim"
# A program of this name is all that "subprocess" needs of keyring. pip asks for JSON, uv for text.
KEYRING = f"""\
#!/bin/sh
case "$*" in
"--mode=creds --output=json get "*" alice")
    echo '{{"username": "alice", "password": "{PASSWORD}"}}' ;;
"get "*" alice") echo {PASSWORD} ;;
*) exit 1 ;;
esac
"""
# pip 8 compares a certificate with names alone, never with addresses.
NAME = "localhost"


@dataclass(frozen=True)
class Private:
    """A running appliance: `main` for alice, `mixed` with a demo that only alice sees, `open`."""

    url: str
    ca: str | None
    token: str

    def index(self, name: str, login: str = "") -> str:
        """Return the URL of a simple API, with user and perhaps password."""
        url = urlsplit(self.url)
        at = f"{login}@" if login else ""
        return f"{url.scheme}://{at}{url.netloc}/{name}/simple/"


def write_spec(directory: Path, url: str, tls: dict[str, str] | None) -> Path:
    for name in ("main", "mixed", "open"):
        (directory / name).mkdir()
        for version in ("1.0", "1.1"):
            path = directory / name
            make_wheel(path, "demo", version, modules={"demo": f"__version__ = {version!r}"})
    write_accounts(directory / "htpasswd")
    data = {
        "url": url,
        "state": "state",
        "accounts": {"htpasswd": "htpasswd"},
        "server": {"port": free_port()},
        "nginx": {"tls": tls} if tls else {},
        "indexes": {
            "main": {"packages": "main", "read": ["alice"]},
            "mixed": {"packages": "mixed", "projects": {"demo": {"read": ["alice"]}}},
            "open": {"packages": "open"},
        },
    }
    path = directory / "pyindex.yml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.fixture(scope="module", params=["embedded", "https"])
def private(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Private]:
    """The same from the embedded server, and through nginx with TLS."""
    directory = tmp_path_factory.mktemp("private")
    is_https = request.param == "https"
    tls = certificate(directory, f"DNS:{NAME}") if is_https else None
    port = free_port()
    url = f"https://{NAME}:{port}" if is_https else f"http://{HOST}:{port}"
    path = write_spec(directory, url, tls)
    given = spec.load(path)
    update(given)
    scanned(given)
    _, token = Tokens(given.tokens).create("reader", ["read"], indexes=["main"])

    own = given.server.port if is_https else port
    serve = [str(PYINDEX), "serve", "--spec", str(path), "--no-nginx", "--port", str(own)]
    with ExitStack() as stack:
        stack.enter_context(running(serve, directory / "serve.log", lambda: listens(own)))
        if is_https:
            stack.enter_context(serving(directory / "nginx", render.nginx(given, HOST)))
        yield Private(str(given.url), tls["ca"] if tls else None, token)


def variables(private: Private, environment: Environment) -> dict[str, str]:
    """Return variables for all clients: the CA, and `keyring` first on the path."""
    programs = environment.home / "programs"
    programs.mkdir()
    (programs / "keyring").write_text(KEYRING)
    (programs / "keyring").chmod(0o755)
    path = f"{programs}:{environment.python.parent}:/usr/bin:/bin"
    ca = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")
    return {"PATH": path, "no_proxy": f"{HOST},{NAME}"} | (
        dict.fromkeys(ca, private.ca) if private.ca else {}
    )


PIPS = ("pip-8.1.2-py2.7", "pip-18.1-py2.7", "pip-newest-py3.13")
WAYS = [
    *((client, way) for client in (*PIPS, "uv", "poetry") for way in ("url", "token")),
    *((client, "netrc") for client in (*PIPS[1:], "uv", "poetry")),  # pip 8 does not read it
    *((client, "keyring") for client in (PIPS[-1], "uv")),
    *((client, "variables") for client in ("uv", "poetry")),
]


@pytest.mark.parametrize(("client", "way"), WAYS)
def test_client_installs_with_credentials(
    client: str, way: str, private: Private, environments: Environments
) -> None:
    """A client installs from a private index, however it gets its credentials."""
    environment = environments(client)
    more = variables(private, environment)
    login = {
        "url": f"alice:{PASSWORD}",
        "token": f"__token__:{private.token}",
        "keyring": "alice",
    }.get(way, "")
    if way == "netrc":
        netrc = environment.home / ".netrc"
        host = urlsplit(private.url).hostname
        netrc.write_text(f"machine {host} login alice password {PASSWORD}\n")
        netrc.chmod(0o600)
    if way == "keyring":
        more |= {"PIP_KEYRING_PROVIDER": "subprocess", "UV_KEYRING_PROVIDER": "subprocess"}
    if way == "variables":
        more |= {"UV_INDEX_INDEX_USERNAME": "alice", "UV_INDEX_INDEX_PASSWORD": PASSWORD}
        more |= {f"POETRY_HTTP_BASIC_{key}": value for key, value in BASIC.items()}
    url = private.index("main", login)
    if client == "uv" and way == "variables":
        url = f"index={url}"
    installed = install(client, environment, url, "demo", variables=more)
    assert installed.versions("demo") == ["1.1"]


BASIC = {"INDEX_USERNAME": "alice", "INDEX_PASSWORD": PASSWORD}

# (index, login; whether uv goes on to the next index; a word of its message)
STOPS = [
    ("main", "", False, "401"),
    ("main", "alice:wrong", False, "401"),
    ("main", f"bob:{'gr%C3%B6%C3%9Fe'}", False, "403"),
    ("mixed", "", True, ""),
    ("mixed", f"bob:{'gr%C3%B6%C3%9Fe'}", True, ""),
    ("mixed", "alice:wrong", False, "401"),
]


@pytest.mark.parametrize(("index", "login", "goes_on", "word"), STOPS)
@pytest.mark.parametrize("client", ["uv"])
def test_uv_stops_or_asks_the_next_index(
    client: str,
    index: str,
    login: str,
    goes_on: bool,
    word: str,
    private: Private,
    environments: Environments,
) -> None:
    """uv stops at 401 and 403, and asks the next index after 404."""
    environment = environments(client)
    output = environment.run(
        *("-m", "uv", "pip", "install", "--python", environment.python, "demo"),
        *("--index", private.index(index, login), "--default-index", private.index("open")),
        code=0 if goes_on else 1,
        variables=variables(private, environment),
    )
    assert word in output
    assert PASSWORD not in output


@pytest.mark.parametrize("client", PIPS)
def test_pip_without_credentials_says_so(
    client: str, private: Private, environments: Environments
) -> None:
    """pip without credentials does not install, and does not wait for an answer."""
    environment = environments(client)
    output = environment.run(
        *("-m", "pip", "install", "--no-input", "--index-url", private.index("main"), "demo"),
        code=1,
        variables=variables(private, environment),
    )
    assert "demo" in output
