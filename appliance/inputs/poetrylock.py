"""``poetry.lock``: packages with groups and markers (2.1), or a graph that is walked from the
``pyproject.toml`` next to it (older)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from appliance.errors import PyindexError
from appliance.inputs import lockwalk, poetryproject, poetryversions
from appliance.inputs.demand import Demand, LockedFile, Pin, Unbuilt
from appliance.inputs.documents import Table, read_toml
from appliance.inputs.lockwalk import Release
from appliance.inputs.pinning import Choice, Conditions, by_name, locked_file, pin
from appliance.inputs.poetryproject import MAIN, PoetryProject
from appliance.inputs.unbuilt import directory, git
from appliance.targets.target import Target

KIND = "poetry.lock"
_WITH_MARKERS = Version("2.1")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read(root: Table, choice: Choice) -> Demand:
    """The demand of a lock: the main group, groups that are not optional, and those chosen."""
    metadata = root.table("metadata")
    version = _lock_version(metadata)
    path = Path(root.file).absolute().with_name("pyproject.toml")
    project = poetryproject.read(read_toml(path)) if path.is_file() else None

    extras = choice.choose_extras(_extras(root), root.file)
    pythons = poetryversions.parse(
        metadata.text("python-versions"), metadata.where("python-versions")
    )
    if version >= _WITH_MARKERS:
        groups = _groups(root, project, choice)
        lock: _Marked | _Walked = _Marked(root, groups, extras)
    elif project is None:
        text = f"lock version {version} requires the pyproject.toml next to it"
        raise PyindexError(f"{root.file}: {text}; copy it there, or run `poetry lock` of poetry 2")
    else:
        groups = _groups(root, project, choice)
        lock = _Walked(root, project, groups, extras, tuple(_releases(root)))
    return Demand(root.file, KIND, lock=lock, requires_python=pythons.specifier)


def _lock_version(metadata: Table) -> Version:
    text = metadata.text("lock-version")
    try:
        return Version(text)
    except InvalidVersion:
        raise metadata.error("lock-version", f"expected a version, got {text!r}") from None


def _extras(root: Table) -> set[str]:
    return set(root.table("extras"))


def _groups(root: Table, project: PoetryProject | None, choice: Choice) -> frozenset[str]:
    """The groups to install: without a project each group of the lock, since only the project says
    which ones are optional."""
    known = {MAIN}
    for package in root.tables("package"):
        known |= {canonicalize_name(name) for name in package.texts("groups")}
    if project is not None:
        known |= project.groups.keys()
    optional = frozenset[str]() if project is None else project.optional_groups
    return (frozenset(known) - optional) | choice.choose_groups(known | optional, root.file)


@dataclass(frozen=True, slots=True)
class _Marked:
    """A lock whose packages have groups and markers."""

    root: Table
    groups: frozenset[str]
    extras: frozenset[str]

    def pins(self, target: Target) -> tuple[Pin, ...]:
        conditions = Conditions(target, self.extras)
        packages = [each for each in self.root.tables("package") if self._has(each, conditions)]
        return by_name(map(_pin, packages), self.root.file)

    def _has(self, package: Table, conditions: Conditions) -> bool:
        groups = {canonicalize_name(name) for name in package.texts("groups")} & self.groups
        return any(conditions.allow(_marker(package, group), package.where()) for group in groups)


def _marker(package: Table, group: str) -> Marker | None:
    """The marker of a package in a group: one for all groups, or a table of one for each."""
    if isinstance(package.values.get("markers"), dict):
        markers = package.table("markers")
        name = next((each for each in markers if canonicalize_name(each) == group), group)
        return markers.marker(name)
    return package.marker("markers")


@dataclass(frozen=True, slots=True)
class _Walked:
    """A lock that is walked from the requirements of the project."""

    root: Table
    project: PoetryProject
    groups: frozenset[str]
    extras: frozenset[str]
    releases: tuple[Release, ...]

    def pins(self, target: Target) -> tuple[Pin, ...]:
        walk = lockwalk.Walk(self.releases, target, self.root.file, self.project.name)
        releases = walk.run(list(self._first()))
        return by_name((release.pin for release in releases), self.root.file)

    def _first(self) -> Iterator[lockwalk.Edge]:
        chosen = {name for extra in self.extras for name in self.project.extras.get(extra, ())}
        for group in sorted(self.groups):
            for edge in self.project.groups.get(group, ()):
                if not edge.is_optional or edge.name in chosen:
                    yield edge


def _releases(root: Table) -> Iterator[Release]:
    old_files = root.table("metadata", "files")
    for package in root.tables("package"):
        extras = package.table("extras")
        yield Release(
            _pin(package, old_files),
            tuple(poetryproject.edges(package.table("dependencies"))),
            _pythons(package),
            {canonicalize_name(name): _names(extras, name) for name in extras},
        )


def _pythons(package: Table) -> poetryversions.Constraint:
    text = package.optional_text("python-versions") or "*"
    return poetryversions.parse(text, package.where("python-versions"))


def _names(extras: Table, extra: str) -> frozenset[str]:
    """The names in ``["PySocks (>=1.5.6,!=1.5.7)"]``."""
    matches = (_NAME.match(text) for text in extras.texts(extra))
    return frozenset(canonicalize_name(match[0]) for match in matches if match)


def _pin(package: Table, old_files: Table | None = None) -> Pin:
    source = package.table("source")
    url = source.optional_text("url")
    kind = source.optional_text("type")
    is_index = kind in ("legacy", None)
    if kind == "file" and url is not None:
        url = (Path(package.file).absolute().parent / url).as_uri()
    files = _files(package, old_files, None if is_index else url)
    index = url if is_index else None
    unbuilt = _unbuilt(package.name(), source)
    return pin(package.name(), package.text("version"), files, index, package.where(), unbuilt)


def _files(package: Table, old_files: Table | None, url: str | None) -> Iterator[LockedFile]:
    tables = list(package.tables("files"))
    if not tables and old_files is not None:  # before lock version 2.0
        tables = list(old_files.tables(package.text("name")))
    for file in tables:
        yield locked_file(file, file.optional_text("url") or url, file.text("file"))


def _unbuilt(name: str, source: Table) -> Unbuilt | None:
    """The sources of a package that has no file: of ``file`` and ``url`` sources the lock has
    one."""
    url, subdirectory = source.optional_text("url") or "", source.optional_text("subdirectory")
    match source.optional_text("type"):
        case "git":
            reference = source.optional_text("resolved_reference")
            location = git(url, reference or source.optional_text("reference"), subdirectory)
            return Unbuilt(name, source.where(), f"the Git repository {url}", name, location)
        case "directory":
            location = directory(Path(source.file).parent, url, subdirectory)
            return Unbuilt(name, source.where(), f"the directory {url}", name, location)
        case _:
            return None
