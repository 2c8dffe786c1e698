"""Imports point only down."""

import ast
from pathlib import Path

import pytest

import appliance

ROOT = Path(appliance.__file__).parent
LAYERS = [
    {"errors", "index.sqlite"},
    {"yamlspec", "specforms"},
    {"speclinks"},
    {"spec", "index.names", "index.schema"},
    {"index.model"},
    {"index.metadata", "index.tars", "index.zips"},
    {"index.archive", "index.folder", "index.store"},
    {"index.reader", "index.examiner", "index.events"},
    {"index.examine"},
    {"index.readiness", "index.decisionlog", "index.places", "index.report"},
    {"index.writer"},
    {"index.catalog"},
    {"index.intake", "index.pages", "index.opening", "index.salvage", "index.views"},
    {"index.publish"},
    {"index.scan", "index.compare"},
    {"index.watch", "index.decisions", "index.verify"},
    {"index.health"},
    {"index.recover", "index.prune"},
    {"render", "pack"},
    {"web"},
    {"cli", "wsgi"},
    {"__main__"},
]
# Within these, modules may import each other as they like.
FREE = {"render", "pack", "web", "cli"}


def layer(module: str) -> int:
    """The number of the layer that a module belongs to; its package's if it has none itself."""
    for number, names in enumerate(LAYERS):
        if module in names or module.split(".")[0] in names & FREE:
            return number
    raise AssertionError(f"{module} has no layer: give it one in {__file__}")


def modules() -> list[str]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        if not name.endswith("__init__") or name.split(".")[0] in FREE:
            found.append(name.removesuffix(".__init__"))
    return found


def imports(module: str) -> set[str]:
    """The modules of ours that one imports, without the leading ``appliance.``."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    if not path.exists():
        path = ROOT / module.replace(".", "/") / "__init__.py"
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    ours = {name.removeprefix("appliance.") for name in found if name.startswith("appliance.")}
    return {name for name in ours if _is_module(name)}


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or ((path / "__init__.py").exists() and name in FREE)


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    """A module knows only what stands below it; the order is the table above."""
    for name in imports(module):
        free = module.split(".")[0] in FREE and name.split(".")[0] == module.split(".")[0]
        same = module.split(".")[0] == "spec" and name in ("yamlspec", "specforms")
        assert free or same or layer(name) < layer(module), f"{module} imports {name}"


def test_an_import_that_points_up_is_seen() -> None:
    """The check itself sees what a module imports."""
    assert {"index.catalog", "index.store"} <= imports("index.intake")
    assert layer("index.catalog") < layer("index.intake") < layer("web.app") < layer("cli.serve")
