"""Rules of installers: which releases of a project each of them considers, in which order.

pip and uv agree on nearly everything; what they do not agree on is here: pre-releases and yanked
releases. Observed with pip 26.3 and uv 0.13.9.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from appliance.resolution.candidates import Candidate, best_of_each, has_hash


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

    def choose(self, files: Sequence[Candidate], wish: Wish) -> list[Candidate]:
        """Return the releases that satisfy ``wish``, best first, out of all usable files."""


class PipRules:
    """pip 20.3 and newer: the versions of its ``CandidateEvaluator``."""

    name = "pip"

    def choose(self, files: Sequence[Candidate], wish: Wish) -> list[Candidate]:
        releases = _with_hashes(files, wish)
        versions = _filtered(wish.specifier, releases, wish.pre or None)
        chosen = [each for each in releases if each.version in versions]
        # PEP 592: yanked releases count only if all are yanked, and one is pinned.
        unyanked = [each for each in chosen if each.file.yanked is None]
        return chosen if not unyanked and wish.is_pinned else unyanked


class UvRules:
    """uv: ``--prerelease if-necessary-or-explicit``, yanked releases only if pinned directly."""

    name = "uv"

    def choose(self, files: Sequence[Candidate], wish: Wish) -> list[Candidate]:
        releases = _with_hashes(files, wish)
        explicit = any(specifier.prereleases for specifier in wish.direct)
        necessary = all(each.version.is_prerelease for each in releases)
        versions = _filtered(wish.specifier, releases, wish.pre or explicit or necessary)
        pinned = [specifier for specifier in wish.direct if _is_pinned(specifier)]
        return [
            each
            for each in releases
            if each.version in versions
            if each.file.yanked is None or _contains(pinned, each.version)
        ]


PIP = PipRules()
UV = UvRules()


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
