"""Resolutions agree with real clients: yes and no for the same requirements and index."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from appliance import spec
from appliance.inputs.demand import Wanted
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.resolution.candidates import Formats
from appliance.resolution.firstfound import resolve_first_found
from appliance.resolution.local import open_source
from appliance.resolution.model import Question, Resolution
from appliance.resolution.resolver import resolve
from appliance.resolution.rules import PIP, UV, Rules
from appliance.spec import Spec
from appliance.targets.reading import read
from benchmarks.ports import HOST, free_port
from tests.integration.clients import CLIENTS, build
from tests.nginx.servers import application
from tests.resolution.cases import CASES
from tests.resolution.clients import Answer, newest_pip, old_pip, pip, uv
from tests.resolution.universe import Scenario, scenarios

ALL = {each.name: each for each in (*scenarios(), *CASES)}
# What Python 2.7 can take: an sdist there is built by programs for Python 3.
OLD = [
    each.name for each in CASES if not any(r.sdist and not r.wheel for r in each.releases.values())
]
OLD = [name for name in OLD if "sdist" not in name and not ALL[name].no_binary]
pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Served:
    """All scenarios, each as an index of its own.

    Attributes:
        specs: The spec that has the index of a scenario.
        urls: The URL of its project list.
    """

    specs: Mapping[str, Spec]
    urls: Mapping[str, str]


_TOGETHER = 24  # indexes of one spec: with twice as many, setting them up takes four times as long


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    specs, urls, names = dict[str, Spec](), dict[str, str](), list(ALL)
    with ExitStack() as stack:
        for start in range(0, len(names), _TOGETHER):
            together = names[start : start + _TOGETHER]
            root = tmp_path_factory.mktemp("scenarios")
            given, url = stack.enter_context(serving(root, together))
            specs |= dict.fromkeys(together, given)
            urls |= {name: f"{url}/{name}/simple/" for name in together}
        yield Served(specs, urls)


@contextmanager
def serving(root: Path, names: Sequence[str]) -> Iterator[tuple[Spec, str]]:
    """Serve some scenarios, with a spec of their own."""
    path, port = root / "pyindex.yml", free_port()
    yanked = {name: ALL[name].write(root / name) for name in names}
    (root / "first").mkdir()
    indexes = {name: {"packages": str(root / name)} for name in ("first", *names)}
    path.write_text(
        yaml.safe_dump({"state": str(root / "state"), "indexes": indexes}, sort_keys=False)
    )

    loaded = spec.load(path)
    update(loaded)
    for name, files in yanked.items():
        for file in files:
            decisions.yank(loaded, name, file, "broken")
    with application(path, port):  # nothing changes: no watcher has to compare so many indexes
        yield loaded, f"http://{HOST}:{port}"


@pytest.fixture(scope="module")
def python() -> Path:
    return newest_pip()


@pytest.fixture(scope="module")
def pips(
    served: Served, python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Answer]:
    return pip(ALL, served.urls, python, tmp_path_factory.mktemp("pip"))


@pytest.mark.parametrize("name", ALL)
def test_pip_agrees(name: str, served: Served, python: Path, pips: Mapping[str, Answer]) -> None:
    """pip finds a solution exactly where a resolution by its rules does."""
    resolution = answer(served, name, PIP, python)
    assert resolution.is_complete == pips[name].is_satisfiable, resolution.problems


@pytest.mark.parametrize("name", [each.name for each in CASES if each.prefer_binary])
def test_pip_takes_the_same_releases(
    name: str, served: Served, python: Path, pips: Mapping[str, Answer]
) -> None:
    """With --prefer-binary pip takes the releases that a resolution by its rules takes."""
    picks = answer(served, name, PIP, python).picks
    assert {each.project: str(each.version) for each in picks} == pips[name].versions


@pytest.fixture(scope="module")
def old_python() -> Path:
    return build(CLIENTS["pip-20.3.4-py2.7"]) / "bin" / "python"


@pytest.fixture(scope="module")
def old_pips(
    served: Served, old_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Answer]:
    cases = {name: ALL[name] for name in OLD}
    return old_pip(cases, served.urls, old_python, tmp_path_factory.mktemp("old"))


@pytest.mark.parametrize("name", OLD)
def test_pip_of_python_2_agrees(
    name: str, served: Served, old_python: Path, old_pips: Mapping[str, Answer]
) -> None:
    """The last pip of Python 2.7 downloads files exactly where the first found ones suffice."""
    with open_source(served.specs[name], name) as source:
        resolution = resolve_first_found(asked(ALL[name], old_python), source)
    assert (not resolution.problems) == old_pips[name].is_satisfiable, resolution.problems


@pytest.mark.parametrize("name", ALL)
def test_uv_agrees(name: str, served: Served, python: Path, tmp_path: Path) -> None:
    """uv finds a solution exactly where a resolution by its rules does."""
    resolution = answer(served, name, UV, python)
    real = uv(ALL[name], served.urls[name], python, tmp_path)
    assert resolution.is_complete == real.is_satisfiable, (resolution.problems, real.output)


def answer(served: Served, name: str, rules: Rules, python: Path) -> Resolution:
    """Resolve a scenario for the Python of the clients."""
    with open_source(served.specs[name], name) as source:
        return resolve(asked(ALL[name], python), source, rules)


def asked(scenario: Scenario, python: Path) -> Question:
    return Question(
        wanted=tuple(Wanted(Requirement(text), "the scenario") for text in scenario.requires),
        target=read(f"python:{python}"),
        formats=Formats(scenario.no_build, scenario.no_binary),
        pre=scenario.pre,
        prefer_binary=scenario.prefer_binary,
    )
