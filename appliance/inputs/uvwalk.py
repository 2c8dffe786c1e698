"""The walk over the graph of a ``uv.lock`` for one target."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from appliance.errors import PyindexError
from appliance.inputs.pinning import Conditions
from appliance.inputs.uvpackages import Dependency, Package
from appliance.targets.target import Target


class Walk:
    """The packages that are reached on one target.

    Where extras or groups conflict, markers depend on those that are installed: uv spells them
    ``extra-3-foo-cpu``, with the length of the project's name. An edge may activate an extra that
    enables edges already passed, so the walk is repeated until it activates none.
    """

    def __init__(
        self, packages: Mapping[str, Sequence[Package]], target: Target, origin: str
    ) -> None:
        self._packages, self._target, self._origin = packages, target, origin
        self._first: list[Dependency] = []
        self._roots: list[Package] = []
        self._active: set[str] = set()
        self._known: dict[frozenset[str], Conditions] = {}

    def begin(self, root: Package, extras: Collection[str], groups: Collection[str]) -> None:
        """Begin at a project, with extras and groups as far as it has them."""
        self._roots.append(root)
        self._active.add(f"project-{len(root.name)}-{root.name}")
        self.add(root.dependencies)
        for extra in sorted(root.extras.keys() & extras):
            self._active.add(_spelled("extra", root.name, extra))
            self.add(root.extras[extra])
        for group in sorted(root.groups.keys() & groups):
            self._active.add(_spelled("group", root.name, group))
            self.add(root.groups[group])

    def add(self, dependencies: Iterable[Dependency]) -> None:
        """Begin at dependencies, too."""
        self._first += dependencies

    def packages(self) -> list[Package]:
        """Each package that is reached, once."""
        while True:
            active = frozenset(self._active)
            reached = self._run(active)
            if active == self._active:
                return reached

    def _run(self, active: frozenset[str]) -> list[Package]:
        reached = {id(root): root for root in self._roots}
        passed: set[tuple[int, str]] = set()
        queue = deque(self._first)
        while queue:
            dependency = queue.popleft()
            if not self._applies(dependency, active):
                continue
            package = self._find(dependency)
            reached[id(package)] = package
            for extra in ("", *dependency.extras):
                if (id(package), extra) not in passed:
                    passed.add((id(package), extra))
                    queue += package.extras.get(extra, ()) if extra else package.dependencies
        return list(reached.values())

    def _applies(self, dependency: Dependency, active: frozenset[str]) -> bool:
        extras = {_spelled("extra", dependency.name, extra) for extra in dependency.extras}
        conditions = self._conditions(active | extras)
        if not conditions.allow(dependency.marker, self._origin):
            return False
        self._active |= extras
        return True

    def _conditions(self, active: frozenset[str]) -> Conditions:
        if active not in self._known:
            self._known[active] = Conditions(self._target, active)
        return self._known[active]

    def _find(self, dependency: Dependency) -> Package:
        matches = [
            package
            for package in self._packages.get(dependency.name, ())
            if dependency.version in (None, package.version)
            and dependency.source in (None, package.source)
        ]
        if len(matches) > 1:  # requirements of a script or a group name no version
            matches = [package for package in matches if self._is_for_target(package)]
        if len(matches) == 1:
            return matches[0]
        name = " ".join(filter(None, (dependency.name, dependency.version)))
        text = f"{len(matches)} packages are {name}" if matches else f"no package is {name}"
        raise PyindexError(f"{self._origin}: {text}; write it again with `uv lock`")

    def _is_for_target(self, package: Package) -> bool:
        conditions = self._conditions(frozenset())
        return any(conditions.allow(marker, package.where) for marker in package.forks)


def _spelled(kind: str, project: str, name: str) -> str:
    return f"{kind}-{len(project)}-{project}-{name}"
