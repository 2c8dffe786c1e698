"""A backtracking resolution on a target, by resolvelib as pip does it, for any rules.

pip and uv both find a solution if there is one, so that a resolution with the same candidates has
the same answer. Extras are nodes of their own: ``name[extra]`` requires the same release of
``name``, and what the extra adds.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from resolvelib import AbstractProvider, ResolutionImpossible, Resolver
from resolvelib.resolvers import RequirementInformation

from appliance.errors import Rejected
from appliance.inputs.demand import Wanted
from appliance.resolution.candidates import (
    Candidate,
    Unusable,
    applies,
    belongs,
    by_project,
    key,
    listed,
    reason,
    usable,
)
from appliance.resolution.hashes import with_digests
from appliance.resolution.limit import SECONDS, Limit, TooLongError
from appliance.resolution.model import Identifier, Need, Node, Problem, Question, Resolution
from appliance.resolution.rules import Rules, Wish, is_only_pin
from appliance.resolution.source import Facts, Source

_ROUNDS = 1_000_000_000  # a deadline ends it before
_ANY = SpecifierSet()


def resolve(
    question: Question, source: Source, rules: Rules, deadline: float | None = None
) -> Resolution:
    """Return the files that satisfy ``question`` by ``rules``, or the problems. A ``deadline`` of
    the monotonic clock ends the search; by default that is after :data:`SECONDS`.

    Raises :class:`PyindexError` as ``source`` does.
    """
    provider = _Provider(question, source, rules)
    limit = Limit(time.monotonic() + SECONDS if deadline is None else deadline)
    resolver: Resolver[Need, Node, Identifier] = Resolver(provider, limit)
    try:
        result = resolver.resolve(provider.roots(), max_rounds=_ROUNDS)
    except ResolutionImpossible as error:
        problems = provider.problems(error.causes)
        return Resolution(problems=problems, requirers=provider.requirers)
    except TooLongError:
        need = Need(("", "a solution"), _ANY, question.wanted[0].origin)
        return Resolution(problems=(Problem(need, limit.reason()),), is_undecided=True)

    nodes = sorted(result.mapping.values(), key=lambda node: node.identifier)
    picks = tuple(n.candidate for n in nodes if n.candidate and not n.identifier[1])
    missing = tuple(
        provider.merged(identifier, result.criteria[identifier].iter_requirement())
        for identifier, node in sorted(result.mapping.items())
        if node.candidate is None
    )
    return Resolution(picks=picks, missing=missing, notes=provider.notes(picks))


class _Provider(AbstractProvider[Need, Node, Identifier]):
    """The provider of candidates and requirements for resolvelib."""

    def __init__(self, question: Question, source: Source, rules: Rules) -> None:
        self._question, self._source, self._rules = question, source, rules
        self._usable: dict[str, tuple[list[Candidate], list[Unusable]]] = {}
        self._facts: dict[str, Facts] = {}
        self._unreadable: dict[str, str] = {}  # reasons by file name
        self.requirers: dict[str, set[str]] = {}
        self._constraints = by_project(question.constraints, question.target)
        self._direct = by_project(question.wanted, question.target)
        demanded = chain(*self._direct.values(), *self._constraints.values())
        unpinned = (each for each in demanded if not is_only_pin(each.requirement.specifier))
        self._unpinned = next(unpinned, None)

    # --- what resolvelib asks ------------------------------------------------------------------

    def roots(self) -> list[Need]:
        target = self._question.target
        return [
            need
            for wanted in self._question.wanted
            if applies(wanted.requirement, target)
            for need in _needs(wanted.requirement, wanted.origin, True, wanted.hashes)
        ]

    def identify(self, requirement_or_candidate: Need | Node) -> Identifier:
        return requirement_or_candidate.identifier

    def get_preference(
        self,
        identifier: Identifier,
        resolutions: Mapping[Identifier, Node],
        candidates: Mapping[Identifier, Iterator[Node]],
        information: Mapping[Identifier, Iterator[RequirementInformation[Need, Node]]],
        backtrack_causes: Sequence[RequirementInformation[Need, Node]],
    ) -> Any:
        """Causes of conflicts first, then what is pinned, direct, or limited, as in pip."""
        needs = [each.requirement for each in information[identifier]]
        operators = [each.operator for need in needs for each in need.specifier]
        is_cause = any(each.requirement.identifier == identifier for each in backtrack_causes)
        is_pinned = any(operator.startswith("==") for operator in operators)
        is_direct = any(need.direct for need in needs)
        return not is_cause, not is_pinned, not is_direct, not operators, identifier

    def find_matches(
        self,
        identifier: Identifier,
        requirements: Mapping[Identifier, Iterator[Need]],
        incompatibilities: Mapping[Identifier, Iterator[Node]],
    ) -> list[Node]:
        project, _ = identifier
        needs = list(requirements.get(identifier, iter(())))
        if identifier[1]:  # the requirements of the project itself hold for its extras
            needs += list(requirements.get((project, ""), iter(())))
        excluded = {node.candidate for node in incompatibilities[identifier]}
        exact = [need.exact for need in needs if need.exact is not None]

        if not project or any(need.by_url for need in needs):
            return []
        wish = self._wish(project, needs)
        refused = self._rules.refusal(wish, self._question.target) is not None
        chosen = [] if refused else self._rules.choose(self.usable(project)[0], wish)
        nodes = [Node(identifier, each) for each in chosen if all(each == one for one in exact)]
        if project in self._question.absent and wish.admits_others(chosen):
            nodes.append(Node(identifier, None))
        return [node for node in nodes if node.candidate not in excluded]

    def is_satisfied_by(self, requirement: Need, candidate: Node) -> bool:
        if candidate.candidate is None:
            return True
        if requirement.exact is not None:
            return candidate.candidate == requirement.exact
        specifier = requirement.specifier  # most have none, and are asked for in each round
        return not specifier or specifier.contains(candidate.candidate.version, prereleases=True)

    def get_dependencies(self, candidate: Node) -> list[Need]:
        (project, extra), release = candidate.identifier, candidate.candidate
        if release is None:
            return [Need((project, ""), _ANY, "")] if extra else []
        if self._question.no_deps and not extra:
            return []

        # A file that installers cannot read is no candidate to them either.
        try:
            needs = self._needs_of(project, extra, release)
        except Rejected as error:
            self._unreadable[release.file.filename] = str(error)
            needs = [Need(("", release.file.filename), _ANY, f"{project} {release.version}")]
        for need in needs:
            self.requirers.setdefault(need.identifier[0], set()).add(project)
        return needs

    def _needs_of(self, project: str, extra: str, release: Candidate) -> list[Need]:
        facts = self.facts(release)
        origin = f"{project} {release.version}"
        if not self._rules.supports(facts.requires_python, self._question.target):
            return [Need(("python", ""), SpecifierSet(facts.requires_python or ""), origin)]
        base = [Need((project, ""), _ANY, origin, exact=release)] if extra else []
        if self._question.no_deps:
            return base
        return base + self._dependencies(facts, extra, origin)

    # --- helpers -------------------------------------------------------------------------------

    def usable(self, project: str) -> tuple[list[Candidate], list[Unusable]]:
        if project not in self._usable:
            files = self._source.files(project)
            question = self._question
            candidates, unusable_files = usable(
                project, files, question.target, question.formats, self._rules.supports
            )
            hashed = with_digests(candidates, self._demanded(project), self._source)
            self._usable[project] = hashed, unusable_files
        return self._usable[project]

    def facts(self, release: Candidate) -> Facts:
        name = release.file.filename
        if name not in self._facts:
            self._facts[name] = self._source.facts(release.file)
        return self._facts[name]

    def _dependencies(self, facts: Facts, extra: str, origin: str) -> list[Need]:
        target = self._question.target
        return [
            need
            for requirement in facts.requires or ()
            if belongs(requirement, target, extra)
            for need in _needs(requirement, origin)
        ]

    def _demanded(self, project: str) -> list[Wanted]:
        return [*self._direct.get(project, ()), *self._constraints.get(project, ())]

    def _wish(self, project: str, needs: Sequence[Need]) -> Wish:
        wanted = self._constraints.get(project, [])
        specifier = _ANY
        for each in (
            *(need.specifier for need in needs),
            *(w.requirement.specifier for w in wanted),
        ):
            specifier &= each
        hashes = self._rules.digests([n.hashes for n in needs], [w.hashes for w in wanted])
        specifiers = tuple(each.requirement.specifier for each in self._demanded(project))
        question = self._question
        modes = (
            *(question.pre, question.prefer_binary),
            *(question.require_hashes, question.has_hashes),
        )
        return Wish(specifier, specifiers, hashes, *modes, self._unpinned)

    def merged(self, identifier: Identifier, needs: Iterable[Need]) -> Need:
        """Return all that is required of one project as one need."""
        all_needs = list(needs)
        wish = self._wish(identifier[0], all_needs)
        origins = dict.fromkeys(need.origin for need in all_needs if need.origin)
        return Need(identifier, wish.specifier, ", ".join(origins), hashes=wish.hashes)

    def problems(
        self, causes: Collection[RequirementInformation[Need, Node]]
    ) -> tuple[Problem, ...]:
        needs: dict[Identifier, list[Need]] = {}
        for cause in causes:
            needs.setdefault(cause.requirement.identifier, []).append(cause.requirement)
        return tuple(self._problem(identifier, each) for identifier, each in needs.items())

    def _problem(self, identifier: Identifier, needs: Sequence[Need]) -> Problem:
        merged = self.merged(identifier, needs)
        if conflict := self._conflict(identifier[0], needs):
            return Problem(merged, conflict, is_conflict=True)
        return Problem(merged, self._reason(identifier, needs))

    def _reason(self, identifier: Identifier, needs: Sequence[Need]) -> str:
        """Say what the source has of a project that does not satisfy ``needs``."""
        project, which = identifier
        if not project:
            return self._unreadable[which]
        if project == "python":
            return f"{self._question.target.name} has Python {self._question.target.python}"
        if any(need.by_url for need in needs):
            return "named by a URL, which installers fetch instead of the index"

        wish = self._wish(project, needs)
        if refusal := self._rules.refusal(wish, self._question.target):
            return refusal
        candidates, unusable_files = self.usable(project)
        if self._rules.choose(candidates, wish):
            return "no release satisfies all requirements"
        return reason(candidates, unusable_files, wish.specifier, wish.hashes)

    def _conflict(self, project: str, needs: Sequence[Need]) -> str | None:
        """Say which requirements conflict: no version satisfies all, or the source has a release
        for each alone, but none for all."""
        sides = {f"{project}{need.specifier}": need for need in needs if need.specifier}
        if len(sides) < 2 or project in ("", "python") or any(need.by_url for need in needs):
            return None
        candidates, _ = self.usable(project)
        wish = self._wish(project, needs)
        alone = (self._rules.choose(candidates, self._wish(project, [n])) for n in sides.values())
        if self._rules.choose(candidates, wish):
            return None
        is_impossible = wish.specifier.is_unsatisfiable()
        if not is_impossible and not all(alone):
            return None
        texts = " and ".join(f"{side} ({need.origin})" for side, need in sorted(sides.items()))
        problem = "exclude each other" if is_impossible else "have no release in common"
        there = listed(candidates) if candidates else "no file for this target"
        return f"{texts} {problem}; there is {there}"

    def notes(self, picks: Iterable[Candidate] = ()) -> tuple[str, ...]:
        """Return what is uncertain about the files of a resolution."""
        known = [(each, self._facts.get(each.file.filename)) for each in picks]
        return tuple(
            f"{each.file.filename}: {facts.note}" for each, facts in known if facts and facts.note
        )


def _needs(
    requirement: Requirement,
    origin: str,
    direct: bool = False,
    hashes: frozenset[str] = frozenset(),
) -> Iterator[Need]:
    """Return a requirement as one of the project, and one of each extra."""
    for extra in ("", *sorted(map(key, requirement.extras))):
        identifier = key(requirement.name), extra
        by_url = requirement.url is not None
        yield Need(identifier, requirement.specifier, origin, direct, None, hashes, by_url)
