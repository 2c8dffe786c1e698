"""A private CA and its certificates, judged by openssl, by strict clients and by the clock."""

import contextlib
import datetime
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from appliance.errors import PyindexError
from appliance.pack.authority import extend, renew

needs_faketime = pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime")


def made(directory: Path, *names: str, days: int = 60) -> list[str]:
    """Renew a certificate; names after -- are permitted only. Return the names of new files."""
    before, _, after = " ".join(names).partition(" -- ")
    results = renew(directory, before.split(), after.split(), days)
    return [each.path.name for each in results if each.is_new]


@pytest.fixture(scope="session")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with the certificate of a.example. Keys take long to make: tests copy them."""
    directory = tmp_path_factory.mktemp("ca")
    made(directory, "a.example")
    return directory


@pytest.fixture
def authority(created: Path, tmp_path: Path) -> Path:
    """A copy of that CA, which the test may change."""
    return shutil.copytree(created, tmp_path, dirs_exist_ok=True)


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_private_ca_is_created_once(tmp_path: Path) -> None:
    """There is one CA, and a new certificate only for other names. No other user may read."""
    directory = tmp_path / "ca"
    both = ("a.example", "10.0.0.1", "--", "b.example")
    assert made(directory, *both) == ["ca.pem", "a.example.pem"]
    authority = (directory / "ca.pem").read_bytes()
    assert made(directory, *both) == []
    assert made(directory, "A.example") == ["A.example.pem"]
    assert made(directory, "b.example") == ["b.example.pem"]
    assert made(directory, "one.b.example") == ["one.b.example.pem"]
    assert (directory / "ca.pem").read_bytes() == authority
    paths = [directory, *directory.iterdir()]
    assert {path.stat().st_mode & 0o077 for path in paths} == {0}


@pytest.mark.parametrize("name", ["c.example", "xa.example", "example", "10.0.0.1", "::1"])
def test_private_ca_rejects_other_names(authority: Path, name: str) -> None:
    """A name that the CA does not permit is an error, and all files stay."""
    before = {path.name: path.read_bytes() for path in authority.iterdir()}
    text = f"{authority}/ca.pem: ca.pem is not for all of a.example, {name}; choose"
    with pytest.raises(PyindexError, match=re.escape(text)):
        made(authority, "a.example", name)
    assert {path.name: path.read_bytes() for path in authority.iterdir()} == before


NO_NAMES = (
    *("", ".", ".lab.example", "a b", "*.lab.example", "b\u00fccher.example", "a..b", "-x"),
    *("10.0.0.0/8", "fe80::1%eth0", "a\nb", "http://x", "a" * 64),
)


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("is_permitted", [False, True])
def test_what_is_no_name_makes_no_authority(tmp_path: Path, name: str, is_permitted: bool) -> None:
    """Before any file is made: a CA with such a name would be of no use to any host."""
    text = f"{name!r}: expected an IP address or a host name such as pypi.lab; correct the name"
    names = (["a.example"], [name]) if is_permitted else (["a.example", name], [])
    with pytest.raises(PyindexError, match=re.escape(text)):
        renew(tmp_path / "ca", *names)
    assert not (tmp_path / "ca").exists()


@pytest.mark.parametrize("name", ["ca.pem", "ca.key"])
def test_broken_link_is_not_replaced(tmp_path: Path, name: str) -> None:
    """A file of the CA on a disk that is not mounted is an error, and no reason for another CA."""
    (tmp_path / name).symlink_to(tmp_path / "unmounted" / name)
    with pytest.raises(FileNotFoundError):
        made(tmp_path, "a.example")
    assert [path.name for path in tmp_path.iterdir() if not path.is_symlink()] in ([], ["ca.key"])
    assert (tmp_path / name).is_symlink()


def test_certificates_have_constraints_and_lifetime(tmp_path: Path) -> None:
    """The CA permits only its names and no other CA for ten years; certificates last 800 days."""
    made(tmp_path, "a.example", "b.example", "--", "lab.example")
    shown = {
        name: subprocess.run(
            ["openssl", "x509", "-in", tmp_path / f"{name}.pem", "-noout", "-text"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in ("ca", "a.example")
    }
    text = re.sub(r"\s+", " ", shown["ca"])
    for constraint in (
        "Basic Constraints: critical CA:TRUE, pathlen:0",
        "Key Usage: critical Certificate Sign, CRL Sign",
        "Name Constraints: critical Permitted: DNS:a.example DNS:b.example DNS:lab.example",
        "Excluded: IP:0.0.0.0/0.0.0.0 IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0",
    ):
        assert constraint in text
    for name, days in (("ca", 3650), ("a.example", 800)):
        dates = re.findall(r"Not (?:Before|After) ?: (.*)", shown[name])
        first, last = (ssl.cert_time_to_seconds(date) for date in dates)
        assert (last - first) / 86400 == days + 1  # for clocks that are behind


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:prime256v1"])
def test_ca_of_operator_signs(tmp_path: Path, kind: str) -> None:
    """A CA that the operator has put there, without constraints, signs, and no later than it
    ends; its certificates are not renewed for nothing in its last days."""
    command = ["openssl", "req", "-x509", "-newkey", *kind.split(), "-nodes", "-subj", "/CN=old"]
    command += ["-days", "9", "-keyout", str(tmp_path / "ca.key"), "-out", str(tmp_path / "ca.pem")]
    subprocess.run(command, check=True, capture_output=True)
    assert made(tmp_path, "a.example") == ["a.example.pem"]
    assert made(tmp_path, "a.example") == []
    assert made(tmp_path, "b.example", "::1") == ["b.example.pem"]
    end = read(tmp_path / "ca.pem").not_valid_after_utc
    assert read(tmp_path / "b.example.pem").not_valid_after_utc == end


def spoil_key(directory: Path) -> None:
    """As after a process that was killed between key and certificate."""
    (directory / "a.example.key").unlink()


def spoil_authority(directory: Path) -> None:
    for name in ("ca.pem", "ca.key"):
        (directory / name).unlink()


def spoil_certificate(directory: Path) -> None:
    (directory / "a.example.pem").unlink()


SPOILED: dict[Callable[[Path], None], list[str]] = {
    spoil_key: ["a.example.pem"],
    spoil_authority: ["ca.pem", "a.example.pem"],
    spoil_certificate: ["a.example.pem"],
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_missing_file_is_made_again(authority: Path, spoil: Callable[[Path], None]) -> None:
    """Whatever is missing, the next run makes a pair that a server can use."""
    spoil(authority)
    assert made(authority, "a.example") == SPOILED[spoil]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority / "a.example.pem", authority / "a.example.key")
    assert made(authority, "a.example") == []


WRONG = {
    ("ca.pem", b""): "ca.pem: not a certificate (PEM); move it away",
    ("ca.key", b"x"): "ca.key: not a private key (PEM) without a password",
    ("a.example.pem", b"x"): "a.example.pem: not a certificate (PEM); move it away",
}


@pytest.mark.parametrize(("name", "content"), WRONG)
def test_wrong_file_is_named(authority: Path, name: str, content: bytes) -> None:
    """A file that is not what its name says is named, and no file changes."""
    (authority / name).write_bytes(content)
    before = {path.name: path.read_bytes() for path in authority.iterdir()}
    with pytest.raises(PyindexError, match=re.escape(f"{authority}/{WRONG[name, content]}")):
        made(authority, "a.example")
    assert {path.name: path.read_bytes() for path in authority.iterdir()} == before


def test_key_of_another_ca_is_named(tmp_path: Path) -> None:
    """A CA whose files do not belong together signs nothing."""
    made(tmp_path / "one", "a.example")
    made(tmp_path / "two", "a.example")
    shutil.copy(tmp_path / "two" / "ca.key", tmp_path / "one" / "ca.key")
    with pytest.raises(PyindexError, match=r"not the certificate of ca\.key; restore both"):
        made(tmp_path / "one", "b.a.example")


def test_host_that_is_named_like_the_ca(tmp_path: Path) -> None:
    """The host `ca` would overwrite the CA."""
    with pytest.raises(PyindexError, match="the certificate of the CA; a host must have another"):
        made(tmp_path, "ca")


# --- years ----------------------------------------------------------------------------------------

SPEC = """\
url: https://pypi.lab.example
state: /var/lib/pyindex
indexes: {main: {packages: /srv/pyindex/packages}}
nginx: {tls: {certificate: /etc/c.pem, key: /etc/c.key}, names: [b.lab.example]}
"""


def at(days: int, directory: Path, *verb: str) -> str:
    """Run `pyindex certificates` so many days from now; return what it printed."""
    program = [sys.executable, "-P", "-m", "appliance", "certificates", *verb]
    command = ["faketime", "-f", f"+{days}d", *program]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@pytest.mark.integration
@needs_faketime
def test_certificates_in_years(tmp_path: Path) -> None:
    """A certificate is renewed for the same key in its last sixty days, until the CA expires; the
    extended CA goes on."""
    (tmp_path / "pyindex.yml").write_text(SPEC)
    renewal = ("renew", "ca", "-c", "pyindex.yml")
    file = tmp_path / "ca" / "pypi.lab.example.pem"

    assert f"{file}: made; " in at(0, tmp_path, *renewal)
    key, authority = read(file).public_key(), (tmp_path / "ca" / "ca.pem").read_bytes()
    for day, verb in ((739, "unchanged"), (741, "made"), (1480, "unchanged"), (1482, "made")):
        assert f"{file}: {verb}; " in at(day, tmp_path, *renewal), day
    assert read(file).public_key() == key
    assert (tmp_path / "ca" / "ca.pem").read_bytes() == authority

    at(3500, tmp_path, *renewal)
    last = read(file).not_valid_after_utc
    assert last == read(tmp_path / "ca" / "ca.pem").not_valid_after_utc
    assert f"{file}: unchanged; " in at(3640, tmp_path, *renewal)
    assert "ca.pem has expired on" in at(3651, tmp_path, *renewal)
    assert "ca.pem: made; " in at(3651, tmp_path, "extend", "ca")
    assert f"{file}: made; " in at(3651, tmp_path, *renewal)
    assert read(file).not_valid_after_utc - last > datetime.timedelta(days=700)


@pytest.mark.integration
@needs_faketime
def test_clock_that_was_ahead(tmp_path: Path) -> None:
    """What was made while the clock was ahead is not valid yet: a certificate is made again, and
    the CA is extended."""
    (tmp_path / "pyindex.yml").write_text(SPEC)
    renewal = ("renew", "ca", "-c", "pyindex.yml")
    file = tmp_path / "ca" / "pypi.lab.example.pem"
    at(400, tmp_path, *renewal)
    assert "ca.pem is not valid before " in at(0, tmp_path, *renewal)
    at(0, tmp_path, "extend", "ca")
    assert f"{file}: made; " in at(0, tmp_path, *renewal)
    assert f"{file}: unchanged; " in at(0, tmp_path, *renewal)


@pytest.mark.integration
def test_clients_of_either_ca_accept_the_host(tmp_path: Path) -> None:
    """After the CA was extended, clients that have its previous certificate accept old and new
    certificates of hosts, and so do clients with the new one."""
    made(tmp_path, "a.example")
    (tmp_path / "old.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    assert extend(tmp_path).is_new
    assert made(tmp_path, "a.example") == []
    for days in (60, 801):  # the second makes another certificate
        made(tmp_path, "a.example", days=days)
        for authority in ("old.pem", "ca.pem"):
            assert version(tmp_path, "a.example", "a.example", authority) == "TLSv1.3"


NAMES = [
    # (names of the certificate, requested name, whether the client trusts it)
    (("a.example",), "a.example", True),
    (("a.example", "b.example"), "b.example", True),
    (("a.example",), "b.example", False),
    (("a.example", "127.0.0.1"), "127.0.0.1", True),
    (("a.example", "::1"), "::1", True),
    (("127.0.0.1",), "127.0.0.1", True),
    (("a.example",), "127.0.0.1", False),
    (("a.example", "--", "b.example"), "b.example", False),
    (("a.example", "--", "127.0.0.1"), "a.example", True),
    (("127.0.0.1", "--", "a.example"), "127.0.0.1", True),
]


@pytest.mark.integration
@pytest.mark.parametrize(("names", "asked", "trusted"), NAMES)
def test_strict_client_trusts_private_ca(
    tmp_path: Path, names: tuple[str, ...], asked: str, trusted: bool
) -> None:
    """A client with Python 3.13's strict verification trusts the certificate for its names only."""
    made(tmp_path, *names)
    if trusted:
        assert version(tmp_path, names[0], asked) == "TLSv1.3"
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            version(tmp_path, names[0], asked)


def version(directory: Path, host: str, asked: str, authority: str = "ca.pem") -> str | None:
    """Let a client ask a server for a name; return the version of TLS."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / f"{host}.pem", directory / f"{host}.key")
    client = ssl.create_default_context(cafile=directory / authority)
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    here, there = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    client_end = client.wrap_bio(here[0], here[1], server_hostname=asked)
    server_end = server.wrap_bio(there[0], there[1], server_side=True)

    for _ in range(4):
        for side, out, into in (
            (client_end, here[1], there[0]),
            (server_end, there[1], here[0]),
        ):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            into.write(out.read())
    return client_end.version()
