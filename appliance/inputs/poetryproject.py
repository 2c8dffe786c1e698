"""Dependencies of ``[tool.poetry]`` in a ``pyproject.toml``, in poetry's own form."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from appliance.inputs import poetryversions
from appliance.inputs.documents import Table
from appliance.inputs.lockwalk import Edge
from appliance.inputs.poetryversions import ANY, Constraint

_SOURCES = ("git", "path", "file", "url")
MAIN = "main"


@dataclass(frozen=True, slots=True)
class PoetryProject:
    """The requirements of the project ``name``.

    ``optional_groups`` are those of the ``groups`` that are installed only when asked for;
    ``extras`` are names of optional requirements of the main group.
    """

    name: str
    groups: Mapping[str, tuple[Edge, ...]]
    optional_groups: frozenset[str]
    extras: Mapping[str, frozenset[str]]
    pythons: Constraint


def read(root: Table) -> PoetryProject:
    """The dependencies of a ``pyproject.toml``, those of ``[project]`` included."""
    poetry = root.table("tool", "poetry")
    groups = {MAIN: tuple(_main(root, poetry))}
    for name, table in _group_tables(poetry):
        groups[name] = tuple(edges(table))
    for name in root.table("dependency-groups"):
        groups.setdefault(canonicalize_name(name), ())
    stated = poetry.optional_text("name") or root.table("project").optional_text("name")
    return PoetryProject(
        canonicalize_name(stated or ""),
        groups,
        _optional_groups(poetry),
        _extras(root, poetry),
        _pythons(poetry),
    )


def _group_tables(poetry: Table) -> Iterator[tuple[str, Table]]:
    yield "dev", poetry.table("dev-dependencies")
    for name, group in poetry.table("group").subtables():
        yield canonicalize_name(name), group.table("dependencies")


def _optional_groups(poetry: Table) -> frozenset[str]:
    groups = poetry.table("group").subtables()
    return frozenset(canonicalize_name(name) for name, group in groups if group.flag("optional"))


def _main(root: Table, poetry: Table) -> Iterator[Edge]:
    yield from edges(poetry.table("dependencies"))
    project = root.table("project")
    for requirement in project.requirements("dependencies"):
        yield _standard_edge(requirement.name, str(requirement.specifier), requirement.marker)
    optional = project.table("optional-dependencies")
    for extra in optional:
        for requirement in optional.requirements(extra):
            yield _standard_edge(
                requirement.name, str(requirement.specifier), requirement.marker, True
            )


def _standard_edge(
    name: str, specifier: str, marker: Marker | None, is_optional: bool = False
) -> Edge:
    versions = poetryversions.parse(specifier, name) if specifier else ANY
    return Edge(canonicalize_name(name), versions, marker=marker, is_optional=is_optional)


def _extras(root: Table, poetry: Table) -> dict[str, frozenset[str]]:
    extras: dict[str, frozenset[str]] = {}
    table = poetry.table("extras")
    for name in table:
        extras[canonicalize_name(name)] = frozenset(map(canonicalize_name, table.texts(name)))
    optional = root.table("project", "optional-dependencies")
    for name in optional:
        required = optional.requirements(name)
        names = (canonicalize_name(requirement.name) for requirement in required)
        extras[canonicalize_name(name)] = frozenset(names)
    return extras


def _pythons(poetry: Table) -> Constraint:
    dependencies = poetry.table("dependencies")
    text = dependencies.values.get("python")
    return (
        poetryversions.parse(text, dependencies.where("python")) if isinstance(text, str) else ANY
    )


def edges(table: Table) -> Iterator[Edge]:
    """The dependencies of a table, each a constraint, a table, or a list of tables."""
    for name in table:
        if name.lower() != "python":
            yield from _edges(table, name)


def _edges(table: Table, name: str) -> Iterator[Edge]:
    value = table.values[name]
    if isinstance(value, str):
        yield Edge(canonicalize_name(name), poetryversions.parse(value, table.where(name)))
    elif isinstance(value, dict):
        yield _edge(name, table.table(name))
    else:
        for position, each in enumerate(table.array(name)):
            wrapped = Table({name: each}, table.file, f"{table.where(name)}[{position}]")
            yield from _edges(wrapped, name)


def _edge(name: str, table: Table) -> Edge:
    return Edge(
        canonicalize_name(name),
        _constraint(table, "version"),
        _constraint(table, "python"),
        _marker(table),
        frozenset(canonicalize_name(extra) for extra in table.texts("extras")),
        table.flag("optional"),
        next((str(table.values[key]) for key in _SOURCES if key in table), None),
    )


def _constraint(table: Table, name: str) -> Constraint:
    text = table.optional_text(name)
    return ANY if text is None else poetryversions.parse(text, table.where(name))


def _marker(table: Table) -> Marker | None:
    marker = table.marker("markers")
    platform = table.optional_text("platform")
    if platform is None:
        return marker
    only = Marker(f'sys_platform == "{platform}"')
    return only if marker is None else marker & only
