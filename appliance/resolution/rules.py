"""Rules of installers: which releases of a project each of them considers, in which order.

pip and uv agree on nearly everything; what they do not agree on is here: pre-releases and yanked
releases. Observed with pip 26.3 and uv 0.13.9.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from appliance.inputs.demand import Wanted
from appliance.resolution.candidates import Candidate, best_of_each, has_hash
from appliance.resolution.hashes import common
from appliance.targets.target import Target


@dataclass(frozen=True)
class Wish:
    """All that is required of one project at a point of a resolution.

    Attributes:
        specifier: All specifiers together.
        direct: The specifiers in the demand itself, with its constraints.
        unpinned: A requirement or constraint of any project that is not pinned by == alone.
        hashes: Digests that its file may have; any file, if empty.
        pre: Whether the demand allows pre-releases of every project.
        prefer_binary: Whether the demand has ``--prefer-binary``.
        require_hashes: Whether the demand has ``--require-hashes``.
        has_hashes: Whether it has ``--hash`` anywhere.
    """

    specifier: SpecifierSet
    direct: tuple[SpecifierSet, ...] = ()
    hashes: frozenset[str] = frozenset()
    pre: bool = False
    prefer_binary: bool = False
    require_hashes: bool = False
    has_hashes: bool = False
    unpinned: Wanted | None = None

    @cached_property
    def is_pinned(self) -> bool:
        """Whether one of the specifiers names an exact version."""
        return _is_pinned(self.specifier)

    def admits_others(self, chosen: Iterable[Candidate]) -> bool:
        """Whether a version other than those of ``chosen`` can satisfy it."""
        others = [f"!={each.version}" for each in chosen] if self.is_pinned else []
        return not (self.specifier & SpecifierSet(",".join(others))).is_unsatisfiable()


Digests = Collection[frozenset[str]]
"""The digests of each requirement, none where it has none."""


class Rules(Protocol):
    """The choice of one installer among the releases of a project."""

    name: str

    def supports(self, requires_python: str | None, target: Target) -> bool:
        """Return whether a file with this Requires-Python counts on ``target``."""

    def choose(self, files: Sequence[Candidate], wish: Wish) -> list[Candidate]:
        """Return the releases that satisfy ``wish``, best first, out of all usable files."""

    def digests(self, required: Digests, constraints: Digests) -> frozenset[str]:
        """Return the digests that count, of those of requirements and of constraints."""

    def refusal(self, wish: Wish, target: Target) -> str | None:
        """Return why no file at all can satisfy ``wish``; ``None`` if one can."""


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
        taken = chosen if not unyanked and wish.is_pinned else unyanked
        return sorted(taken, key=lambda each: wish.prefer_binary and not each.is_wheel)

    def digests(self, required: Digests, constraints: Digests) -> frozenset[str]:
        return common(required) or common(constraints)

    def refusal(self, wish: Wish, target: Target) -> str | None:
        """In hash-checking mode, which one ``--hash`` begins, each file needs a digest."""
        if not (wish.require_hashes or wish.has_hashes):
            return None
        if not wish.hashes:
            return "no --hash is given for it, and pip requires one for all files or for none"
        # pip that runs on Python 3.10 takes a requirement with digests as pinned.
        if target.python_version < (3, 10) and not any(map(_is_only_operator, wish.direct)):
            return "not pinned by == alone, as pip requires of a requirement with --hash"
        return None


class UvRules:
    """uv: pre-releases count after final releases, yanked ones only if the demand pins them, and of
    Requires-Python only the lower bound. It ignores ``--prefer-binary``."""

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
        pinned = [specifier for specifier in wish.direct if _is_pinned(specifier)]
        # uv looks at the digests of pinned requirements only.
        releases = _with_hashes(files, wish if pinned else replace(wish, hashes=frozenset()))
        versions = _filtered(wish.specifier, releases, True)
        chosen = [
            each
            for each in releases
            if each.version in versions
            if each.file.yanked is None or _contains(pinned, each.version)
        ]
        return sorted(chosen, key=lambda each: each.version.is_prerelease and not wish.pre)

    def digests(self, required: Digests, constraints: Digests) -> frozenset[str]:
        return common(required)

    def refusal(self, wish: Wish, target: Target) -> str | None:
        """Unlike pip, uv requires digests only by the option, and then pins, too, also of
        constraints."""
        if not wish.require_hashes:
            return None
        if not wish.hashes:
            return (
                "no --hash is given for it, as --require-hashes demands; uv reads no constraint's"
            )
        if (other := wish.unpinned) is not None:
            text = f"{other.requirement} ({other.origin}) is not pinned by == alone"
            return f"{text}, as uv requires with --require-hashes"
        return None


class FirstFoundRules(PipRules):
    """pip before 20.3: it prefers releases that are not yanked, and takes yanked ones otherwise."""

    name = "pip before 20.3"

    def digests(self, required: Digests, constraints: Digests) -> frozenset[str]:
        """A constraint that is read first takes the place of a requirement."""
        return common(constraints or required)

    def choose(self, files: Sequence[Candidate], wish: Wish) -> list[Candidate]:
        releases = _with_hashes(files, wish)
        versions = _filtered(wish.specifier, releases, wish.pre or None)
        chosen = [each for each in releases if each.version in versions]
        return sorted(
            chosen,
            key=lambda each: (
                each.file.yanked is not None,
                wish.prefer_binary and not each.is_wheel,
            ),
        )


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


def is_only_pin(specifier: SpecifierSet) -> bool:
    """Whether a specifier is one exact version."""
    return len(specifier) == 1 and _is_pinned(specifier)


def _is_only_operator(specifier: SpecifierSet) -> bool:
    """Whether pip takes a specifier for a pin: also ``==1.*``."""
    return [each.operator for each in specifier] in (["=="], ["==="])


def _contains(specifiers: Iterable[SpecifierSet], version: Version) -> bool:
    return any(specifier.contains(version, prereleases=True) for specifier in specifiers)


@lru_cache(maxsize=1024)
def _specifier(requires_python: str | None) -> SpecifierSet | None:
    """Parse Requires-Python; ``None`` without a valid one, which installers ignore."""
    try:
        return SpecifierSet(requires_python) if requires_python else None
    except InvalidSpecifier:
        return None
