"""Rules of installers: which releases of a project each of them considers, in which order.

pip and uv agree on nearly everything; what they do not agree on is here: pre-releases and yanked
releases. Observed with pip 26.3 and uv 0.13.9.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from appliance.resolution.candidates import Candidate, best_of_each, has_hash
from appliance.targets.target import Target


@dataclass(frozen=True)
class Wish:
    """All that is required of one project at a point of a resolution.

    Attributes:
        specifier: All specifiers together.
        direct: The specifiers in the demand itself, with its constraints.
        hashes: Digests that its file may have; any file, if empty.
        pre: Whether the demand allows pre-releases of every project.
    """

    specifier: SpecifierSet
    direct: tuple[SpecifierSet, ...] = ()
    hashes: frozenset[str] = frozenset()
    pre: bool = False

    @cached_property
    def is_pinned(self) -> bool:
        """Whether one of the specifiers names an exact version."""
        return _is_pinned(self.specifier)


class Rules(Protocol):
    """The choice of one installer among the releases of a project."""

    name: str

    def supports(self, requires_python: str | None, target: Target) -> bool:
        """Return whether a file with this Requires-Python counts on ``target``."""

    def choose(self, files: Sequence[Candidate], wish: Wish) -> list[Candidate]:
        """Return the releases that satisfy ``wish``, best first, out of all usable files."""


class PipRules:
    """pip 20.3 and newer: the versions of its ``CandidateEvaluator``."""

    name = "pip"

    def supports(self, requires_python: str | None, target: Target) -> bool:
        specifier = _specifier(requires_python)
        return specifier is None or specifier.contains(target.python, prereleases=True)

    def choose(self, files: Sequence[Candidate], wish: Wish) -> list[Candidate]:
        releases = _with_hashes(files, wish)
        versions = _filtered(wish.specifier, releases, wish.pre or None)
        chosen = [each for each in releases if each.version in versions]
        # PEP 592: yanked releases count only if all are yanked, and one is pinned.
        unyanked = [each for each in chosen if each.file.yanked is None]
        return chosen if not unyanked and wish.is_pinned else unyanked


class UvRules:
    """uv: pre-releases count after final releases, yanked ones only if the demand pins them, and of
    Requires-Python only the lower bound."""

    name = "uv"

    def supports(self, requires_python: str | None, target: Target) -> bool:
        lower = [
            f"{'>' if each.operator == '>' else '>='}{each.version.removesuffix('.*')}"
            for each in _specifier(requires_python) or ()
            if each.operator in _LOWER
        ]
        bounds = _specifier(",".join(lower))
        return bounds is None or bounds.contains(target.python, prereleases=True)

    def choose(self, files: Sequence[Candidate], wish: Wish) -> list[Candidate]:
        releases = _with_hashes(files, wish)
        versions = _filtered(wish.specifier, releases, True)
        pinned = [specifier for specifier in wish.direct if _is_pinned(specifier)]
        chosen = [
            each
            for each in releases
            if each.version in versions
            if each.file.yanked is None or _contains(pinned, each.version)
        ]
        return sorted(chosen, key=lambda each: each.version.is_prerelease and not wish.pre)


class FirstFoundRules(PipRules):
    """pip before 20.3: it prefers releases that are not yanked, and takes yanked ones otherwise."""

    name = "pip before 20.3"

    def choose(self, files: Sequence[Candidate], wish: Wish) -> list[Candidate]:
        releases = _with_hashes(files, wish)
        versions = _filtered(wish.specifier, releases, wish.pre or None)
        chosen = [each for each in releases if each.version in versions]
        return sorted(chosen, key=lambda each: each.file.yanked is not None)


PIP = PipRules()
FIRST_FOUND = FirstFoundRules()
UV = UvRules()
_LOWER = (">=", ">", "==", "===", "~=")


def _with_hashes(files: Iterable[Candidate], wish: Wish) -> list[Candidate]:
    return best_of_each(each for each in files if has_hash(each.file, wish.hashes))


def _filtered(
    specifier: SpecifierSet, releases: Sequence[Candidate], prereleases: bool | None
) -> Collection[Version]:
    return set(specifier.filter([each.version for each in releases], prereleases=prereleases))


def _is_pinned(specifier: SpecifierSet) -> bool:
    return any(
        each.operator == "===" or (each.operator == "==" and not each.version.endswith(".*"))
        for each in specifier
    )


def _contains(specifiers: Iterable[SpecifierSet], version: Version) -> bool:
    return any(specifier.contains(version, prereleases=True) for specifier in specifiers)


@lru_cache(maxsize=1024)
def _specifier(requires_python: str | None) -> SpecifierSet | None:
    """Parse Requires-Python; ``None`` without a valid one, which installers ignore."""
    try:
        return SpecifierSet(requires_python) if requires_python else None
    except InvalidSpecifier:
        return None
