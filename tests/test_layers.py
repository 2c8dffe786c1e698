"""Imports point only down, between packages and within them."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import appliance

ROOT = Path(appliance.__file__).parent
# Packages, and modules that are in none, from the ground up.
ORDER = (
    *("errors", "text", "atomic", "locks"),
    *("spec", "index", "catalog", "incoming", "site", "operations"),
    *("render", "pack", "web", "cli", "wsgi", "__main__"),
)


def modules() -> list[str]:
    """Each module of the package, without the leading ``appliance.``."""
    names = (path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))
    return sorted(
        name.replace("/", ".").removesuffix(".__init__") for name in names if name != "__init__"
    )


def imports(module: str) -> set[str]:
    """The modules of ours that one imports."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    if not path.exists():
        path = ROOT / module.replace(".", "/") / "__init__.py"
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    ours = {name.removeprefix("appliance.") for name in names if name.startswith("appliance.")}
    return {name for name in ours if name in MODULES} - {module}


MODULES = modules()


def package(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """A module knows only packages that stand below its own."""
    assert package(module) in ORDER, f"give {module} its place in {__file__}"
    for name in imports(module):
        is_below = ORDER.index(package(name)) < ORDER.index(package(module))
        assert is_below or package(name) == package(module), f"{module} imports {name}"


@pytest.mark.parametrize("name", ORDER)
def test_modules_of_a_package_form_no_cycle(name: str) -> None:
    """Within a package, too, some order of its modules has all imports pointing down."""
    inside = [module for module in MODULES if package(module) == name and module != name]
    graph = {module: imports(module) & set(inside) for module in inside}
    TopologicalSorter(graph).prepare()  # raises CycleError with the cycle


def test_an_import_that_points_up_is_seen() -> None:
    """The check itself sees what a module imports."""
    assert {"catalog.database", "incoming.directory"} <= imports("incoming.intake")
