"""The playbook's parts that no booted host is needed for."""

import contextlib
import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PLAYBOOKS = ROOT / "ansible"
ROLES = sorted(path.name for path in (PLAYBOOKS / "roles").iterdir())
CA = PLAYBOOKS / "roles" / "nginx" / "files" / "private-ca.sh"


def yaml_of(role: str, name: str) -> Any:
    path = PLAYBOOKS / "roles" / role / name
    return yaml.safe_load(path.read_text()) if path.exists() else None


def test_the_roles_are_those_of_the_architecture() -> None:
    """One for each thing that a host needs."""
    assert ROLES == ["base", "nginx", "pyindex", "python", "service", "verify"]


@pytest.mark.parametrize("role", ROLES)
def test_declared_options_are_the_documented_defaults(role: str) -> None:
    """Each default has a comment above it, and is declared with the same value and a purpose."""
    defaults = yaml_of(role, "defaults/main.yml")
    options = yaml_of(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items()} == defaults
    assert all(option["description"] for option in options.values())
    text = (PLAYBOOKS / "roles" / role / "defaults" / "main.yml").read_text()
    for block in text.removeprefix("---\n").strip().split("\n\n"):
        assert block.startswith("# "), block


def test_a_variable_belongs_to_one_role_and_bears_our_name() -> None:
    """All that a site may set is pyindex_*, and no two roles declare the same."""
    names = [name for role in ROLES for name in yaml_of(role, "defaults/main.yml")]
    assert len(names) == len(set(names))
    assert all(name.startswith("pyindex_") for name in names)


def test_variables_of_the_example_exist() -> None:
    """What the example inventory names is declared by a role."""
    example = (PLAYBOOKS / "inventories/example/group_vars/pyindex.yml").read_text()
    named = set(re.findall(r"^(?:# )?(pyindex_\w+):", example, re.M))
    assert named <= {name for role in ROLES for name in yaml_of(role, "defaults/main.yml")}


def test_no_role_has_templates_of_its_own() -> None:
    """`pyindex render` makes the files; the roles place them."""
    assert not list(PLAYBOOKS.rglob("*.j2"))
    text = "".join(path.read_text() for path in PLAYBOOKS.rglob("tasks/*.yml"))
    assert "ansible.builtin.template" not in text


def certificate(folder: Path, *names: str) -> str:
    """Run the script that makes a private CA; returns what it says."""
    command = ["sh", str(CA), str(folder), *names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_private_ca_is_made_once(tmp_path: Path) -> None:
    """The same names make nothing; other names another certificate of the same CA."""
    folder = tmp_path / "ca"
    both = ("a.example", "10.0.0.1", "--", "b.example")
    assert certificate(folder, *both) == "made ca.pem\nmade a.example.pem\n"
    authority = (folder / "ca.pem").read_bytes()
    assert certificate(folder, *both) == ""
    assert certificate(folder, "a.example") == "made a.example.pem\n"
    assert certificate(folder, "b.example") == "made b.example.pem\n"
    assert certificate(folder, "one.b.example") == "made one.b.example.pem\n"
    assert (folder / "ca.pem").read_bytes() == authority
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}


@pytest.mark.parametrize("name", ["c.example", "xa.example", "example", "10.0.0.1", "::1"])
def test_a_private_ca_is_for_its_names(tmp_path: Path, name: str) -> None:
    """For another it makes nothing, says what to do, and what was there stays."""
    certificate(tmp_path, "a.example")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(subprocess.CalledProcessError) as failed:
        certificate(tmp_path, "a.example", name)
    assert f"{tmp_path}: ca.pem is not for all of DNS:a.example," in failed.value.stderr
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == before | {"a.example.cnf": after["a.example.cnf"]}


def test_what_the_certificates_say(tmp_path: Path) -> None:
    """One CA below which there is no other, for ten years; certificates for less than 825 days."""
    certificate(tmp_path, "a.example", "b.example", "--", "lab.example")
    shown = {
        name: subprocess.run(
            ["openssl", "x509", "-in", tmp_path / f"{name}.pem", "-noout", "-text"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in ("ca", "a.example")
    }
    said = re.sub(r"\s+", " ", shown["ca"])
    for words in (
        "Basic Constraints: critical CA:TRUE, pathlen:0",
        "Key Usage: critical Certificate Sign, CRL Sign",
        "Name Constraints: critical Permitted: DNS:a.example DNS:b.example DNS:lab.example",
        "Excluded: IP:0.0.0.0/0.0.0.0 IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0",
    ):
        assert words in said
    for name, days in (("ca", 3650), ("a.example", 800)):
        dates = re.findall(r"Not (?:Before|After) ?: (.*)", shown[name])
        first, last = (ssl.cert_time_to_seconds(date) for date in dates)
        assert (last - first) / 86400 == days


def test_a_ca_of_before_goes_on(tmp_path: Path) -> None:
    """One without limits is not replaced, and makes certificates as it did."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=old"]
    made += ["-days", "99", "-keyout", str(tmp_path / "ca.key"), "-out", str(tmp_path / "ca.pem")]
    subprocess.run(made, check=True, capture_output=True)
    assert certificate(tmp_path, "a.example") == "made a.example.pem\n"
    assert certificate(tmp_path, "b.example", "::1") == "made b.example.pem\n"


NAMES = [
    # names of the certificate, name that the client asks for, whether it trusts that
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


@pytest.mark.parametrize(("names", "asked", "trusted"), NAMES)
def test_strict_clients_trust_the_private_ca(
    tmp_path: Path, names: tuple[str, ...], asked: str, trusted: bool
) -> None:
    """Verification as strict as Python 3.13's accepts it for its names and addresses only."""
    certificate(tmp_path, *names)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / f"{names[0]}.pem", tmp_path / f"{names[0]}.key")
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    here, there = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    ours = client.wrap_bio(here[0], here[1], server_hostname=asked)
    theirs = server.wrap_bio(there[0], there[1], server_side=True)

    def shake() -> None:
        for _ in range(4):
            for side, out, into in ((ours, here[1], there[0]), (theirs, there[1], here[0])):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                into.write(out.read())

    if trusted:
        shake()
        assert ours.version() == "TLSv1.3"
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            shake()


@pytest.mark.integration
def test_ansible_lint_finds_nothing() -> None:
    """The production profile passes, with ansible as pinned."""
    from tests.integration.clients import Client, build

    listed = (PLAYBOOKS / "requirements.txt").read_text().splitlines()
    pinned = tuple(line for line in listed if line and not line.startswith("#"))
    prefix = build(Client("ansible", "3.11", (*pinned, "ansible-lint==26.10.1")))
    done = subprocess.run(
        [prefix / "bin" / "ansible-lint", "--nocolor"],
        cwd=PLAYBOOKS,
        env={"PATH": f"{prefix / 'bin'}:/usr/bin:/bin", "HOME": str(prefix), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "production" in done.stderr


@pytest.mark.parametrize("script", ["base/files/install-debs.sh", "nginx/files/private-ca.sh"])
def test_scripts_are_plain_shell(script: str) -> None:
    """A shell reads them; nothing of bash is in them."""
    shell = shutil.which("dash") or "sh"
    subprocess.run([shell, "-n", PLAYBOOKS / "roles" / script], check=True)
