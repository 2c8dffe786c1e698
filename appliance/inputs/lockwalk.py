"""The walk over a lock whose packages have no markers of their own, as older tools write it: from
the requirements of the project, over those of each package."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.markers import Marker

from appliance.errors import PyindexError
from appliance.inputs.demand import Pin
from appliance.inputs.pinning import Conditions
from appliance.inputs.poetryversions import ANY, Constraint
from appliance.targets.target import Target


@dataclass(frozen=True, slots=True)
class Edge:
    """A requirement of one package for another.

    ``versions`` and ``pythons`` are the ones that it allows, or ``ANY``; an ``is_optional`` one
    counts only if an extra names it. ``source`` is the repository, path or URL of one that comes
    from no index.
    """

    name: str
    versions: Constraint = ANY
    pythons: Constraint = ANY
    marker: Marker | None = None
    extras: frozenset[str] = frozenset()
    is_optional: bool = False
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A package of the lock: ``extras`` are the names of optional requirements by extra; one of
    ``variant`` extras has these only."""

    pin: Pin
    edges: tuple[Edge, ...]
    pythons: Constraint = ANY
    extras: Mapping[str, frozenset[str]] = field(default_factory=dict)
    variant: frozenset[str] = frozenset()


class Walk:
    """The releases that are reached on one target. ``project`` is the name of the project itself,
    which the lock lacks: a plugin may require it."""

    def __init__(
        self, releases: Iterable[Release], target: Target, origin: str, project: str
    ) -> None:
        self._target, self._origin, self._project = target, origin, project
        self._releases: dict[str, list[Release]] = {}
        for release in releases:
            self._releases.setdefault(release.pin.name, []).append(release)

    def run(self, edges: Sequence[Edge]) -> list[Release]:
        """The releases that ``edges`` need, each once."""
        reached: dict[int, Release] = {}
        passed: set[tuple[int, frozenset[str]]] = set()
        queue = deque((edge, frozenset[str]()) for edge in edges)
        while queue:
            edge, active = queue.popleft()
            if edge.name == self._project or not self._applies(edge, active):
                continue
            release = self._find(edge)
            reached[id(release)] = release
            if (id(release), edge.extras) not in passed:
                passed.add((id(release), edge.extras))
                queue += ((each, edge.extras) for each in _edges(release, edge.extras))
        return list(reached.values())

    def _applies(self, edge: Edge, active: frozenset[str]) -> bool:
        conditions = Conditions(self._target, active)
        is_python = edge.pythons.contains(self._target.python)
        return is_python and conditions.allow(edge.marker, self._origin)

    def _find(self, edge: Edge) -> Release:
        named = self._releases.get(edge.name, ())
        matches = [
            release
            for release in named
            if edge.versions.contains(release.pin.version)
            and release.pythons.contains(self._target.python)
        ]
        exact = [release for release in matches if release.variant == edge.extras]
        if matches:
            return (exact or matches)[0]
        versions = ", ".join(release.pin.version for release in named) or "none"
        text = f"no version of {edge.name} fits target {self._target.name}, the lock has {versions}"
        raise PyindexError(f"{self._origin}: {text}; write the lock again")


def _edges(release: Release, extras: frozenset[str]) -> list[Edge]:
    """The requirements of a release that is required with ``extras``."""
    optional = {name for extra in extras for name in release.extras.get(extra, ())}
    return [edge for edge in release.edges if not edge.is_optional or edge.name in optional]
