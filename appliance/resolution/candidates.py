"""Candidates: the files of a project that a target can use, one for each release, best first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from appliance.errors import Rejected
from appliance.index.names import distribution
from appliance.inputs.demand import Wanted
from appliance.targets.target import Target
from appliance.upstream.model import RemoteFile

_EVERY = ":all:"
_KINDS = ("bdist_wheel", "sdist")


@dataclass(frozen=True, slots=True)
class Candidate:
    """The file of one release that an installer takes on a target.

    ``rank`` is the position of a wheel's best tag in those of the target; an sdist, which every
    target may build, comes after all wheels.
    """

    project: str
    version: Version
    file: RemoteFile
    is_wheel: bool
    rank: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file that the target cannot use, and why."""

    version: str
    filename: str
    reason: str


@dataclass(frozen=True, slots=True)
class Formats:
    """Projects of which only wheels, or only sdists, count; ``:all:`` for each project."""

    only_binary: frozenset[str] = frozenset()
    no_binary: frozenset[str] = frozenset()

    def allows(self, project: str, is_wheel: bool) -> bool:
        """Whether a wheel, or an sdist, of ``project`` counts: a name wins over ``:all:``."""
        refusing = self.no_binary if is_wheel else self.only_binary
        other = self.only_binary if is_wheel else self.no_binary
        return project not in refusing and (_EVERY not in refusing or project in other)


Supports = Callable[[str | None, Target], bool]
"""Function that says whether an installer takes a Requires-Python to include a target's Python."""


def usable(
    project: str,
    files: Iterable[RemoteFile],
    target: Target,
    formats: Formats,
    supports: Supports,
) -> tuple[list[Candidate], list[Unusable]]:
    """Return all files of ``project`` that ``target`` can use, and those it cannot use.

    More than one file of a release may be usable; :func:`best_of_each` chooses.
    """
    candidates: list[Candidate] = []
    unusable: list[Unusable] = []
    for file in files:
        made = _candidate(project, file, target, formats, supports)
        if isinstance(made, Candidate):
            candidates.append(made)
        elif made is not None:
            unusable.append(made)
    return candidates, unusable


def best_of_each(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the best file of each release, one that is not yanked if there is any; the newest
    release first."""
    best: dict[Version, Candidate] = {}
    for each in candidates:
        other = best.get(each.version)
        if other is None or _preference(each) < _preference(other):
            best[each.version] = each
    return sorted(best.values(), key=lambda each: each.version, reverse=True)


def _preference(candidate: Candidate) -> tuple[bool, tuple[int, ...]]:
    return candidate.file.yanked is not None, candidate.rank


def _candidate(
    project: str,
    file: RemoteFile,
    target: Target,
    formats: Formats,
    supports: Supports,
) -> Candidate | Unusable | None:
    """Return ``None`` for a file that no installer considers, such as an egg."""
    named = distribution(file.filename)
    if named is None or named.kind not in _KINDS or named.project != project:
        return None
    is_wheel = named.kind == "bdist_wheel"

    try:
        version = Version(named.version)
    except InvalidVersion:
        return Unusable(named.version, file.filename, "version not valid (PEP 440)")
    rank = _wheel_rank(file.filename, target.ranks) if is_wheel else (len(target.tags),)
    if rank is None:
        return Unusable(str(version), file.filename, f"no tag of {target.name}")
    if not formats.allows(project, is_wheel):
        reason = "wheels are excluded" if is_wheel else "sdists are excluded"
        return Unusable(str(version), file.filename, reason)
    if not supports(file.requires_python, target):
        return Unusable(str(version), file.filename, f"requires Python {file.requires_python}")
    return Candidate(project, version, file, is_wheel, rank)


def _wheel_rank(filename: str, ranks: Mapping[Tag, int]) -> tuple[int, ...] | None:
    """Return the rank of a wheel: of its best tag, then the highest build tag first."""
    try:
        _, _, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    found = [ranks[tag] for tag in tags if tag in ranks]
    return (min(found), -(build[0] if build else -1)) if found else None


def has_hash(file: RemoteFile, hashes: frozenset[str]) -> bool:
    """Whether a file has one of ``hashes`` (``sha256:<hex>``); any file, if there are none."""
    if not hashes:
        return True
    return any(f"{name}:{digest}" in hashes for name, digest in file.hashes.items())


def applies(requirement: Requirement, target: Target, extras: Sequence[str] = ("",)) -> bool:
    """Whether the marker of ``requirement`` is true on ``target`` for one of the ``extras``. Raises
    :class:`Rejected` for a marker that has no value."""
    marker = requirement.marker
    if marker is None:
        return True
    environments: list[dict[str, Any]] = [
        {**target.environment, "extra": extra} for extra in extras or ("",)
    ]
    try:
        return any(marker.evaluate(environment) for environment in environments)
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise Rejected(f"marker of {str(requirement)!r} without a value: {error}") from None


def belongs(requirement: Requirement, target: Target, extra: str) -> bool:
    """Whether a dependency belongs to ``extra`` alone, or without one to every install."""
    if not extra:
        return applies(requirement, target)
    return applies(requirement, target, (extra,)) and not applies(requirement, target)


def unconditional(requirement: Requirement) -> Requirement:
    """Return a requirement whose marker was found to be true, without it."""
    copy = Requirement(str(requirement))
    copy.marker = None
    return copy


def reason(
    candidates: Sequence[Candidate],
    unusable_files: Sequence[Unusable],
    specifier: SpecifierSet,
    hashes: frozenset[str] = frozenset(),
) -> str:
    """Say what there is of a project instead of a file that satisfies ``specifier`` and has one of
    ``hashes``."""
    for candidate in candidates:
        is_wanted = specifier.contains(candidate.version, prereleases=True)
        if is_wanted and not has_hash(candidate.file, hashes):
            return f"{candidate.file.filename}: another content than the input names, by its digest"
    for each in unusable_files:
        if specifier.contains(each.version, prereleases=True):
            return f"{each.filename}: {each.reason}"

    if candidates:
        return f"only {listed(candidates)}"
    return "no file for this target" if unusable_files else "no such project"


def listed(candidates: Iterable[Candidate]) -> str:
    """Return the newest versions of candidates as a text."""
    versions = sorted({each.version for each in candidates}, reverse=True)
    return ", ".join(map(str, versions[:5])) + (", …" if len(versions) > 5 else "")


def key(name: str) -> str:
    """The normalized name of a project."""
    return canonicalize_name(name)


def by_project(wanted: Iterable[Wanted], target: Target) -> dict[str, list[Wanted]]:
    """Return requirements that apply on ``target`` by their projects."""
    found: dict[str, list[Wanted]] = {}
    for each in wanted:
        if applies(each.requirement, target):
            found.setdefault(key(each.requirement.name), []).append(each)
    return found
