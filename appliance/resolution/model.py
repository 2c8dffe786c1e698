"""A question to be resolved, its answer, and what both are made of."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from packaging.specifiers import SpecifierSet

from appliance.inputs.demand import Wanted
from appliance.resolution.candidates import Candidate, Formats
from appliance.targets.target import Target

_ALL_FORMATS = Formats()

Identifier = tuple[str, str]
"""The normalized name of a project, and one of its extras or ""."""


@dataclass(frozen=True, slots=True)
class Need:
    """A requirement of one project, or of one of its extras.

    ``exact`` is the release that an extra belongs to; ``origin`` says in messages what requires it;
    ``direct`` whether that is the demand itself; ``by_url`` whether it is named by a URL, which
    no index satisfies.
    """

    identifier: Identifier
    specifier: SpecifierSet
    origin: str
    direct: bool = False
    exact: Candidate | None = None
    hashes: frozenset[str] = frozenset()
    by_url: bool = False

    def __str__(self) -> str:
        project, extra = self.identifier
        if not project:
            return extra  # a file
        return f"{project}[{extra}]{self.specifier}" if extra else f"{project}{self.specifier}"


@dataclass(frozen=True, slots=True)
class Node:
    """A release with one of its extras or ""; or a missing release, without a ``candidate``."""

    identifier: Identifier
    candidate: Candidate | None


@dataclass(frozen=True, slots=True)
class Problem:
    """A requirement that cannot be satisfied.

    ``reason`` says what there is instead; with ``is_conflict`` it names the requirements that
    exclude each other.
    """

    need: Need
    reason: str
    is_conflict: bool = False

    def __str__(self) -> str:
        return f"{self.need} (required by {self.need.origin}): {self.reason}"


@dataclass(frozen=True, slots=True)
class Resolution:
    """The outcome: the file of each project, or what stands in the way.

    ``missing`` are the needs that files outside of the source must satisfy; only a resolution with
    ``absent`` projects has them. ``is_undecided`` says that there was no answer in time.
    ``requirers`` are, for each project that a release required during a failed search, the projects
    of those releases.
    """

    picks: tuple[Candidate, ...] = ()
    problems: tuple[Problem, ...] = ()
    missing: tuple[Need, ...] = ()
    notes: tuple[str, ...] = ()
    is_undecided: bool = False
    requirers: Mapping[str, Set[str]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        return not self.problems and not self.missing


@dataclass(frozen=True, slots=True)
class Question:
    """The question to be resolved: requirements and constraints for one target.

    ``absent`` are projects of which the source may lack files: any release of them is assumed.
    ``prefer_binary``, ``require_hashes`` and ``has_hashes`` are as in
    :class:`appliance.inputs.demand.Options`.
    """

    wanted: tuple[Wanted, ...]
    target: Target
    constraints: tuple[Wanted, ...] = ()
    formats: Formats = _ALL_FORMATS
    pre: bool = False
    prefer_binary: bool = False
    no_deps: bool = False
    absent: frozenset[str] = frozenset()
    require_hashes: bool = False
    has_hashes: bool = False
