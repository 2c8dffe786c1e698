"""Layers: imports point down between packages and form no cycle within them.

``python -m tests.test_layers`` renews the table of packages in CONTRIBUTING.md.
"""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import appliance

ROOT = Path(appliance.__file__).parent
# Packages, and modules outside of packages, from the lowest layer up.
ORDER = (
    *("errors", "text", "logs", "atomic", "locks", "headers"),
    *("spec", "accounts", "index", "catalog", "policy", "incoming", "site"),
    *("operations", "uploads"),
    *("targets", "inputs", "upstream", "resolution", "mirror", "bundle", "doctor"),
    *("render", "host", "pack", "web", "cli", "wsgi", "__main__"),
)


def modules() -> list[str]:
    """Return each module of the package, without the leading ``appliance.``."""
    names = (path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))
    return sorted(
        name.replace("/", ".").removesuffix(".__init__") for name in names if name != "__init__"
    )


def imports(module: str) -> set[str]:
    """Return the modules of appliance that a module imports."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    if not path.exists():
        path = ROOT / module.replace(".", "/") / "__init__.py"
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    local = {name.removeprefix("appliance.") for name in names if name.startswith("appliance.")}
    return {name for name in local if name in MODULES} - {module}


MODULES = modules()


def package(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_lower_packages(module: str) -> None:
    """A module imports only from its own package and from lower ones."""
    assert package(module) in ORDER, f"give {module} its place in {__file__}"
    for name in imports(module):
        is_below = ORDER.index(package(name)) < ORDER.index(package(module))
        assert is_below or package(name) == package(module), f"{module} imports {name}"


@pytest.mark.parametrize("name", ORDER)
def test_imports_within_package_form_no_cycle(name: str) -> None:
    """The imports within a package form no cycle."""
    inside = [module for module in MODULES if package(module) == name and module != name]
    graph = {module: imports(module) & set(inside) for module in inside}
    TopologicalSorter(graph).prepare()  # raises CycleError with the cycle


def test_check_finds_imports_of_module() -> None:
    """The check finds the imports of a module."""
    assert {"catalog.database", "incoming.directory"} <= imports("incoming.intake")


PAGE = ROOT.parent / "CONTRIBUTING.md"
BLOCK = re.compile("(?<=<!-- packages -->\n).*?(?=<!-- /packages -->)", re.S)


def docstring(name: str) -> list[str]:
    """Return the paragraphs of the docstring of a package, or of a module outside of packages."""
    path = ROOT / f"{name}.py"
    path = path if path.exists() else ROOT / name / "__init__.py"
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def table() -> str:
    """Return the table of packages, what each contains and what it does not."""
    lines = ["| package | contains | not here |", "| --- | --- | --- |"]
    for name in ORDER:
        contains, *rest = docstring(name)
        others = [each.removeprefix("Not here: ") for each in rest if each.startswith("Not here: ")]
        lines.append(f"| `{name}` | {contains} | {''.join(others)} |")
    return "\n".join(["", *lines, "", ""])


@pytest.mark.parametrize("name", [name for name in ORDER if (ROOT / name).is_dir()])
def test_package_docstring_states_contents(name: str) -> None:
    """The docstring of a package states what belongs there and what does not."""
    contains, *rest = docstring(name)
    assert contains.endswith(".")
    assert any(each.startswith("Not here: ") for each in rest)


def test_contributing_has_table_of_packages() -> None:
    """CONTRIBUTING.md has the table of packages made from their docstrings."""
    assert BLOCK.findall(PAGE.read_text()) == [table()], "run: python -m tests.test_layers"


@pytest.mark.parametrize(
    "path", re.findall(r"`((?:appliance|deploy|ansible)/[^`]*)`", PAGE.read_text())
)
def test_contributing_names_existing_paths(path: str) -> None:
    """CONTRIBUTING.md names only files and directories that exist."""
    assert (ROOT.parent / path).exists()


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: table(), PAGE.read_text()))
