"""What an index lacks: the fewest releases found whose addition would make an install succeed.

At first those that no file satisfies. Where requirements exclude each other, no file of the project
itself helps: then other releases of the projects that require it.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice, takewhile

from packaging.specifiers import SpecifierSet

from appliance.resolution.limit import SECONDS
from appliance.resolution.model import Identifier, Need, Problem, Question, Resolution
from appliance.resolution.resolver import resolve
from appliance.resolution.rules import FIRST_FOUND, PIP, Rules
from appliance.resolution.source import Source

# Sets of missing projects that are tried before all: of one, then two, then three projects.
_MOST_SETS = 200
_MOST_PROJECTS = 3
_Rest = set[tuple[Identifier, SpecifierSet]]
_NO_PROJECT = ("", "python")  # what a release requires that no release is


@dataclass(frozen=True, slots=True)
class Missing:
    """A requirement that no file of an index satisfies, and why the install fails.

    Where releases of the index satisfy it, but conflict with others, ``reason`` says what another
    release must be like.
    """

    requirement: str
    required_by: str
    reason: str


def missing_releases(
    question: Question, source: Source, rules: Rules, failed: Resolution
) -> tuple[Missing, ...]:
    """Return the fewest requirements whose satisfaction would make ``question`` succeed, as far as
    they are found in time; those that stand in its way if there are none.

    ``failed`` is the resolution of ``question``. Raises :class:`PyindexError` as ``source`` does.
    """
    reasons = {each.need.identifier[0]: each.reason for each in failed.problems}
    problems = failed.problems
    if not failed.is_undecided:
        search = _Search(question, source, rules)
        if found := search.smallest(reasons):
            return found
        problems = search.problems or problems
    return tuple(Missing(str(each.need), each.need.origin, each.reason) for each in problems)


class _Search:
    """The search of missing releases for one question.

    ``_absent`` are the projects that no file satisfies, ``_requirers`` those that require what
    conflicts; other releases of either may be what is missing.
    """

    def __init__(self, question: Question, source: Source, rules: Rules) -> None:
        self._question, self._source = question, source
        self._rules = PIP if rules is FIRST_FOUND else rules
        self._deadline = time.monotonic() + SECONDS
        self._required_by: dict[str, set[str]] = {}
        self._absent, self._conflict = self._find_absent()
        self._related: list[str] = []
        self._requirers = self._find_requirers()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The conflicts that would be left if every project without a file had one."""
        return () if self._conflict.is_undecided else self._conflict.problems

    def smallest(self, reasons: Mapping[str, str]) -> tuple[Missing, ...]:
        """Return the smallest set; ``reasons`` say of projects why no file satisfies them."""
        solutions = self._solutions()
        absent, solution = next(solutions, (frozenset[str](), Resolution()))
        conflicting = absent.intersection(self._requirers)
        advice = {name: [self._advice(name, solution)] for name in conflicting}
        if len(conflicting) == 1:
            ((name, lines),) = advice.items()
            lines += self._alternatives(_besides(name, solution), len(absent), solutions)
        conflict = "; ".join(dict.fromkeys(map(_sentence, self._conflict.problems)))
        texts = {name: f"{conflict}; add {', or '.join(each)}" for name, each in advice.items()}
        return tuple(_named(each, {**reasons, **texts}) for each in _as_written(solution.missing))

    # --- projects that may be missing -----------------------------------------------------------

    def _find_absent(self) -> tuple[list[str], Resolution]:
        """Return projects in the order in which they appear when those before are assumed to be
        there, and the last resolution, which assumes all of them."""
        found: dict[str, None] = {}
        while True:
            resolution = self._without(found)
            names = [each.need.identifier[0] for each in resolution.problems]
            new = [each for each in names if each not in found and each not in _NO_PROJECT]
            if not new:
                return list(found), resolution
            found |= dict.fromkeys(new)

    def _find_requirers(self) -> list[str]:
        """Return the projects that require what conflicts, then those that require these, and so
        on, until other releases of them would end the conflict."""
        found: dict[str, None] = {}
        resolution = self._conflict
        while resolution.problems and not resolution.is_undecided:
            self._related += [each.need.identifier[0] for each in resolution.problems]
            below = (*self._related, *found)
            above = {name for each in below for name in self._required_by.get(each, ())}
            new = sorted(above.difference(self._absent, found))
            if not new:
                break
            found |= dict.fromkeys(new)
            resolution = self._without({*self._absent, *found})
        self._related = list(dict.fromkeys([*self._related, *found]))
        return list(found)

    def _solutions(self) -> Iterator[tuple[frozenset[str], Resolution]]:
        """Yield sets of projects of which other releases end the search, small ones first."""
        for absent in _sets([*self._absent, *self._requirers]):
            resolution = self._without(absent)
            if resolution.is_undecided:
                return
            if resolution.missing and not resolution.problems:
                yield absent, resolution

    def _without(self, absent: Collection[str]) -> Resolution:
        question = replace(self._question, absent=frozenset(absent))
        resolution = resolve(question, self._source, self._rules, self._deadline)
        for project, requirers in resolution.requirers.items():
            self._required_by.setdefault(project, set()).update(requirers)
        return resolution

    # --- what another release must be like -------------------------------------------------------

    def _alternatives(
        self, rest: _Rest, size: int, solutions: Iterator[tuple[frozenset[str], Resolution]]
    ) -> Iterator[str]:
        """Yield the releases of other projects, each of which would do together with ``rest``."""
        for absent, solution in takewhile(lambda each: len(each[0]) == size, solutions):
            for name in absent.intersection(self._requirers):
                if _besides(name, solution) == rest:
                    yield self._advice(name, solution)

    def _advice(self, project: str, solution: Resolution) -> str:
        """Say what a release must be like to take part in a solution."""
        required = (n for n in self._related if project in self._required_by.get(n, ()))
        names = [name for name in required if name != project]  # not what an extra belongs to
        picks = {each.project: each for each in solution.picks}
        missing = {each.identifier[0]: each for each in _as_written(solution.missing)}
        likes = []
        for name in names:
            if name in picks:
                likes.append(f"accepts {name} {picks[name].version}")
            elif name in missing:
                likes.append(f"accepts {missing[name]}")
            else:
                likes.append(self._unlike(name))
        return f"a release of {missing[project]} that {' and '.join(likes)}"

    def _unlike(self, name: str) -> str:
        if name == "python":
            return f"supports Python {self._question.target.python}"
        return f"does not require {name}" if name else "installers can read"


def _sets(projects: Sequence[str]) -> Iterator[frozenset[str]]:
    """Yield sets of projects that may be missing: small ones first, at last all together."""
    sizes = range(1, min(_MOST_PROJECTS, len(projects)) + 1)
    small = (each for size in sizes for each in combinations(projects, size))
    yield from map(frozenset, islice(small, _MOST_SETS))
    if len(projects) > _MOST_PROJECTS:
        yield frozenset(projects)


def _besides(project: str, solution: Resolution) -> _Rest:
    """Return what a solution misses in addition to a release of ``project``."""
    missing = ((each.identifier, each.specifier) for each in solution.missing)
    return {each for each in missing if each[0][0] != project}


def _as_written(needs: Sequence[Need]) -> Iterator[Need]:
    """Yield needs without those of a project that one of its extras implies."""
    extras = {(n.identifier[0], n.origin, n.specifier) for n in needs if n.identifier[1]}
    for need in needs:
        project, extra = need.identifier
        if extra or (project, need.origin, need.specifier) not in extras:
            yield need


def _named(need: Need, reasons: Mapping[str, str]) -> Missing:
    reason = reasons.get(need.identifier[0], "no file that satisfies it")
    return Missing(str(need), need.origin, reason)


def _sentence(problem: Problem) -> str:
    return problem.reason if problem.is_conflict else str(problem)
