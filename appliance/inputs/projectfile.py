"""``pyproject.toml``: dependencies, extras (PEP 621) and groups (PEP 735) of a project, or the
dependencies of ``[tool.poetry]`` where there is no ``[project]``; scripts with metadata (PEP 723).

The sources and indexes of uv count, as far as they name indexes.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.dependency_groups import DependencyGroupResolver
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.inputs import poetryproject
from appliance.inputs.demand import Demand, Options, Unbuilt, Wanted
from appliance.inputs.documents import Table, parse_toml
from appliance.inputs.lockwalk import Edge
from appliance.inputs.merging import merge
from appliance.inputs.pinning import Choice
from appliance.inputs.specline import parse
from appliance.inputs.uvsources import index_options, unbuilt_sources

KIND = "pyproject.toml"
SCRIPT = "script"
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


def read(root: Table, choice: Choice) -> Demand:
    """The demand of a project, with the extras and groups that are chosen."""
    project = root.table("project")
    if "project" not in root and "poetry" in root.table("tool"):
        return _read_poetry(root, choice)
    if "dependencies" in project.texts("dynamic"):
        text = "dynamic: only a build knows them; lock the project, and pass its lock"
        raise project.error("dependencies", text)
    if "project" not in root and "dependency-groups" not in root:
        raise PyindexError(f"{root.file}: no [project]; pass a file that has dependencies")

    extras = choice.choose_extras(project.table("optional-dependencies"), root.file)
    groups = choice.choose_groups(group_names(root), root.file)
    listed = [*_located(project, "dependencies"), *extra_requirements(root, extras)]
    for name in sorted(groups):
        where = root.where(f"dependency-groups.{name}")
        listed += ((where, requirement) for requirement in group(root, name))
    return _demand(root, KIND, listed, project)


def read_script(text: str, path: Path) -> Demand:
    """The demand of the script at ``path``, by its metadata."""
    blocks = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if len(blocks) != 1:
        count = "more than one" if blocks else "no"
        raise PyindexError(f"{path}: {count} block `# /// script` (PEP 723); correct the script")
    lines = blocks[0]["content"].splitlines(keepends=True)
    content = "".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    root = parse_toml(content, path)
    return _demand(root, SCRIPT, _located(root, "dependencies"), root)


def _demand(
    root: Table, kind: str, listed: list[tuple[str, Requirement]], project: Table
) -> Demand:
    parsed = [parse(str(requirement), where) for where, requirement in listed]
    unbuilt = [each for each in parsed if isinstance(each, Unbuilt)]
    wanted = [each for each in parsed if isinstance(each, Wanted)]

    sources = unbuilt_sources(root, wanted)
    names = {each.requirement.name for each in sources.values()}
    constraints = root.table("tool", "uv").requirements("constraint-dependencies")
    where = root.where("tool.uv.constraint-dependencies")
    if root.table("tool", "uv").array("override-dependencies"):
        text = "not supported; run `uv lock`, and pass uv.lock"
        raise root.error("tool.uv.override-dependencies", text)
    return Demand(
        root.file,
        kind,
        requirements=merge(each for each in wanted if each.requirement.name not in names),
        constraints=tuple(Wanted(each, where) for each in constraints),
        unbuilt=(*unbuilt, *sources),
        options=index_options(root),
        requires_python=project.specifier("requires-python"),
    )


def _located(table: Table, name: str) -> list[tuple[str, Requirement]]:
    """Requirements of a list, each with its place."""
    requirements = table.requirements(name)
    return [(table.where(f"{name}[{i}]"), each) for i, each in enumerate(requirements)]


def name(root: Table) -> str:
    """The normalized name of a project; empty if it has none."""
    return canonicalize_name(root.table("project").optional_text("name") or "")


def extra_requirements(root: Table, extras: frozenset[str]) -> list[tuple[str, Requirement]]:
    """The requirements of extras, each with its place; an extra may name others of the project."""
    optional = root.table("project", "optional-dependencies")
    spelled: dict[str, str] = {canonicalize_name(name): name for name in optional}
    own = name(root)
    listed: list[tuple[str, Requirement]] = []
    passed: set[str] = set()
    pending = sorted(extras)
    while pending:
        extra = pending.pop(0)
        if extra in passed or extra not in spelled:
            continue
        passed.add(extra)
        for where, requirement in _located(optional, spelled[extra]):
            if canonicalize_name(requirement.name) == own:
                pending += map(canonicalize_name, sorted(requirement.extras))
            else:
                listed.append((where, requirement))
    return listed


def group_names(root: Table) -> set[str]:
    """The names of the groups of a project, those of old versions of pdm and uv included."""
    names = {*root.table("dependency-groups"), *root.table("tool", "pdm", "dev-dependencies")}
    if root.table("tool", "uv").array("dev-dependencies"):
        names.add("dev")
    return {canonicalize_name(name) for name in names}


def group(root: Table, name: str) -> list[Requirement]:
    """The requirements of a group, with those of the groups that it includes (PEP 735)."""
    requirements: list[Requirement] = []
    if name in {str(canonicalize_name(each)) for each in root.table("dependency-groups")}:
        requirements += _standard_group(root, name)
    pdm = root.table("tool", "pdm", "dev-dependencies")
    for each in pdm:
        if canonicalize_name(each) == name:
            requirements += pdm.requirements(each)
    if name == "dev":
        requirements += root.table("tool", "uv").requirements("dev-dependencies")
    return requirements


def _standard_group(root: Table, name: str) -> tuple[Requirement, ...]:
    groups: Mapping[str, list[str | Mapping[str, str]]] = root.table("dependency-groups").values
    try:
        return DependencyGroupResolver(groups).resolve(name)
    except (ValueError, TypeError, LookupError, ExceptionGroup) as error:
        raise root.error(f"dependency-groups.{name}", f"{_reason(error)}; correct it") from None


def _reason(error: Exception) -> str:
    """The first line of an error, or of the first one in a group of them."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error.args[0] if isinstance(error, LookupError) else error).partition("\n")[0]


def _read_poetry(root: Table, choice: Choice) -> Demand:
    project = poetryproject.read(root)
    extras = choice.choose_extras(project.extras, root.file)
    groups = choice.choose_groups(project.groups, root.file) | {poetryproject.MAIN}
    chosen = {name for extra in extras for name in project.extras[extra]}
    edges = [edge for group in sorted(groups) for edge in project.groups[group]]
    return Demand(
        root.file,
        KIND,
        requirements=merge(
            _wanted(edge, root) for edge in edges if not edge.is_optional or edge.name in chosen
        ),
        options=_poetry_options(root),
        requires_python=project.pythons.specifier,
    )


def _wanted(edge: Edge, root: Table) -> Wanted:
    """A dependency of poetry as a requirement of PEP 508, which has no alternatives."""
    where = root.where(f"tool.poetry.dependencies.{edge.name}")
    versions, pythons = edge.versions.specifier, edge.pythons.specifier
    if edge.source is not None:
        text = f"comes from {edge.source}, not from an index"
        raise PyindexError(f"{where}: {text}; run `poetry lock`, and pass poetry.lock")
    if versions is None or pythons is None:
        text = "alternatives with || are not supported; run `poetry lock`, and pass poetry.lock"
        raise PyindexError(f"{where}: {text}")
    markers = [f'python_full_version {each.operator} "{each.version}"' for each in pythons]
    markers += [f"({edge.marker})"] if edge.marker else []
    extras = f"[{','.join(sorted(edge.extras))}]" if edge.extras else ""
    marker = f"; {' and '.join(markers)}" if markers else ""
    return Wanted(Requirement(f"{edge.name}{extras}{versions}{marker}"), where)


def _poetry_options(root: Table) -> Options:
    urls = list(_poetry_sources(root))
    primary = [url for url, priority in urls if priority in ("primary", "default")]
    others = [url for url, _ in urls if url not in primary[:1]]
    return Options(index_url=next(iter(primary), None), extra_index_urls=tuple(others))


def _poetry_sources(root: Table) -> Iterator[tuple[str, str]]:
    """The URL and priority of each source that is no alias of the default index."""
    for source in root.table("tool", "poetry").tables("source"):
        if url := source.optional_text("url"):
            yield url, (source.optional_text("priority") or "primary").lower()
