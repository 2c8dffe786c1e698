"""``pdm.lock``: packages with groups and markers, or, without the strategy ``inherit_metadata``, a
graph that is walked from the ``pyproject.toml`` next to it."""

from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.inputs import lockwalk, projectfile
from appliance.inputs.demand import Demand, LockedFile, Pin, Unbuilt
from appliance.inputs.documents import Table, read_toml
from appliance.inputs.lockwalk import Edge, Release
from appliance.inputs.pinning import (
    ALL,
    Choice,
    Conditions,
    by_name,
    locked_file,
    pin,
)
from appliance.inputs.poetryversions import ANY, Constraint
from appliance.inputs.unbuilt import SYSTEMS, directory, repository
from appliance.targets.target import Target

KIND = "pdm.lock"
DEFAULT = "default"


def read(root: Table, choice: Choice) -> Demand:
    """The demand of a lock: the default group, the development groups, and those chosen; extras of
    the project are groups, too."""
    metadata = root.table("metadata")
    path = Path(root.file).absolute().with_name("pyproject.toml")
    project = read_toml(path) if path.is_file() else None
    locked = {DEFAULT, *map(canonicalize_name, metadata.texts("groups"))}

    groups = _groups(root.file, locked, project, choice)
    lock: _Marked | _Walked = _Marked(root, groups)
    if "inherit_metadata" not in metadata.texts("strategy"):
        if project is None:
            text = "without the strategy inherit_metadata it requires the pyproject.toml next to it"
            raise PyindexError(f"{root.file}: {text}; copy it there, or run `pdm lock` again")
        lock = _Walked(root, projectfile.name(project), _first(project, groups), _releases(root))
    return Demand(root.file, KIND, lock=lock)


def _groups(file: str, locked: set[str], project: Table | None, choice: Choice) -> frozenset[str]:
    """The groups to install. Without a project, only ``dev`` is known to be no extra."""
    development = {"dev"} if project is None else projectfile.group_names(project)
    default = ({DEFAULT} | development) & locked
    asked = Choice((), {*choice.extras, *choice.groups})
    if ALL in asked.groups:
        return frozenset(locked)
    return asked.choose_groups(locked, file) | default


@dataclass(frozen=True, slots=True)
class _Marked:
    """A lock whose packages have groups and markers."""

    root: Table
    groups: frozenset[str]

    def pins(self, target: Target) -> tuple[Pin, ...]:
        _check_targets(self.root, target)
        conditions = Conditions(target)
        packages = [each for each in self.root.tables("package") if self._has(each, conditions)]
        return by_name((_pin(package) for package in packages), self.root.file)

    def _has(self, package: Table, conditions: Conditions) -> bool:
        groups = {canonicalize_name(name) for name in package.texts("groups")}
        is_chosen = not self.groups.isdisjoint(groups)
        return is_chosen and conditions.allow(package.marker(), package.where())


@dataclass(frozen=True, slots=True)
class _Walked:
    """A lock that is walked from the requirements of the project."""

    root: Table
    project: str
    first: tuple[Edge, ...]
    releases: tuple[Release, ...]

    def pins(self, target: Target) -> tuple[Pin, ...]:
        _check_targets(self.root, target)
        walk = lockwalk.Walk(self.releases, target, self.root.file, self.project)
        releases = walk.run(self.first)
        return by_name((release.pin for release in releases), self.root.file)


def _check_targets(root: Table, target: Target) -> None:
    """Raise :class:`PyindexError` if the lock was made for other Pythons."""
    targets = list(root.table("metadata").tables("targets"))
    pythons = [specifier for each in targets if (specifier := each.specifier("requires_python"))]
    if pythons and not any(each.contains(target.python, prereleases=True) for each in pythons):
        listed = " or ".join(map(str, pythons))
        text = f"requires Python {listed}, target {target.name} has {target.python}"
        raise PyindexError(f"{root.file}: {text}; remove the target, or lock for it")


def _first(project: Table, groups: frozenset[str]) -> tuple[Edge, ...]:
    """The requirements of the project in the groups to install. One for the project itself, with
    extras, counts as those extras."""
    required = list(project.table("project").requirements("dependencies"))
    for name in sorted(projectfile.group_names(project) & groups):
        required += projectfile.group(project, name)
    own = [each for each in required if canonicalize_name(each.name) == projectfile.name(project)]
    extras = groups.union(canonicalize_name(extra) for each in own for extra in each.extras)
    required += (each for _, each in projectfile.extra_requirements(project, extras))
    return tuple(map(_edge, required))


def _edge(requirement: Requirement) -> Edge:
    specifier = requirement.specifier
    return Edge(
        canonicalize_name(requirement.name),
        Constraint((specifier,)) if specifier else ANY,
        marker=requirement.marker,
        extras=frozenset(map(canonicalize_name, requirement.extras)),
    )


def _releases(root: Table) -> tuple[Release, ...]:
    return tuple(map(_release, root.tables("package")))


def _release(package: Table) -> Release:
    python = package.specifier("requires_python")
    return Release(
        _pin(package),
        tuple(map(_edge, package.requirements("dependencies"))),
        ANY if python is None else Constraint((python,)),
        variant=frozenset(map(canonicalize_name, package.texts("extras"))),
    )


def _pin(package: Table) -> Pin:
    url = package.optional_text("url")
    files = (_file(file, url) for file in package.tables("files"))
    version, unbuilt = package.optional_text("version") or "", _unbuilt(package)
    return pin(package.name(), version, files, None, package.where(), unbuilt)


def _file(file: Table, url: str | None) -> LockedFile:
    return locked_file(file, file.optional_text("url") or url, file.optional_text("file"))


def _unbuilt(package: Table) -> Unbuilt | None:
    """The sources of a package that has no file."""
    name, subdirectory = package.name(), package.optional_text("subdirectory")
    for system in SYSTEMS:
        if url := package.optional_text(system):
            reference = package.optional_text("revision") or package.optional_text("ref")
            location = repository(system, url, reference, subdirectory)
            return Unbuilt(name, package.where(), f"the repository {url}", name, location)
    path = package.optional_text("path")
    if path is None or path.endswith((".whl", ".tar.gz", ".zip")):
        return None
    location = directory(Path(package.file).parent, path, subdirectory)
    return Unbuilt(name, package.where(), f"the directory {path}", name, location)
