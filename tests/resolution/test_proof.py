"""Proofs name what is missing: the smallest set, which suffices."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from appliance.inputs.demand import Wanted
from appliance.operations.decisions import yank
from appliance.resolution import sdists
from appliance.resolution.local import open_source
from appliance.resolution.model import Question, Resolution
from appliance.resolution.proof import Verdict, clients, prove
from appliance.resolution.resolver import resolve
from appliance.resolution.rules import FIRST_FOUND, PIP, UV, Rules
from appliance.resolution.source import Facts
from appliance.targets.reading import read
from appliance.upstream.model import RemoteFile
from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel
from tests.resolution.universe import Release, Scenario

LINUX, WINDOWS = "cp312-manylinux_2_28_x86_64", "cp312-win_amd64"
ON_LINUX, ON_WINDOWS = ("cp312-cp312-manylinux_2_17_x86_64",), ("cp312-cp312-win_amd64",)


def release(*requires: str, **facts: object) -> Release:
    return Release(requires=requires, requires_python=None, **({"sdist": False} | facts))  # type: ignore[arg-type]


COMPLETE: Mapping[tuple[str, str], Release] = {
    ("app", "1.0"): release("left>=1", "right[more]", "source; sys_platform == 'linux'"),
    ("left", "1.0"): release("shared<2"),
    ("right", "1.0"): release("native", extras={"more": ["shared>=1"]}),
    ("shared", "1.0"): release(),
    ("native", "1.0"): release(wheel_tags=ON_LINUX),
    ("source", "1.0"): release(sdist=True, wheel=False, build=("builder",)),
    ("builder", "1.0"): release("builder-base"),
    ("builder-base", "1.0"): release(),
}
WITHOUT = {
    "app": ["app"],
    "left": ["left>=1"],
    "right": ["right[more]"],
    "shared": ["shared<2,>=1"],
    "native": ["native"],
    "source": ["source"],
    "builder": ["builder"],
    "builder-base": ["builder-base"],
}


def proof(
    lab: Lab, releases: Mapping[tuple[str, str], Release], rules: Rules, target: str = LINUX
) -> Verdict:
    """Prove app from an index of these releases."""
    lab.packages.rmdir()
    Scenario("proof", releases, ()).write(lab.packages)
    lab.once()
    question = Question((Wanted(Requirement("app"), "requirements.txt:1"),), read(target))
    with open_source(lab.spec, lab.index) as source:
        return prove(question, source, rules)


@pytest.mark.parametrize("rules", [PIP, UV], ids=lambda rules: rules.name)
def test_complete_index_installs(lab: Lab, rules: Rules) -> None:
    """A verdict has all files of the install, those that build sdists included."""
    verdict = proof(lab, COMPLETE, rules)
    assert verdict.installs
    assert len(verdict.files) == len(COMPLETE)


@pytest.mark.parametrize("rules", [PIP, UV], ids=lambda rules: rules.name)
@pytest.mark.parametrize("name", WITHOUT)
def test_missing_file_is_named(name: str, rules: Rules, lab: Lab) -> None:
    """Without one needed file it alone is named, as all of its requirements together."""
    verdict = proof(lab, {key: each for key, each in COMPLETE.items() if key[0] != name}, rules)
    assert [missing.requirement for missing in verdict.missing] == WITHOUT[name]


def test_reason_names_the_file_that_does_not_suit(lab: Lab) -> None:
    """A wheel of another platform is the reason, with the target's name."""
    (missing,) = proof(lab, COMPLETE, PIP, WINDOWS).missing
    assert missing.requirement == "native"
    assert missing.required_by == "right 1.0"
    assert missing.reason == (f"native-1.0-{ON_LINUX[0]}.whl: no tag of {WINDOWS}")


def test_wheels_of_one_release_disagree(lab: Lab, tmp_path: Path) -> None:
    """The dependencies are those in the wheel that the target takes."""
    releases = {("app", "1.0"): release("only-here", wheel_tags=ON_LINUX)}
    other = {("app", "1.0"): release("only-there", wheel_tags=ON_WINDOWS)}
    Scenario("other", other, ()).write(tmp_path / "other")
    (windows,) = (tmp_path / "other").iterdir()
    lab.packages.rmdir()
    Scenario("proof", releases | {("only-here", "1.0"): release()}, ()).write(lab.packages)
    windows.rename(lab.packages / windows.name)
    lab.once()
    found = {}
    with open_source(lab.spec, lab.index) as source:
        for target in (LINUX, WINDOWS):
            question = Question((Wanted(Requirement("app"), "-"),), read(target))
            found[target] = [each.requirement for each in prove(question, source, PIP).missing]
    assert found == {LINUX: [], WINDOWS: ["only-there"]}


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("cp27mu-manylinux2014_x86_64", ["pip before 20.3"]),
        ("cp36-manylinux2014_x86_64", ["pip"]),
        (LINUX, ["uv", "pip"]),
    ],
)
def test_clients_of_target(target: str, names: list[str]) -> None:
    """Each target is proven for the clients that run on its Python."""
    assert [rules.name for rules in clients(read(target))] == names


def test_many_missing_projects_are_all_named(lab: Lab) -> None:
    """However many projects are missing, all of them are named."""
    names = [f"absent{number}" for number in range(30)]
    verdict = proof(lab, {("app", "1.0"): release(*names)}, PIP)
    assert [missing.requirement for missing in verdict.missing] == sorted(names)


def test_file_that_is_not_yanked_counts(lab: Lab) -> None:
    """A yanked wheel does not hide another wheel of its release."""
    releases = {("app", "1.0"): release(wheel_tags=("py3-none-any", *ON_LINUX))}
    lab.packages.rmdir()
    Scenario("proof", releases, ()).write(lab.packages)
    lab.once()
    yank(lab.spec, lab.index, f"app-1.0-{ON_LINUX[0]}.whl", "broken")
    question = Question((Wanted(Requirement("app"), "-"),), read(LINUX))
    with open_source(lab.spec, lab.index) as source:
        for rules in (PIP, UV, FIRST_FOUND):
            (file,) = prove(question, source, rules).files
            assert file.file.filename == "app-1.0-py3-none-any.whl"


# (texts in an sdist, the requirements that are known, the note)
ODD: list[tuple[dict[str, str], list[str] | None, str]] = [
    ({"PKG-INFO": "Metadata-Version: 2.2\nName: a\nVersion: 1\nRequires-Dist: b\n"}, ["b"], ""),
    ({"pyproject.toml": "[project]\ndependencies = ['b']"}, ["b"], ""),
    ({"pyproject.toml": "[project]\ndynamic = ['dependencies']"}, None, "setup.py only"),
    ({"pyproject.toml": "[project]\ndynamic = 1"}, None, "setup.py only"),
    ({"pyproject.toml": "[project]\ndependencies = 5"}, None, "setup.py only"),
    ({"pyproject.toml": "[project]\noptional-dependencies = [1]"}, None, "setup.py only"),
    ({"pyproject.toml": f"x = {'1' * 5000}"}, None, "setup.py only"),
    ({"PKG-INFO": f"Metadata-Version: {'1' * 5000}\nName: a\nVersion: 1\n"}, [], "no dependencies"),
    ({"a.egg-info/requires.txt": "b\n[x:os_name=='nt']\nc>1\n"}, ["b", "c"], "as recorded"),
    ({"PKG-INFO": "Metadata-Version: 1.0\nName: a\nVersion: 1\n"}, [], "no dependencies recorded"),
]


@pytest.mark.parametrize(("texts", "requires", "note"), ODD)
def test_facts_of_sdist(texts: dict[str, str], requires: list[str] | None, note: str) -> None:
    """What an sdist requires is read from the first place that says it; odd texts say nothing."""
    facts = sdists.facts(texts)
    found = None if facts.requires is None else [each.name for each in facts.requires]
    assert found == requires
    assert note in facts.note


def test_requires_python_without_meaning_is_ignored() -> None:
    """Installers ignore a Requires-Python that is not valid, or that they cannot compare."""
    target = read(LINUX)
    for text in ("===3.8.x-foo", "==3.8+x", "nonsense", ""):
        assert UV.supports(text, target)


@pytest.mark.parametrize(
    ("setuptools", "missing"), [("68.0", ["wheel"]), ("70.1", [])], ids=["older", "newer"]
)
def test_older_setuptools_needs_wheel(setuptools: str, missing: list[str], lab: Lab) -> None:
    """A build by a setuptools that has no bdist_wheel of its own needs the project wheel."""
    releases = {
        ("app", "1.0"): release(sdist=True, wheel=False, build=("setuptools",)),
        ("setuptools", setuptools): release(),
    }
    verdict = proof(lab, releases, PIP)
    assert [each.requirement for each in verdict.missing] == missing


@pytest.mark.parametrize(("rules", "missing"), [(PIP, ["wheel"]), (UV, [])], ids=["pip", "uv"])
def test_default_build_of_pip_needs_wheel(rules: Rules, missing: list[str], lab: Lab) -> None:
    """pip before 24.0 builds an sdist without a build system with setuptools and wheel."""
    make_sdist(lab.packages, "app", "1.0")
    make_wheel(lab.packages, "setuptools", "82.0")
    lab.once()
    question = Question((Wanted(Requirement("app"), "-"),), read(LINUX))
    with open_source(lab.spec, lab.index) as source:
        verdict = prove(question, source, rules)
    assert [each.requirement for each in verdict.missing] == missing


@pytest.mark.parametrize("digest", ["crc:abcd", "shake_128:abcd"])
def test_digest_that_nobody_computes_does_not_match(lab: Lab, digest: str) -> None:
    """A lock may state a digest that no installer computes: no file has it."""
    make_wheel(lab.packages, "app", "1.0")
    lab.once()
    wanted = Wanted(Requirement("app==1.0"), "pylock.toml", frozenset({digest}))
    with open_source(lab.spec, lab.index) as source:
        assert not prove(Question((wanted,), read(LINUX)), source, UV).installs


def test_unreadable_release_is_no_candidate(lab: Lab) -> None:
    """A release whose metadata no installer can evaluate costs that release alone."""
    broken, older = ("lib", "2.0"), ("lib", "1.0")
    releases = {
        ("app", "1.0"): release("lib"),
        broken: release('b; os_name ~= "posix"'),
        older: release(),
    }
    verdict = proof(lab, releases, PIP)
    assert [str(each.version) for each in verdict.files if each.project == "lib"] == ["1.0"]


@pytest.mark.parametrize(("rules", "version"), [(PIP, "1.0"), (UV, "2.0"), (FIRST_FOUND, "1.0")])
def test_older_wheel_is_preferred_by_pip(rules: Rules, version: str) -> None:
    """With --prefer-binary pip takes an older wheel instead of a newer sdist; uv ignores it."""
    source = Releases({("app", "1.0"): ()}, sdists=["app-2.0.tar.gz"])
    question = Question((Wanted(Requirement("app"), "-"),), read(LINUX), prefer_binary=True)
    (pick,) = prove(question, source, rules, with_builds=False).files
    assert str(pick.version) == version


PIGEONS = 9


def test_search_without_end_is_limited_in_time() -> None:
    """A search ends at its deadline, and names the projects that it went back over most often."""
    verdict = _crowded(PIGEONS, seconds=0.5)
    assert verdict.is_undecided
    (problem,) = verdict.problems
    assert str(problem).startswith("a solution (required by -): no answer within ")
    assert re.search(r"; pin (p|hole)\d(, (p|hole)\d){4}$", problem.reason)


def test_search_with_an_end_has_an_answer() -> None:
    """A search of the same kind that is small enough has an answer."""
    assert not _crowded(3, seconds=60).is_undecided


def _crowded(pigeons: int, seconds: float) -> Resolution:
    """Search a hole of its own for each pigeon, with one hole too few: no shortcut is known."""
    releases: dict[tuple[str, str], tuple[str, ...]] = {}
    for pigeon in range(1, pigeons + 1):
        for hole in range(1, pigeons):
            releases[f"p{pigeon}", f"{hole}.0"] = (f"hole{hole}=={pigeon}.0",)
            releases[f"hole{hole}", f"{pigeon}.0"] = ()
    wanted = tuple(Wanted(Requirement(f"p{number}"), "-") for number in range(1, pigeons + 1))
    question = Question(wanted, read(LINUX))
    return resolve(question, Releases(releases), PIP, time.monotonic() + seconds)


class Releases:
    """A source of wheels from a table of their requirements, and of sdists."""

    def __init__(
        self, releases: Mapping[tuple[str, str], tuple[str, ...]], sdists: Sequence[str] = ()
    ) -> None:
        self._facts = {
            f"{name}-{version}-py3-none-any.whl": Facts(tuple(map(Requirement, requires)))
            for (name, version), requires in releases.items()
        } | {name: Facts() for name in sdists}

    def files(self, project: str) -> list[RemoteFile]:
        names = (name for name in self._facts if name.startswith(f"{project}-"))
        return [RemoteFile(name, "") for name in names]

    def facts(self, file: RemoteFile) -> Facts:
        return self._facts[file.filename]

    def digest(self, file: RemoteFile, algorithm: str) -> str:
        raise AssertionError(file)
