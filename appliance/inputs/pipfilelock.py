"""``Pipfile.lock`` of pipenv: packages by category, with markers and digests but no files."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.index.versions import normalize_version
from appliance.inputs.demand import Demand, Options, Pin, Unbuilt
from appliance.inputs.documents import Table
from appliance.inputs.pinning import Choice, Conditions, by_name
from appliance.inputs.unbuilt import SYSTEMS, directory, repository
from appliance.inputs.urls import filename_of
from appliance.targets.target import Target

KIND = "Pipfile.lock"
_DEFAULT = "default"
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


def read(root: Table, choice: Choice) -> Demand:
    """The demand of a lock: the category ``default``, and those chosen as groups; ``dev`` is
    another name of ``develop``."""
    categories = {name for name in root if name != "_meta"}
    asked = Choice((), ["develop" if name == "dev" else name for name in choice.groups])
    chosen = asked.choose_groups(categories, root.file) | {_DEFAULT}
    choice.choose_extras((), root.file)

    urls = {each.text("name"): _expanded(each.text("url")) for each in _sources(root)}
    index, *extra = urls.values() or [None]
    packages = tuple(_packages(root, chosen))
    options = Options(index_url=index, extra_index_urls=tuple(filter(None, extra)))
    return Demand(root.file, KIND, options=options, lock=_Lock(root.file, packages, urls))


def _sources(root: Table) -> Iterator[Table]:
    return root.table("_meta").tables("sources")


def _packages(root: Table, categories: frozenset[str]) -> Iterator[tuple[str, Table]]:
    for category, table in root.subtables():
        if canonicalize_name(category) in categories and category != "_meta":
            yield from table.subtables()


@dataclass(frozen=True, slots=True)
class _Lock:
    origin: str
    packages: tuple[tuple[str, Table], ...]
    indexes: dict[str, str]

    def pins(self, target: Target) -> tuple[Pin, ...]:
        conditions = Conditions(target)
        packages = [
            (canonicalize_name(name), package)
            for name, package in self.packages
            if conditions.allow(package.marker("markers"), package.where())
        ]
        return by_name((self._pin(name, package) for name, package in packages), self.origin)

    def _pin(self, name: str, package: Table) -> Pin:
        unbuilt = _unbuilt(name, package)
        version = package.optional_text("version") or ""
        if unbuilt is None and not version.startswith("=="):
            text = f"expected a pinned version, got {version or '*'}"
            advice = "run `pipenv lock` where its markers apply"
            raise PyindexError(f"{package.where()}: {text}; {advice}")
        return Pin(
            name,
            normalize_version(version.lstrip("=")),
            hashes=frozenset(package.texts("hashes")),
            index=self.indexes.get(package.optional_text("index") or ""),
            origin=package.where(),
            unbuilt=unbuilt,
        )


def _unbuilt(name: str, package: Table) -> Unbuilt | None:
    """The sources of a package that no index has."""
    where, subdirectory = package.where(), package.optional_text("subdirectory")
    for system in SYSTEMS:
        if url := package.optional_text(system):
            location = repository(system, url, package.optional_text("ref"), subdirectory)
            return Unbuilt(name, where, f"the repository {url}", name, location)
    for key in ("path", "file"):
        if path := package.optional_text(key):
            kind = f"{filename_of(path) or path}, which no index has"
            location = path if "://" in path else directory(Path(package.file).parent, path)
            return Unbuilt(name, where, kind, name, location)
    return None


def _expanded(url: str) -> str:
    """A URL with variables of the environment, as pipenv expands them."""
    return _VARIABLE.sub(lambda match: os.environ.get(match[1] or match[2], match[0]), url)
