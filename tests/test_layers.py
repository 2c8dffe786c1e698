"""Imports point only down, between packages and within them; ``python -m tests.test_layers`` renews
the table of packages in CONTRIBUTING.md."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import appliance

ROOT = Path(appliance.__file__).parent
# Packages, and modules that are in none, from the ground up.
ORDER = (
    *("errors", "text", "atomic", "locks", "headers"),
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


PAGE = ROOT.parent / "CONTRIBUTING.md"
BLOCK = re.compile("(?<=<!-- packages -->\n).*?(?=<!-- /packages -->)", re.S)


def docstring(name: str) -> list[str]:
    """The paragraphs of a package's docstring, or of a module's that is in no package."""
    path = ROOT / f"{name}.py"
    path = path if path.exists() else ROOT / name / "__init__.py"
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def table() -> str:
    """Each package, what lives there and what does not, from the ground up."""
    lines = ["| package | contains | not here |", "| --- | --- | --- |"]
    for name in ORDER:
        contains, *rest = docstring(name)
        others = [each.removeprefix("Not here: ") for each in rest if each.startswith("Not here: ")]
        lines.append(f"| `{name}` | {contains} | {''.join(others)} |")
    return "\n".join(["", *lines, "", ""])


@pytest.mark.parametrize("name", [name for name in ORDER if (ROOT / name).is_dir()])
def test_a_package_says_what_it_is_for(name: str) -> None:
    """Its docstring says what lives there, and what does not."""
    contains, *rest = docstring(name)
    assert contains.endswith(".")
    assert any(each.startswith("Not here: ") for each in rest)


def test_contributing_has_the_packages() -> None:
    """The table of packages is made of their docstrings."""
    assert BLOCK.findall(PAGE.read_text()) == [table()], "run: python -m tests.test_layers"


@pytest.mark.parametrize(
    "path", re.findall(r"`((?:appliance|deploy|ansible)/[^`]*)`", PAGE.read_text())
)
def test_contributing_names_what_is_there(path: str) -> None:
    """Each file and directory that it sends people to exists."""
    assert (ROOT.parent / path).exists()


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: table(), PAGE.read_text()))
