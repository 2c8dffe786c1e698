"""Of requirements in conflict, a proof names the releases that would help, and they do."""

import re
from collections.abc import Collection, Mapping

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from appliance.inputs.demand import Wanted
from appliance.resolution.candidates import Formats
from appliance.resolution.missing import Missing
from appliance.resolution.model import Question
from appliance.resolution.proof import Verdict, prove
from appliance.resolution.rules import PIP, UV, Rules
from appliance.targets.reading import read
from tests.resolution.cases import CASES
from tests.resolution.universe import Release, ReleasesSource, Scenario, scenarios

TARGET = read("cp313-manylinux_2_28_x86_64")
BOTH = pytest.mark.parametrize("rules", [PIP, UV], ids=lambda rules: rules.name)
URL = "https://index.example/left-1.0-py3-none-any.whl"


def release(*requires: str, **facts: object) -> Release:
    return Release(requires=requires, requires_python=None, **facts)  # type: ignore[arg-type]


ONE, TWO = "shared<2 (one 1.0)", "shared>=2 (two 1.0)"
SIDES = {
    ("app", "1.0"): release("one", "two"),
    ("one", "1.0"): release("shared<2"),
    ("two", "1.0"): release("shared>=2"),
}
SHARED = {("shared", "1.0"): release(), ("shared", "2.0"): release()}
PINNED = {("app", "1.0"): release("one==1.0", "two==1.0")}

ADD, OR = "; add a release of ", ", or a release of "

# Name: (releases, input, what is missing: requirement, by whom, why).
CONFLICTS: dict[str, tuple[Mapping[tuple[str, str], Release], str, list[tuple[str, str, str]]]] = {
    "both sides are there": (SIDES | SHARED, "app", [(
        "one", "app 1.0", f"{ONE} and {TWO} exclude each other; there is 2.0, 1.0; add a release "
        "of one that accepts shared 2.0, or a release of two that accepts shared 1.0")]),
    "one side is there": (SIDES | {("shared", "1.0"): release()}, "app", [(
        "two", "app 1.0", f"{ONE} and {TWO} exclude each other; there is 1.0; "
        "add a release of two that accepts shared 1.0")]),
    "no side is there": (SIDES, "app", [
        ("one", "app 1.0", f"{ONE} and {TWO} exclude each other; there is no file for this target; "
         "add a release of one that accepts shared>=2"),
        ("shared>=2", "two 1.0", "no such project")]),
    "a gap between releases": ({("app", "1.0"): release("shared<2")} | SHARED, "app & shared>1", [(
        "shared<2,>1", "input, app 1.0", "shared<2 (app 1.0) and shared>1 (input) have no release "
        "in common; there is 2.0, 1.0")]),
    "sides are pinned": (SIDES | SHARED | PINNED, "app", [(
        "app", "input", f"{ONE} and {TWO} exclude each other; there is 2.0, 1.0; "
        "add a release of app that does not require one and does not require two")]),
    "by the input": ({("app", "1.0"): release("shared<2")} | SHARED, "app & shared>=2", [(
        "app", "input", "shared<2 (app 1.0) and shared>=2 (input) exclude each other; "
        "there is 2.0, 1.0; add a release of app that accepts shared 2.0")]),
    "within the input": (SHARED, "shared<2 & shared>=2", [(
        "shared<2,>=2", "input", "shared<2 (input) and shared>=2 (input) exclude each other; "
        "there is 2.0, 1.0")]),
    "beside a missing file": (SIDES | SHARED, "app & absent", [
        ("absent", "input", "no such project"),
        ("one", "app 1.0", f"{ONE} and {TWO} exclude each other; there is 2.0, 1.0; add a release "
         "of one that accepts shared 2.0, or a release of two that accepts shared 1.0")]),
    "by a URL": ({("app", "1.0"): release(f"left @ {URL}"), ("left", "1.0"): release()}, "app", [(
        "app", "input", "left (required by app 1.0): named by a URL, which installers fetch "
        "instead of the index; add a release of app that does not require left")]),
    "a release that no installer reads": ({
        ("app", "1.0"): release('b; os_name ~= "posix"')}, "app", [(
        "app", "input", "app-1.0-py2.py3-none-any.whl (required by app 1.0): marker of "
        "'b; os_name ~= \"posix\"' without a value: Undefined <Op('~=')> on 'posix' and 'posix'.; "
        "add a release of app that installers can read")]),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("name", CONFLICTS)
def test_conflict_names_what_helps(name: str, rules: Rules) -> None:
    """The requirements in conflict are named, and the releases that would end it."""
    releases, requires, missing = CONFLICTS[name]
    verdict = proof(Scenario(name, releases, tuple(requires.split(" & "))), rules)
    assert [(m.requirement, m.required_by, m.reason) for m in verdict.missing] == missing


TABLE = CONFLICTS.items()
COMPLETED = {
    each.name: each
    for each in (
        *(Scenario(name, has, tuple(asks.split(" & "))) for name, (has, asks, _) in TABLE),
        *(each for each in scenarios() if not each.is_satisfiable),
        *CASES,
    )
}  # fmt: skip
HOPELESS = {  # the input contradicts itself
    "within the input",
    "two-requirements-conflict",
    "fork-conflict-unsatisfiable",
    "fork-marker-disjoint",
    "direct-incompatible-versions",
    "transitive-incompatible-versions",
}


@BOTH
@pytest.mark.parametrize("name", [name for name in COMPLETED if name not in HOPELESS])
def test_what_is_missing_suffices(name: str, rules: Rules) -> None:
    """With releases that are exactly as a proof demands, in each way that it names, the demand
    installs."""
    scenario = COMPLETED[name]
    missing = proof(scenario, rules).missing
    for way in range(1 + max((m.reason.count(OR) for m in missing), default=0)):
        source = ReleasesSource(scenario.releases)
        for each in missing:
            add(each, way, source)
        verdict = asked(scenario, rules, source)
        assert verdict.installs, (way, missing, verdict.missing)


def add(missing: Missing, way: int, source: ReleasesSource) -> None:
    """Add a release that satisfies a missing requirement, in one of the ways that are named."""
    ways = missing.reason.partition(ADD)[2].split(OR)
    text, _, like = ways[min(way, len(ways) - 1)].partition(" that ")
    requirement = Requirement(text or missing.requirement)
    accepted = re.findall(r"accepts ([^\s,]\S*)(?: (\d\S*))?", like)
    requires = [f"{name}=={version}" if version else name for name, version in accepted]
    there = [file.filename.split("-")[1] for file in source.files(requirement.name)]
    version = version_for(requirement, there if text else ())
    source.add(requirement.name, version, release(*requires), build="-7")


def version_for(requirement: Requirement, others: Collection[str]) -> str:
    """Return a version that satisfies a requirement and is none of ``others``."""
    stated = [Version(each.version.removesuffix(".*")) for each in requirement.specifier]
    near = (f"{each.base_version}{more}" for each in stated for more in (".1", ".post9"))
    versions = [*stated, *map(Version, [*near, "0.0.1", "9.0", *(f"{n}.0.1" for n in range(4))])]
    allowed = requirement.specifier.filter(versions)
    return next(str(each) for each in allowed if str(each) not in others)


def proof(scenario: Scenario, rules: Rules) -> Verdict:
    return asked(scenario, rules, ReleasesSource(scenario.releases))


def asked(scenario: Scenario, rules: Rules, source: ReleasesSource) -> Verdict:
    question = Question(
        wanted=tuple(Wanted(Requirement(text), "input") for text in scenario.requires),
        target=TARGET,
        formats=Formats(scenario.no_build, scenario.no_binary),
        pre=scenario.pre,
        prefer_binary=scenario.prefer_binary,
    )
    return prove(question, source, rules, with_builds=False)
