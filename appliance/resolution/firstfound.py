"""The resolution of pip before 20.3, and of each pip on Python 2.7: the first release that is found
for a project stays, whatever later requirements say.

After ``pip._internal.resolution.legacy.resolver`` of pip 20.3.4.
"""

from collections import deque

from packaging.specifiers import SpecifierSet

from appliance.errors import Rejected
from appliance.inputs.demand import Wanted
from appliance.resolution.candidates import (
    Candidate,
    applies,
    key,
    reason,
    unconditional,
    usable,
)
from appliance.resolution.hashes import with_digests
from appliance.resolution.model import Need, Problem, Question, Resolution
from appliance.resolution.rules import FIRST_FOUND, Wish
from appliance.resolution.source import Source


def resolve_first_found(question: Question, source: Source) -> Resolution:
    """Return the files that such a pip installs, or the first requirement that it finds none for.

    Raises :class:`PyindexError` as ``source`` does.
    """
    run = _Run(question, source)
    try:
        problem = run.follow()
    except Rejected as error:  # a file that such a pip could not read either
        problem = Problem(Need(("", ""), SpecifierSet(), question.wanted[0].origin), str(error))
    problems = () if problem is None else (problem,)
    picks = tuple(run.chosen[name] for name in sorted(run.chosen))
    return Resolution(picks=picks, problems=problems, notes=tuple(run.notes))


class _Run:
    """The state of one resolution: what is chosen, and what has yet to be looked at."""

    def __init__(self, question: Question, source: Source) -> None:
        self._question, self._source = question, source
        self.chosen: dict[str, Candidate] = {}
        self.notes: dict[str, None] = {}
        self._extras: dict[str, set[str]] = {}
        self._pending = deque(question.wanted)

    def follow(self) -> Problem | None:
        if problem := self._given_twice():
            return problem
        while self._pending:
            wanted = self._pending.popleft()
            if not applies(wanted.requirement, self._question.target):
                continue
            name = key(wanted.requirement.name)
            if name not in self.chosen:
                if problem := self._choose(name, wanted):
                    return problem
                self._require(name, frozenset({""}))
            self._require(name, frozenset(map(key, wanted.requirement.extras)))
        return None

    def _given_twice(self) -> Problem | None:
        """Find two requirements of one project in the demand, which such a pip refuses."""
        given: dict[str, Wanted] = {}
        for wanted in self._question.wanted:
            if applies(wanted.requirement, self._question.target):
                name, specifier = key(wanted.requirement.name), wanted.requirement.specifier
                other = given.setdefault(name, wanted).requirement
                if other.extras == wanted.requirement.extras and other.specifier != specifier:
                    text = f"required twice, also as {name}{other.specifier}"
                    return Problem(_need(name, specifier, wanted), text)
        return None

    def _choose(self, name: str, wanted: Wanted) -> Problem | None:
        question = self._question
        constraints = [
            each
            for each in question.constraints
            if key(each.requirement.name) == name and applies(each.requirement, question.target)
        ]
        specifier = wanted.requirement.specifier
        for each in constraints:
            specifier &= each.requirement.specifier

        direct = [each for each in question.wanted if key(each.requirement.name) == name]
        demanded = [
            *(each for each in direct if applies(each.requirement, question.target)),
            *constraints,
        ]
        hashes = FIRST_FOUND.digests([wanted.hashes], [each.hashes for each in constraints])
        wish = Wish(
            specifier,
            tuple(each.requirement.specifier for each in demanded),
            hashes,
            question.pre,
            question.prefer_binary,
            question.require_hashes,
            question.has_hashes,
        )
        if refusal := FIRST_FOUND.refusal(wish, question.target):
            return Problem(_need(name, specifier, wanted), refusal)

        files = self._source.files(name)
        candidates, rest = usable(
            name, files, question.target, question.formats, FIRST_FOUND.supports
        )
        candidates = with_digests(candidates, demanded, self._source)
        chosen = FIRST_FOUND.choose(candidates, wish)
        if not chosen:
            text = reason(candidates, rest, specifier, hashes)
            return Problem(_need(name, specifier, wanted), text)
        self.chosen[name] = chosen[0]
        return None

    def _require(self, name: str, extras: frozenset[str]) -> None:
        """Queue what the chosen release requires for ``extras`` that were not asked for before."""
        new = extras - self._extras.setdefault(name, set())
        self._extras[name] |= new
        if not new or self._question.no_deps:
            return

        release = self.chosen[name]
        facts = self._source.facts(release.file)
        if facts.note:
            self.notes[f"{release.file.filename}: {facts.note}"] = None
        origin = f"{name} {release.version}"
        self._pending.extend(
            Wanted(unconditional(requirement), origin)
            for requirement in facts.requires or ()
            if applies(requirement, self._question.target, sorted(new))
        )


def _need(name: str, specifier: SpecifierSet, wanted: Wanted) -> Need:
    return Need((name, ""), specifier, wanted.origin, hashes=wanted.hashes)
