"""Proof: whether a demand installs on a target from an index alone, for one client.

The files that the client would take are resolved, then what it needs to build each sdist of them,
then what builds those. What is missing is named by :mod:`appliance.resolution.missing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from packaging.requirements import Requirement
from packaging.version import Version

from appliance.inputs.demand import Wanted
from appliance.resolution.candidates import Candidate
from appliance.resolution.firstfound import resolve_first_found
from appliance.resolution.missing import Missing, missing_releases
from appliance.resolution.model import Question, Resolution
from appliance.resolution.resolver import resolve
from appliance.resolution.rules import FIRST_FOUND, PIP, UV, Rules
from appliance.resolution.source import Source
from appliance.targets.target import Target

# pip has built each sdist in isolation since it left Python 3.6.
_ISOLATED = (3, 7)
_WHEEL = Requirement("wheel")
_WITHOUT_WHEEL = Version("70.1")  # of setuptools, which has bdist_wheel itself from here on


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a demand installs on a target with one client.

    Attributes:
        target: The name of the target.
        client: ``uv``, ``pip``, or ``pip before 20.3``.
        files: All files that the install takes, those that build sdists included.
        missing: What the index lacks; empty if the demand installs.
        notes: What is uncertain, such as dependencies that only a program knows.
        demand: The origin of the demand.
    """

    target: str
    client: str
    files: tuple[Candidate, ...] = ()
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    demand: str = ""

    @property
    def installs(self) -> bool:
        return not self.missing


def clients(target: Target) -> tuple[Rules, ...]:
    """Return the clients that run on a target: today's uv and pip, or the last pip of an old one.

    On Python 2.7 every pip takes the first release that it finds.
    """
    if target.python_version < (3, 0):
        return (FIRST_FOUND,)
    return (PIP,) if target.python_version < (3, 7) else (UV, PIP)


def prove(question: Question, source: Source, rules: Rules, with_builds: bool = True) -> Verdict:
    """Return whether ``question`` installs from ``source`` with the client of ``rules``; and unless
    ``with_builds`` is false, whether its sdists can be built.

    Raises :class:`PyindexError` as ``source`` does.
    """
    target = question.target.name
    resolution = _resolve(question, source, rules)
    if not resolution.is_complete:
        missing = missing_releases(question, source, rules, resolution)
        return Verdict(target, rules.name, missing=missing)

    sdists = resolution.picks if with_builds else ()
    built, missing, notes = _builds(sdists, question, source, rules)
    files = {each.file.filename: each for each in (*resolution.picks, *built)}
    ordered = tuple(files[name] for name in sorted(files))
    return Verdict(target, rules.name, ordered, missing, (*resolution.notes, *notes))


def _resolve(question: Question, source: Source, rules: Rules) -> Resolution:
    if rules is FIRST_FOUND:
        return resolve_first_found(question, source)
    return resolve(question, source, rules)


# --- builds --------------------------------------------------------------------------------------


def build_question(
    question: Question, candidate: Candidate, source: Source, rules: Rules
) -> Question | None:
    """Return what the build of an sdist needs on the target with the client of ``rules``; ``None``
    for a wheel, and where the pip of an old Python builds with the setuptools that is installed."""
    if candidate.is_wheel:
        return None
    facts = source.facts(candidate.file)
    if not facts.states_build and question.target.python_version < _ISOLATED:
        return None
    origin = f"the build of {candidate.file.filename}"
    # pip before 24.0 adds wheel to the default of PEP 518; uv and newer pips do not.
    defaults = () if facts.names_build or rules is UV else (_WHEEL,)
    wanted = tuple(Wanted(each, origin) for each in (*facts.build_requires, *defaults))
    if not wanted:
        return None
    return Question(
        wanted,
        question.target,
        formats=question.formats,
        pre=question.pre,
        prefer_binary=question.prefer_binary,
    )


def build_note(candidate: Candidate, source: Source) -> tuple[str, ...]:
    """Return what is uncertain about the build of an sdist."""
    note = source.facts(candidate.file).build_note
    return (f"{candidate.file.filename}: {note}",) if note else ()


def with_wheel(build: Question, resolution: Resolution) -> Question | None:
    """Return the question of a build that takes an older setuptools, which asks for the project
    wheel when it runs; ``None`` for other builds, and if wheel is there."""
    versions = {each.project: each.version for each in resolution.picks}
    setuptools = versions.get("setuptools")
    if setuptools is None or setuptools >= _WITHOUT_WHEEL or "wheel" in versions:
        return None
    wheel = Wanted(_WHEEL, build.wanted[0].origin)
    return replace(build, wanted=(*build.wanted, wheel))


def _builds(
    picks: Sequence[Candidate], question: Question, source: Source, rules: Rules
) -> tuple[list[Candidate], tuple[Missing, ...], tuple[str, ...]]:
    """Resolve what builds each sdist of ``picks``, and the sdists among that."""
    pending, seen = list(picks), {each.file.filename for each in picks}
    built: list[Candidate] = []
    missing: dict[Missing, None] = {}
    notes: dict[str, None] = {}
    while pending:
        candidate = pending.pop()
        build = build_question(question, candidate, source, rules)
        if not candidate.is_wheel:
            notes |= dict.fromkeys(build_note(candidate, source))
        if build is None:
            continue

        resolution = _resolve(build, source, rules)
        if more := with_wheel(build, resolution):
            build, resolution = more, _resolve(more, source, rules)
        if not resolution.is_complete:
            missing |= dict.fromkeys(missing_releases(build, source, rules, resolution))
        notes |= dict.fromkeys(resolution.notes)
        new = [each for each in resolution.picks if each.file.filename not in seen]
        seen |= {each.file.filename for each in new}
        built += new
        pending += new
    return built, tuple(missing), tuple(notes)
