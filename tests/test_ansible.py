"""Ansible roles and scripts, as far as no booted host is required."""

import contextlib
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import meta

ROOT = Path(__file__).parent.parent
PLAYBOOKS = ROOT / "ansible"
ROLES = sorted(path.name for path in (PLAYBOOKS / "roles").iterdir())
CA = PLAYBOOKS / "roles" / "nginx" / "files" / "private-ca.sh"


def yaml_of(role: str, name: str) -> Any:
    path = PLAYBOOKS / "roles" / role / name
    return yaml.safe_load(path.read_text()) if path.exists() else None


def test_playbook_has_roles_of_architecture() -> None:
    """The playbook has the roles of the architecture."""
    assert ROLES == ["base", "nginx", "pyindex", "python", "service", "verify"]


def options(role: str) -> dict[str, dict[str, Any]]:
    """The options of all entry points of a role."""
    specs = yaml_of(role, "meta/argument_specs.yml")["argument_specs"].values()
    return {name: option for spec in specs for name, option in spec["options"].items()}


def defaults(role: str) -> dict[str, Any]:
    """The variables that belong to a role, with their defaults."""
    return dict(yaml_of(role, "defaults/main.yml") or {})


@pytest.mark.parametrize("role", ROLES)
def test_role_declares_each_default(role: str) -> None:
    """A role declares each default with the same value, a description and a comment."""
    declared = {
        name: option["default"] for name, option in options(role).items() if "default" in option
    }
    assert declared == defaults(role)
    assert all(option["description"] for option in options(role).values())
    text = (PLAYBOOKS / "roles" / role / "defaults" / "main.yml").read_text()
    for block in text.removeprefix("---\n").strip().split("\n\n"):
        assert block.startswith("# "), block


def test_role_variables_have_prefix_and_one_role() -> None:
    """Each variable begins with pyindex_ and belongs to one role."""
    names = [name for role in ROLES for name in defaults(role)]
    assert len(names) == len(set(names))
    assert all(name.startswith("pyindex_") for role in ROLES for name in options(role))


# What ansible itself defines.
ANSIBLE = re.compile("ansible_.*|inventory_.*|item|hostvars|role_path|lookup|query|now")
EXPRESSIONS = ("when", "that", "until", "changed_when", "failed_when")


def documents(role: str) -> list[Any]:
    """Tasks, handlers, variables and defaults of a role."""
    names = ("tasks", "handlers", "vars", "defaults")
    paths = [path for name in names for path in (PLAYBOOKS / "roles" / role / name).glob("*.yml")]
    return [yaml.safe_load(path.read_text()) for path in paths]


def expressions(value: Any, is_expression: bool = False) -> Iterator[str]:
    """Each template in a value, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from expressions(inner, key in EXPRESSIONS)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner, is_expression)
    elif isinstance(value, str):
        yield f"{{{{ {value} }}}}" if is_expression else value


def variables_read(role: str) -> set[str]:
    """Names of the variables that a role reads."""
    text = "\n".join(expressions(documents(role)))
    # Filters and tests of ansible are unknown here: read the variables around them.
    text = re.sub(r"\| *[\w.]+", "| string", text)
    text = re.sub(r" is (not )?[\w.]+(\([^)]*\))?", "", text)
    names = meta.find_undeclared_variables(jinja2.Environment().parse(text))
    return {name for name in names if not ANSIBLE.fullmatch(name)}


def keys_set(value: Any) -> Iterator[str]:
    """Names that tasks set: by vars, set_fact or register."""
    if isinstance(value, list):
        for inner in value:
            yield from keys_set(inner)
    elif isinstance(value, dict):
        yield from value.get("vars", {})
        yield from (name for name in value.get("ansible.builtin.set_fact", {}))
        yield from [value["register"]] if "register" in value else []
        for inner in value.values():
            yield from keys_set(inner)


def variables_set(role: str) -> set[str]:
    """Names of the variables that a role sets, in tasks or in ``vars/main.yml``."""
    return {*keys_set(documents(role)), *(yaml_of(role, "vars/main.yml") or {})}


@pytest.mark.parametrize("role", ROLES)
def test_roles_share_declared_variables_only(role: str) -> None:
    """A role reads what it declares, and what it set itself, which begins with _ and its name."""
    private = {name for name in variables_set(role) if name.startswith("_")}
    assert all(name.startswith(f"_{role}_") for name in private)
    assert variables_read(role) <= private | set(options(role))


def test_every_declared_variable_is_set_by_a_role() -> None:
    """An option without a default is a default of another role, or set by tasks."""
    known = {name for role in ROLES for name in (*defaults(role), *variables_set(role))}
    assert {name for role in ROLES for name in options(role)} <= known


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_that_is_set_is_read(role: str) -> None:
    """No role sets a private variable for nothing, or declares one that it does not read."""
    private = {name for name in variables_set(role) if name.startswith("_")}
    assert private <= variables_read(role)


def test_example_inventory_uses_declared_variables() -> None:
    """The example inventory names only variables that a role declares."""
    example = (PLAYBOOKS / "inventories/example/group_vars/pyindex.yml").read_text()
    named = set(re.findall(r"^(?:# )?(pyindex_\w+):", example, re.M))
    assert named <= {name for role in ROLES for name in defaults(role)}


@pytest.mark.parametrize(
    "name", ["carried/debs/nginx.deb", "private-ca/ca.key", "backups/host/catalog", "ca.pem"]
)
def test_git_ignores_what_an_inventory_carries(tmp_path: Path, name: str) -> None:
    """Keys, packages and backups beside an inventory do not get into git."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copytree(PLAYBOOKS / "inventories" / "example", tmp_path / "lab")
    ignored = ["git", "-C", str(tmp_path), "check-ignore", "-q"]
    assert subprocess.run([*ignored, f"lab/{name}"], check=False).returncode == 0
    assert subprocess.run([*ignored, "lab/hosts.yml"], check=False).returncode == 1


VERBS = (
    *("Allow", "Assert", "Back", "Build", "Change", "Check", "Choose", "Close", "Configure"),
    *("Copy", "Create", "Define", "Delete", "Disable", "Fail", "Fetch", "Find", "Install"),
    *("List", "Load", "Open", "Place", "Prepare", "Read", "Record", "Reload", "Relabel"),
    *("Remove", "Render", "Report", "Restart", "Restore", "Return", "Roll", "Run", "Set"),
    *("Start", "Stop", "Switch", "Uninstall", "Unpack", "Update"),
)


def names(value: Any) -> Iterator[tuple[str, str]]:
    """The name of each play, task and handler, with the module that it runs."""
    for task in value:
        module = next((key for key in task if key.count(".") == 2), "")
        yield task["name"], module
        for block in ("block", "rescue", "always", "tasks"):
            yield from names(task.get(block, []))


def all_names() -> list[tuple[str, str]]:
    files = [PLAYBOOKS / "site.yml", *PLAYBOOKS.glob("roles/*/tasks/*.yml")]
    files += PLAYBOOKS.glob("roles/*/handlers/*.yml")
    return [name for file in files for name in names(yaml.safe_load(file.read_text()))]


@pytest.mark.parametrize(("name", "module"), sorted(set(all_names())))
def test_task_names_are_imperatives(name: str, module: str) -> None:
    """A task that asserts says so, and no other does."""
    assert name.split(",")[0].split()[0] in VERBS
    assert (module == "ansible.builtin.assert") == name.startswith("Assert that ")


def test_roles_have_no_templates() -> None:
    """The roles have no templates, because `pyindex render` creates the files."""
    assert not list(PLAYBOOKS.rglob("*.j2"))
    text = "".join(path.read_text() for path in PLAYBOOKS.rglob("tasks/*.yml"))
    assert "ansible.builtin.template" not in text


def certificate(directory: Path, *names: str) -> str:
    """Run the script that creates a private CA, and return its output."""
    command = ["sh", str(CA), str(directory), *names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_private_ca_is_created_once(tmp_path: Path) -> None:
    """The script creates one CA, and a new certificate only for other names."""
    directory = tmp_path / "ca"
    both = ("a.example", "10.0.0.1", "--", "b.example")
    assert certificate(directory, *both) == "made ca.pem\nmade a.example.pem\n"
    authority = (directory / "ca.pem").read_bytes()
    assert certificate(directory, *both) == ""
    assert certificate(directory, "a.example") == "made a.example.pem\n"
    assert certificate(directory, "b.example") == "made b.example.pem\n"
    assert certificate(directory, "one.b.example") == "made one.b.example.pem\n"
    assert (directory / "ca.pem").read_bytes() == authority
    assert {path.stat().st_mode & 0o077 for path in directory.iterdir()} == {0}


@pytest.mark.parametrize("name", ["c.example", "xa.example", "example", "10.0.0.1", "::1"])
def test_private_ca_rejects_other_names(tmp_path: Path, name: str) -> None:
    """The script fails for a name that the CA does not permit, and keeps all certificates."""
    certificate(tmp_path, "a.example")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(subprocess.CalledProcessError) as failed:
        certificate(tmp_path, "a.example", name)
    assert f"{tmp_path}: ca.pem is not for all of DNS:a.example," in failed.value.stderr
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == before | {"a.example.cnf": after["a.example.cnf"]}


def test_certificates_have_constraints_and_lifetime(tmp_path: Path) -> None:
    """The CA permits only its names and no other CA for ten years; certificates last 800 days."""
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
        assert (last - first) / 86400 == days


def test_ca_without_constraints_stays_usable(tmp_path: Path) -> None:
    """The script keeps an existing CA without constraints and signs certificates with it."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=old"]
    made += ["-days", "99", "-keyout", str(tmp_path / "ca.key"), "-out", str(tmp_path / "ca.pem")]
    subprocess.run(made, check=True, capture_output=True)
    assert certificate(tmp_path, "a.example") == "made a.example.pem\n"
    assert certificate(tmp_path, "b.example", "::1") == "made b.example.pem\n"


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


@pytest.mark.parametrize(("names", "asked", "trusted"), NAMES)
def test_strict_client_trusts_private_ca(
    tmp_path: Path, names: tuple[str, ...], asked: str, trusted: bool
) -> None:
    """A client with Python 3.13's strict verification trusts the certificate for its names only."""
    certificate(tmp_path, *names)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / f"{names[0]}.pem", tmp_path / f"{names[0]}.key")
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    here, there = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    client_end = client.wrap_bio(here[0], here[1], server_hostname=asked)
    server_end = server.wrap_bio(there[0], there[1], server_side=True)

    def shake() -> None:
        for _ in range(4):
            for side, out, into in (
                (client_end, here[1], there[0]),
                (server_end, there[1], here[0]),
            ):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                into.write(out.read())

    if trusted:
        shake()
        assert client_end.version() == "TLSv1.3"
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            shake()


@pytest.mark.integration
def test_ansible_lint_passes() -> None:
    """ansible-lint passes with the production profile and the pinned ansible."""
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
def test_scripts_are_posix_shell(script: str) -> None:
    """A POSIX shell parses the scripts."""
    shell = shutil.which("dash") or "sh"
    subprocess.run([shell, "-n", PLAYBOOKS / "roles" / script], check=True)
