"""A repeated run of ``pyindex mirror``: the answer of the run before, unless something it was found
from has changed."""

import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.inputs.reading import from_arguments
from appliance.mirror import mirror as mirroring
from appliance.mirror import plan as planning
from appliance.mirror.memory import Answer, Memory
from appliance.mirror.plan import Plan
from appliance.resolution.missing import Missing
from appliance.resolution.proof import Verdict, prove
from appliance.upstream import Cache, Upstreams
from tests.dist import make_wheel
from tests.integration.servers import PATIENCE, Server, embedded, wait_until
from tests.mirror.conftest import release
from tests.mirror.test_mirror import mirror
from tests.resolution.universe import Scenario

# Each case has projects of its own, so that none sees the changes of another. Of `top`, 2.0 is
# asked for first; it needs what no upstream has, so that 1.0 is taken.
RELEASES = {
    ("top", "1.0"): release("leaf"),
    ("top", "2.0"): release("leaf", "other>=2"),
    ("leaf", "1.0"): release(),
    ("leaf", "2.0"): release(),
    ("other", "1.0"): release(),
    ("lonely", "1.0"): release(),
    ("lonely", "2.0"): release("absent"),
}
CASES = ("same", "newer", "passed", "appears", "yanked", "removed")
UNCHANGED = {"top-1.0", "leaf-2.0"}


def _projects(case: str) -> dict[tuple[str, str], object]:
    return {
        (f"{case}-{name}", version): release(*(f"{case}-{each}" for each in found.requires))
        for (name, version), found in RELEASES.items()
    }


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An upstream that tests change."""
    root = tmp_path_factory.mktemp("changing")
    releases = {key: each for case in CASES for key, each in _projects(case).items()}
    Scenario("changing", releases, ()).write(root / "packages")  # type: ignore[arg-type]
    with embedded(root / "packages", root) as server:
        yield server


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was resolved or proven, and not remembered: ``plan`` and ``proof``, once for each."""
    seen: list[str] = []

    def spied(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def called(*arguments: object) -> object:
            seen.append(name)
            return function(*arguments)

        return called

    monkeypatch.setattr(planning, "add_demand", spied("plan", planning.add_demand))
    monkeypatch.setattr(mirroring, "prove", spied("proof", prove))
    return seen


def _add(server: Server, project: str, version: str, *requires: str) -> None:
    path = make_wheel(server.packages, project, version, requires=requires)
    wait_until(f"{server.url}/simple/{project}/", path.name)


def _remove(server: Server, project: str, version: str) -> None:
    (path,) = server.packages.glob(f"{project.replace('-', '_')}-{version}-*")
    path.unlink()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(urllib.error.URLError, http.client.HTTPException):
            if (
                path.name
                not in urllib.request.urlopen(f"{server.url}/simple/{project}/").read().decode()
            ):
                return
        time.sleep(0.05)
    raise AssertionError(f"{path.name} stays")


def _yank(server: Server, project: str, version: str) -> None:
    server.command("yank", f"{project}=={version}")
    wait_until(f"{server.url}/simple/{project}/", "data-yanked")


def _files(document: dict[str, list[dict[str, str]]], case: str) -> set[str]:
    """The releases of a report, without the prefix of the case."""
    names = (each["filename"].split("-")[:2] for each in document["files"])
    return {f"{name.removeprefix(case).strip('_')}-{version}" for name, version in names}


CHANGES: dict[str, tuple[str, Callable[[Server], None], set[str]]] = {
    "a new release of a project that was taken": (
        "newer",
        lambda server: _add(server, "newer-leaf", "3.0"),
        {"top-1.0", "leaf-3.0"},
    ),
    "a new release of a project that a backtracking resolution only asked for": (
        "passed",
        lambda server: _add(server, "passed-other", "2.0"),
        {"top-2.0", "leaf-2.0", "other-2.0"},
    ),
    "a yank of what was taken": (
        "yanked",
        lambda server: _yank(server, "yanked-leaf", "2.0"),
        {"top-1.0", "leaf-1.0"},
    ),
    "a removed file": (
        "removed",
        lambda server: _remove(server, "removed-leaf", "2.0"),
        {"top-1.0", "leaf-1.0"},
    ),
}


@pytest.mark.integration
@pytest.mark.parametrize("change", CHANGES)
def test_change_upstream_is_seen(change: str, packages: Path, changing: Server) -> None:
    """A repeated run resolves again after any change upstream that the answer depends on."""
    case, apply, expected = CHANGES[change]
    assert _files(mirror(packages, changing, f"{case}-top"), case) == UNCHANGED
    apply(changing)
    assert _files(mirror(packages, changing, f"{case}-top"), case) == expected


@pytest.mark.integration
def test_project_that_appears_is_seen(packages: Path, changing: Server) -> None:
    """A repeated run resolves again if a project appears that no upstream had."""
    first = mirror(packages, changing, "appears-lonely")
    assert _files(first, "appears") == {"lonely-1.0"}
    _add(changing, "appears-absent", "1.0")
    second = mirror(packages, changing, "appears-lonely")
    assert _files(second, "appears") == {"lonely-2.0", "absent-1.0"}


@pytest.mark.integration
def test_unchanged_run_is_remembered(
    packages: Path, changing: Server, questions: list[str]
) -> None:
    """A repeated run with nothing new neither resolves nor proves, and reports the same."""
    first = mirror(packages, changing, "same-top")
    assert questions == ["plan", "proof", "proof"]
    questions.clear()
    again = mirror(packages, changing, "same-top")
    assert questions == []
    assert again == first | {"new": []}


@pytest.mark.integration
def test_other_question_is_not_answered(
    packages: Path, changing: Server, questions: list[str]
) -> None:
    """An answer belongs to its requirements, constraints, options and targets."""
    mirror(packages, changing, "same-top")
    constraints = packages.parent / "constraints.txt"
    constraints.write_text("same-leaf<2\n")
    others = (
        ("same-top", "same-lonely"),
        ("same-top", "--constraint", str(constraints)),
        ("same-top", "--no-deps"),
    )
    for words in others:
        questions.clear()
        mirror(packages, changing, *words)
        assert "plan" in questions, words


def test_answer_belongs_to_its_inputs(tmp_path: Path) -> None:
    """A plan is that of the inputs that have these upstreams, in this index."""
    upstreams = Upstreams(("https://index.example/simple/",))
    one, other = from_arguments(["foo"]), from_arguments(["bar"])
    memory = Memory(Cache(tmp_path), "main", (), False)
    memory.keep_plan(upstreams, [one], Answer({}, Plan()))
    assert memory.plan(upstreams, [one]) == Answer({}, Plan())
    assert memory.plan(upstreams, [one, other]) is None
    assert memory.plan(replace(upstreams, is_merged=True), [one]) is None
    assert Memory(Cache(tmp_path), "b", (), False).plan(upstreams, [one]) is None


def test_proof_that_fails_is_found_again(tmp_path: Path) -> None:
    """A verdict that something is missing is not remembered: the search may have been too slow."""
    memory, demand = Memory(Cache(tmp_path), "main", (), False), from_arguments(["foo"])
    missing = Missing("foo", "", "no answer within 300 s")
    for verdicts, kept in (
        ((Verdict("linux", "uv"), Verdict("linux", "pip", missing=(missing,))), False),
        ((Verdict("linux", "uv"), Verdict("linux", "pip")), True),
    ):
        memory.keep_proofs([demand], Answer({}, verdicts))
        assert (memory.proofs([demand]) is not None) == kept


@pytest.mark.integration
def test_removed_file_of_the_index_is_fetched_again(
    packages: Path, changing: Server, questions: list[str]
) -> None:
    """A remembered plan fetches what the index has lost, and what has changed there is proven."""
    mirror(packages, changing, "same-top")
    (path,) = packages.glob("same_leaf-*")
    path.unlink()
    questions.clear()
    document = mirror(packages, changing, "same-top")
    assert (document["new"], document["complete"]) == ([path.name], True)
    assert questions == []

    state = packages.parent / "state"
    assert main(["yank", path.name, "--directory", str(packages), "--state", str(state)]) == 0
    assert not mirror(packages, changing, "same-top", code=1)["complete"]


@pytest.mark.integration
@pytest.mark.parametrize("damage", [b"", b"{}", None], ids=["cut", "other content", "changed"])
def test_damaged_answers_are_found_again(
    damage: bytes | None, packages: Path, changing: Server, questions: list[str]
) -> None:
    """A damaged answer is not used, and is replaced."""
    first = mirror(packages, changing, "same-top")
    answers = packages.parent / "state" / "upstream-cache" / "answers"
    for path in answers.iterdir():
        content = path.read_bytes()
        path.write_bytes(content.replace(b"same", b"some") if damage is None else damage)
    questions.clear()
    assert mirror(packages, changing, "same-top") == first | {"new": []}
    assert questions == ["plan", "proof", "proof"]
    questions.clear()
    mirror(packages, changing, "same-top")
    assert questions == []


@pytest.mark.integration
def test_unreachable_upstream_is_an_error_as_before(packages: Path, tmp_path: Path) -> None:
    """Without the upstream nothing is answered from memory."""
    shutil.rmtree(tmp_path / "up", ignore_errors=True)
    Scenario("up", {("solo", "1.0"): release()}, ()).write(tmp_path / "up" / "packages")
    with embedded(tmp_path / "up" / "packages", tmp_path / "up") as server:
        mirror(packages, server, "solo")
    document = mirror(packages, server, "solo", code=1)
    assert "solo" in document["unsolved"][0]["reason"]
