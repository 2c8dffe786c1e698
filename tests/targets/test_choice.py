"""Targets of a command and of a spec, and ``pyindex targets``."""

import json
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.errors import PyindexError, SpecError
from appliance.spec import Spec, load
from appliance.targets.choice import choose
from appliance.targets.presets import PRESETS
from appliance.targets.reading import read

SPEC = "state: state\nindexes:\n  main: {packages: packages}\n"
NAMED = f"{SPEC}targets: {{old: centos7-py27, debian12: cp311.9-win_amd64, bad: cp99-win32}}\n"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, without a spec."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYINDEX_SPEC", raising=False)
    return tmp_path


def loaded(text: str) -> Spec:
    Path("pyindex.yml").write_text(text)
    return load(Path("pyindex.yml"))


def test_command_names_targets() -> None:
    """A command's targets are read in order, each once, without a spec."""
    names = [target.name for target in choose(["debian12", "cp312-win32", "debian12"], None)]
    assert names == ["debian12", "cp312-win32"]


def test_spec_names_targets() -> None:
    """Without targets of the command those of the spec count; their names win over presets."""
    spec = loaded(f"{SPEC}targets: [debian12, cp312-win_amd64]\n")
    assert [target.name for target in choose([], spec)] == ["debian12", "cp312-win_amd64"]

    target, written = choose(["debian12", "cp312-win32"], loaded(NAMED))
    assert (target.name, target.python, target.platform) == ("debian12", "3.11.9", "win_amd64")
    assert written == read("cp312-win32")


def test_interpreter_of_spec_starts_at_its_directory(directory: Path) -> None:
    """A relative path of an interpreter starts at the directory of the spec."""
    spec = loaded(f"{SPEC}targets: ['python:venv/bin/python', 'python:python3']\n")
    assert spec.targets == {
        "python:venv/bin/python": f"python:{directory}/venv/bin/python",
        "python:python3": "python:python3",
    }


@pytest.mark.parametrize(
    ("key", "value"), [("targets", "[cp99-win32]"), ("targets.x", "{x: cp99-win32}")]
)
def test_error_names_key_of_spec(key: str, value: str) -> None:
    """An invalid target of a spec is an error that names its key."""
    spec = loaded(f"{SPEC}targets: {value}\n")
    with pytest.raises(SpecError) as caught:
        choose([], spec)
    sentence = "cp99-win32: unknown interpreter 'cp99'; did you mean cp39?"
    assert str(caught.value) == f"{key}: {sentence}"


def test_no_target_is_an_error() -> None:
    """No target at all is an error."""
    with pytest.raises(PyindexError, match=r"^no target; pass --target TARGET, or set `targets`"):
        choose([], loaded(SPEC))


def test_command_lists_presets_without_spec(capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex targets` lists all presets if there is no spec."""
    assert main(["targets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    shown = "centos7-py27          cp27mu  Python 2.7.5     manylinux2014_x86_64      197 tags"
    assert lines[0] == shown


def test_command_lists_targets_of_spec(capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex targets` lists targets of the spec first; an invalid one hides no other."""
    loaded(NAMED)
    assert main(["targets", "--json"]) == 1
    output = capsys.readouterr()
    problem = "targets.bad: cp99-win32: unknown interpreter 'cp99'; did you mean cp39?"
    assert output.err == f"pyindex: pyindex.yml: {problem}\n"
    old, debian, *presets = json.loads(output.out)
    assert (old["name"], old["python"], old["interpreter"]) == ("old", "2.7.5", "cp27mu")
    assert (debian["name"], debian["platform"]) == ("debian12", "win_amd64")
    assert len(presets) == len(PRESETS) - 1


def test_command_prints_tags_and_markers(capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex targets TARGET` prints tags and markers, below names if there are several."""
    text = "cp311-manylinux2014_x86_64"
    assert main(["targets", text, "--tags"]) == 0
    assert capsys.readouterr().out.split() == [str(tag) for tag in read(text).tags]

    assert main(["targets", "cp38-win32", "debian12", "--markers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cp38-win32:"
    assert "python_full_version=3.11.2" in lines[lines.index("debian12:") :]

    assert main(["targets", text, "--tags", "--markers", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert len(facts["tags"]) == facts["number_of_tags"]
    assert facts["markers"] == read(text).environment
