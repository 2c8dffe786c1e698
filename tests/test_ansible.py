"""Ansible roles and scripts, as far as no booted host is required."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import meta

from appliance.pack import ospackages
from appliance.spec import Server, for_directory

ROOT = Path(__file__).parent.parent
PLAYBOOKS = ROOT / "ansible"
ROLES = sorted(path.name for path in (PLAYBOOKS / "roles").iterdir())


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


def test_pack_has_os_packages_that_roles_install(tmp_path: Path) -> None:
    """The OS packages of a pack are those that the role base requires."""
    required = yaml_of("base", "vars/main.yml")
    always, supervisor, centos = (
        tuple(package["name"] for package in required[f"_base_{name}"])
        for name in ("always", "supervisor", "centos")
    )
    cron = {kind: (each[0]["name"],) for kind, each in required["_base_cron"].items()}
    spec = for_directory(tmp_path)
    supervised = spec.model_copy(update={"server": Server(manager="supervisor")})
    assert ospackages.names(spec, "debian-12") == always
    assert ospackages.names(supervised, "debian-12") == always + supervisor + cron["deb"]
    assert ospackages.names(supervised, "centos-7") == always + supervisor + cron["rpm"] + centos


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


def rescues(value: Any) -> Iterator[dict[str, Any]]:
    """The tasks of every rescue in a value, however deep."""
    if isinstance(value, list):
        for inner in value:
            yield from rescues(inner)
    elif isinstance(value, dict):
        yield from value.get("rescue", [])
        for inner in value.values():
            yield from rescues(inner)


def test_rescues_of_the_play_run_with_any_tags() -> None:
    """A rescue whose tasks a tag left out would hide the failure, and the play would succeed."""
    tasks = list(rescues(yaml.safe_load((PLAYBOOKS / "site.yml").read_text())))
    assert tasks
    assert [task["tags"] for task in tasks] == [["always"]] * len(tasks)


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


def test_script_is_posix_shell() -> None:
    """A POSIX shell parses the script."""
    shell = shutil.which("dash") or "sh"
    script = PLAYBOOKS / "roles" / "base" / "files" / "install-debs.sh"
    subprocess.run([shell, "-n", script], check=True)
