"""The packages of a ``uv.lock`` and the edges between them, as values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from appliance.inputs.demand import LockedFile
from appliance.inputs.documents import Table
from appliance.inputs.pinning import locked_file

_LOCAL = ("editable", "virtual", "directory")


@dataclass(frozen=True, slots=True)
class Dependency:
    """An edge. ``version`` and ``source`` are given where the name alone is ambiguous."""

    name: str
    version: str | None
    source: Mapping[str, object] | None
    extras: frozenset[str]
    marker: Marker | None


Dependencies = Mapping[str, tuple[Dependency, ...]]
"""Dependencies by the name of an extra or group."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package; ``where`` it stands is for messages. ``forks`` are the markers of the targets
    that it was chosen for, if not for all."""

    name: str
    version: str
    source: Mapping[str, object]
    where: str
    files: tuple[LockedFile, ...]
    dependencies: tuple[Dependency, ...]
    extras: Dependencies
    groups: Dependencies
    forks: tuple[Marker, ...]

    @property
    def directory(self) -> str | None:
        """Its path, relative to the lock, if it is a directory of this machine."""
        return next((str(self.source[kind]) for kind in _LOCAL if kind in self.source), None)

    @property
    def index(self) -> str | None:
        """The URL of its index."""
        registry = self.source.get("registry")
        return registry if isinstance(registry, str) and "://" in registry else None


def read_package(table: Table, directory: Path) -> Package:
    """One package; paths in its table are relative to ``directory``."""
    return Package(
        table.name(),
        table.optional_text("version") or "",
        table.table("source").values,
        table.where(),
        tuple(_files(table, directory)),
        dependencies(table, "dependencies"),
        named_dependencies(table.table("optional-dependencies")),
        named_dependencies(table.table("dev-dependencies")),
        tuple(table.markers("resolution-markers")),
    )


def _files(package: Table, directory: Path) -> Iterator[LockedFile]:
    """The files of a package. Those of an index have a URL, or a path in the directory that is the
    index; the only file of another source has the URL or path of that."""
    source = package.table("source")
    files = [*package.tables("wheels")]
    if "sdist" in package:
        files.append(package.table("sdist"))
    for file in files:
        url = file.optional_text("url") or source.optional_text("url")
        path = file.optional_text("path") or source.optional_text("path")
        if url is None and path is not None:
            base = directory / (source.optional_text("registry") or "")
            url = (base / path).absolute().as_uri()
        yield locked_file(file, url, file.optional_text("filename"))


def named_dependencies(table: Table) -> Dependencies:
    """The dependencies of each extra or group in a table."""
    return {canonicalize_name(name): dependencies(table, name) for name in table}


def dependencies(table: Table, name: str) -> tuple[Dependency, ...]:
    """The dependencies of a list."""
    return tuple(_dependency(each) for each in table.tables(name))


def _dependency(table: Table) -> Dependency:
    extras = table.texts("extra") or table.texts("extras")  # the latter in a script's requirements
    return Dependency(
        table.name(),
        table.optional_text("version"),
        table.table("source").values or None,
        frozenset(canonicalize_name(extra) for extra in extras),
        table.marker(),
    )
