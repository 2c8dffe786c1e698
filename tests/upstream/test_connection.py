"""Connections: who gets credentials, certificates, proxies, redirects."""

import asyncio
import base64
import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.errors import PyindexError
from appliance.upstream import Client, Credential, Limits, Network, UpstreamError, Upstreams
from appliance.upstream.failures import retry_after_seconds
from appliance.upstream.urls import redacted
from tests.upstream.conftest import LIMITS
from tests.upstream.faulty import Behavior, Exchange, Faulty, page, serving, status

FOO = "/simple/foo/"
GOOD = page('<a href="foo-1.0.tar.gz">')


def ask(upstreams: Upstreams, limits: Limits = LIMITS) -> None:
    """Ask for the project foo."""

    async def main() -> None:
        async with Client(upstreams, limits=limits) as client:
            assert await client.project("foo")

    asyncio.run(main())


def of(server: Faulty, **credential: str) -> Upstreams:
    index = f"{server.url}/simple/"
    credentials = (Credential(index, **credential),) if credential else ()
    return Upstreams((index,), credentials=credentials)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def logins(server: Faulty) -> list[str | None]:
    return [request.headers.get("authorization") for request in server.requests]


def protected(login: str) -> Behavior:
    """Answer 401 without that login."""

    def behave(exchange: Exchange) -> None:
        (GOOD if exchange.headers.get("authorization") == login else status(401))(exchange)

    return behave


BOB = basic("bob", "s3cret")


def test_credential_is_sent_at_once(faulty: Faulty) -> None:
    """A known password is sent with the first request."""
    faulty.behaviors[FOO] = protected(BOB)
    ask(of(faulty, user="bob", password="s3cret"))
    assert logins(faulty) == [BOB]


def test_credential_of_longest_path_counts(faulty: Faulty) -> None:
    """Of several credentials of one server the one of the index counts."""
    faulty.behaviors["/team/simple/foo/"] = protected(BOB)
    credentials = (
        Credential(f"{faulty.url}/simple/", "eve", "x"),
        Credential(f"{faulty.url}/team/simple/", "bob", "s3cret"),
    )
    ask(Upstreams((f"{faulty.url}/team/simple/",), credentials=credentials))
    assert logins(faulty) == [BOB]


def test_redirect_to_other_host_gets_no_credential(faulty: Faulty) -> None:
    """A redirect to another host, or to another port, takes no credential along."""
    with serving("127.0.0.2") as host, serving() as port:
        faulty.behaviors[FOO] = status(302, Location=f"{host.url}/x")
        host.behaviors["/x"] = status(302, Location=f"{port.url}/y")
        port.behaviors["/y"] = status(302, Location=f"{faulty.url}/z")
        faulty.behaviors["/z"] = GOOD
        ask(of(faulty, user="bob", password="s3cret"))
        assert (logins(host), logins(port)) == ([None], [None])
        assert logins(faulty) == [BOB, BOB]


@pytest.mark.parametrize("number", [401, 403])
def test_wrong_password_is_reported(faulty: Faulty, number: int) -> None:
    """A login that fails is an error without the password."""
    faulty.behaviors[FOO] = status(number)
    with pytest.raises(UpstreamError) as caught:
        ask(of(faulty, user="bob", password="s3cret"))
    answer = f"the server answered {number}; check user, password and permissions"
    assert str(caught.value) == f"{faulty.url}{FOO}: {answer}"


# (netrc, user in the URL, login)
NETRC: list[tuple[str, str | None, str | None]] = [
    ("machine 127.0.0.1 login bob password s3cret\n", None, BOB),
    ("machine 127.0.0.1 login bob password s3cret\n", "bob", BOB),
    ("machine 127.0.0.1 login bob password s3cret\n", "eve", None),
    ("machine other.example login bob password s3cret\n", None, None),
]


@pytest.mark.parametrize(("content", "user", "login"), NETRC)
def test_netrc_is_used(
    faulty: Faulty, home: Path, content: str, user: str | None, login: str | None
) -> None:
    """netrc has the password of a host, for the user of the URL if there is one."""
    (home / ".netrc").write_text(content)
    (home / ".netrc").chmod(0o600)
    faulty.behaviors[FOO] = GOOD
    ask(of(faulty, user=user) if user else of(faulty))
    assert logins(faulty) == [login]


def test_broken_netrc_is_reported(faulty: Faulty, home: Path) -> None:
    """A netrc that cannot be read is an error."""
    (home / ".netrc").write_text("machine")
    with pytest.raises(PyindexError, match=r"^~/\.netrc: .*; correct it, or set NETRC to another"):
        ask(of(faulty))


def keyring(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a ``keyring`` command."""
    program = directory / "keyring"
    program.write_text(f'#!/bin/sh\necho "$@" >> {directory}/calls\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def test_keyring_is_asked_after_401(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a 401 the keyring is asked once, for the URL and then for the host."""
    keyring(tmp_path, 'case "$2" in http*) exit 1;; *) echo s3cret;; esac', monkeypatch)
    faulty.behaviors[FOO] = protected(BOB)
    ask(of(faulty, user="bob"))
    assert logins(faulty) == [None, BOB]
    host = faulty.url.removeprefix("http://")
    calls = [f"get {faulty.url}/simple/ bob", f"get {host} bob"]
    assert (tmp_path / "calls").read_text().splitlines() == calls


def test_keyring_can_be_disabled(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip's setting keyring-provider = disabled is respected."""
    keyring(tmp_path, "echo s3cret", monkeypatch)
    faulty.behaviors[FOO] = protected(BOB)
    upstreams = replace(of(faulty, user="bob"), network=Network(has_keyring=False))
    with pytest.raises(UpstreamError, match="the server answered 401"):
        ask(upstreams)
    assert not (tmp_path / "calls").exists()


def test_redirects_are_limited(faulty: Faulty) -> None:
    """Redirects that never end are an error."""
    for number in range(20):
        path = FOO if number == 0 else f"/{number}"
        faulty.behaviors[path] = status(302, Location=f"/{number + 1}")
    with pytest.raises(UpstreamError) as caught:
        ask(of(faulty))
    assert str(caught.value) == f"{faulty.url}{FOO}: more than 10 redirects; check the URL"


# --- certificates --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File with a certificate of 127.0.0.1, which is its own CA, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "own.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(signed.public_bytes(pem) + private)
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[Faulty]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(tls=context) as server:
        server.behaviors[FOO] = GOOD
        yield server


def test_private_ca_is_trusted_if_chosen(secure: Faulty, certificate: Path) -> None:
    """A server with a certificate of an unknown CA needs that CA, or to be a trusted host."""
    with pytest.raises(UpstreamError) as caught:
        ask(of(secure))
    problem = "no trusted TLS connection: self-signed certificate"
    sources = "`ca` of the upstream in the spec, `cert` in pip's configuration, or SSL_CERT_FILE"
    advice = f"set its CA by {sources}"
    assert str(caught.value) == f"{secure.url}{FOO}: {problem}; {advice}"

    ask(replace(of(secure), network=Network(ca=certificate)))
    ask(replace(of(secure), network=Network(trusted_hosts=("127.0.0.1",))))
    ask(replace(of(secure), network=Network(client_certificate=certificate, ca=certificate)))


def test_missing_ca_is_reported(faulty: Faulty, tmp_path: Path) -> None:
    """A CA file that cannot be read is an error with its path."""
    with pytest.raises(PyindexError, match=f"^{tmp_path}/ca.pem: not a certificate"):
        ask(replace(of(faulty), network=Network(ca=tmp_path / "ca.pem")))


def test_redirect_to_plain_http_is_refused(
    secure: Faulty, faulty: Faulty, certificate: Path
) -> None:
    """A redirect from https to http is an error; nothing is requested there."""
    secure.behaviors[FOO] = status(302, Location=f"{faulty.url}/x?token=1")
    with pytest.raises(UpstreamError) as caught:
        ask(replace(of(secure), network=Network(ca=certificate)))
    problem = f"redirects from https to {faulty.url}/x?..."
    advice = "choose a server that stays on https"
    assert str(caught.value) == f"{secure.url}{FOO}: {problem}; {advice}"
    assert faulty.requests == []


# --- proxies -------------------------------------------------------------------------------------


def test_proxy_is_used_with_its_own_login(faulty: Faulty) -> None:
    """Requests go through the proxy, which gets its own login."""
    faulty.behaviors["http://index.example/simple/foo/"] = GOOD
    proxy = faulty.url.replace("://", "://bob:s3cret@")
    ask(Upstreams(("http://index.example/simple/",), network=Network(proxies={"http": proxy})))
    (request,) = faulty.requests
    assert request.headers["proxy-authorization"] == BOB
    assert "authorization" not in request.headers


@pytest.mark.parametrize("number", [407, 502])
def test_refusal_of_proxy_is_reported(faulty: Faulty, number: int) -> None:
    """A proxy that opens no connection is an error that names it as the proxy."""
    faulty.behaviors["index.example:443"] = status(number)
    network = Network(proxies={"https": faulty.url})
    with pytest.raises(UpstreamError) as caught:
        ask(Upstreams(("https://index.example/simple/",), network=network))
    problem = f"the proxy answered {number}; check its URL, user and password"
    assert str(caught.value) == f"https://index.example{FOO}: {problem}"
    assert len(faulty.requests) == (1 if number == 407 else LIMITS.attempts)


def test_no_proxy_is_respected(faulty: Faulty) -> None:
    """A host in no_proxy is reached directly."""
    faulty.behaviors[FOO] = GOOD
    network = Network(proxies={"http": "http://127.0.0.1:1", "no": "127.0.0.1"})
    ask(replace(of(faulty), network=network))
    assert faulty.paths() == [FOO]


# --- texts ---------------------------------------------------------------------------------------

REDACTED = {
    "https://bob:s3cret@h.example/a?token=x#y": "https://...@h.example/a?...",
    "https://bob@h.example/a": "https://...@h.example/a",
    "bob:s3cret@proxy.example:3128": "...@proxy.example:3128",
    "https://h.example/a@b": "https://h.example/a@b",
    "https://h.example/\x1b[0m\n": "https://h.example/\\x1b[0m\\n",
    "https://a:b@c:d@h.example/": "https://...@h.example/",
}


@pytest.mark.parametrize("url", REDACTED)
def test_redacted_url_has_no_secret(url: str) -> None:
    """A URL in a message has no user, password, query or control characters."""
    assert redacted(url) == REDACTED[url]


def test_retry_after_is_number_or_date() -> None:
    """Retry-After is read as seconds or as a date in the past or future."""
    assert retry_after_seconds("120") == 120
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert (retry_after_seconds("Fri, 31 Dec 2999 23:59:59 GMT") or 0) > 1e9
    for value in (None, "", "soon", "-1", "1.5", "Fri, 99 Dec 2999"):
        assert retry_after_seconds(value) is None
