"""``uv.lock`` (version 1): a graph of packages, walked from the projects it was made for.

An install takes what ``uv sync`` takes: the project in the directory of the lock, or each member of
a workspace without one, with the default groups. The lock has no default groups: they are those of
the ``pyproject.toml`` next to it.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.inputs.demand import Demand, Pin, Unbuilt
from appliance.inputs.documents import Table, read_toml
from appliance.inputs.pinning import ALL, Choice, Conditions, by_name, pin
from appliance.inputs.unbuilt import directory, git
from appliance.inputs.uvpackages import Package, dependencies, named_dependencies, read_package
from appliance.inputs.uvwalk import Walk
from appliance.targets.target import Target

KIND = "uv.lock"
_DEFAULT_GROUPS = ("dev",)


def read(root: Table, choice: Choice) -> Demand:
    """The demand of a lock, with the default groups of its project and those chosen."""
    if (version := root.number("version")) != 1:
        text = f"expected version 1, got {version}; lock with another version of uv"
        raise root.error("version", text)
    graph = _Graph(root)
    extras = choice.choose_extras(graph.extras, root.file)
    groups = choice.choose_groups(graph.groups, root.file) | graph.default_groups
    return Demand(
        root.file,
        KIND,
        lock=_Lock(root.file, graph, extras, groups),
        requires_python=root.specifier("requires-python"),
    )


class _Graph:
    """The packages of a lock, and where a walk begins."""

    def __init__(self, root: Table) -> None:
        self.file = root.file
        self._directory = Path(root.file).absolute().parent
        manifest = root.table("manifest")
        self.packages: dict[str, list[Package]] = {}
        for table in root.tables("package"):
            package = read_package(table, self._directory)
            self.packages.setdefault(package.name, []).append(package)

        self.members = {canonicalize_name(name) for name in manifest.texts("members")}
        self.script = dependencies(manifest, "requirements")
        self.workspace_groups = named_dependencies(manifest.table("dependency-groups"))
        self.environments = root.markers("supported-markers")
        self._check()

    def _check(self) -> None:
        has_beginning = self.roots or self.script or self.workspace_groups
        if self.packages and not has_beginning:
            text = "none of its packages is the project that it locks; run `uv lock` again"
            raise PyindexError(f"{self.file}: {text}")

    @cached_property
    def roots(self) -> list[Package]:
        """The projects that the lock was made for."""
        packages = [package for named in self.packages.values() for package in named]
        project = [package for package in packages if package.directory == "."]
        return project or [package for package in packages if package.name in self.members]

    @property
    def extras(self) -> set[str]:
        return {name for root in self.roots for name in root.extras}

    @property
    def groups(self) -> set[str]:
        return {*self.workspace_groups, *(name for root in self.roots for name in root.groups)}

    @cached_property
    def default_groups(self) -> frozenset[str]:
        """The groups that ``uv sync`` takes."""
        path = self._directory / "pyproject.toml"
        groups: object = None
        if path.is_file():
            groups = read_toml(path).table("tool", "uv").values.get("default-groups")
        if groups == ALL:
            return frozenset(self.groups)
        names = groups if isinstance(groups, list) else _DEFAULT_GROUPS
        return frozenset(canonicalize_name(str(name)) for name in names)

    def is_project(self, package: Package) -> bool:
        """Whether an install takes no file for a package: it is a project that the lock was made
        for, or one without a build system."""
        is_member = package.directory == "." or package.name in self.members
        return is_member or "virtual" in package.source


@dataclass(frozen=True, slots=True)
class _Lock:
    origin: str
    graph: _Graph
    extras: frozenset[str]
    groups: frozenset[str]

    def pins(self, target: Target) -> tuple[Pin, ...]:
        self._check_environment(target)
        packages = [each for each in self._walk(target) if not self.graph.is_project(each)]
        return by_name((_pin(package, self.origin) for package in packages), self.origin)

    def _check_environment(self, target: Target) -> None:
        conditions, supported = Conditions(target), self.graph.environments
        if supported and not any(conditions.allow(marker, self.origin) for marker in supported):
            text = f"target {target.name} is not among the environments of the lock"
            raise PyindexError(f"{self.origin}: {text}; remove the target, or lock for it")

    def _walk(self, target: Target) -> list[Package]:
        walk = Walk(self.graph.packages, target, self.origin)
        for root in self.graph.roots:
            walk.begin(root, self.extras, self.groups)
        for name in self.groups & self.graph.workspace_groups.keys():
            walk.add(self.graph.workspace_groups[name])
        walk.add(self.graph.script)
        return walk.packages()


def _pin(package: Package, origin: str) -> Pin:
    name, where, sources = package.name, package.where, _sources(package, Path(origin).parent)
    unbuilt = Unbuilt(name, where, *sources) if sources else None
    return pin(name, package.version, package.files, package.index, where, unbuilt)


def _sources(package: Package, base: Path) -> tuple[str, str, str] | None:
    """The kind of a package without a file, its name, and the location of its sources."""
    repository = package.source.get("git")
    if isinstance(repository, str):
        url = urlsplit(repository)  # https://host/repository?rev=main&subdirectory=lib#commit
        subdirectory = parse_qs(url.query).get("subdirectory", [None])[0]
        plain = url._replace(query="", fragment="").geturl()
        location = git(plain, url.fragment, subdirectory)
        return f"the Git repository {repository}", package.name, location
    if package.directory is not None:
        location = directory(base, package.directory)
        return f"the directory {package.directory}", package.name, location
    return None
