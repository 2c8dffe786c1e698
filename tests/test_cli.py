"""The command line: how verbs are found, what they print, and how they end."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest

from appliance.cli import _VERBS, commands, main
from appliance.cli.decide import _STATUSES
from appliance.cli.packing import _PYTHON
from appliance.index.model import STATUSES
from appliance.pack.python import Python
from tests.conftest import Lab
from tests.dist import make_wheel

PYINDEX = Path(sys.executable).with_name("pyindex")
HEAVY = ("pydantic", "sqlalchemy", "falcon", "jinja2", "yaml", "rich", "appliance.spec")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """An index with one file, published."""
    lab = Lab(tmp_path)
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    return lab


@pytest.fixture
def source(lab: Lab) -> list[str]:
    """Options that name the index of ``lab``."""
    return ["-d", str(lab.packages), "--state", str(lab.spec.state)]


# --- verbs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", _VERBS)
def test_summary_is_that_of_the_command(name: str) -> None:
    """`pyindex --help` shows the summary that the command itself has."""
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    assert (command.name, command.short_help) == (name, _VERBS[name][1])


def imported_by(*words: str) -> set[str]:
    """The modules that a command imports."""
    code = (
        "import sys; from appliance.cli import main; code = main(sys.argv[1:]);"
        "print(*sys.modules, sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_help_imports_no_verb() -> None:
    """`pyindex --help` imports no module of a verb, and `--version` neither."""
    verbs = {f"appliance.cli.{module.partition(':')[0]}" for module, _ in _VERBS.values()}
    for option in ("--help", "--version"):
        assert not imported_by(option) & {*verbs, *HEAVY}


@pytest.mark.integration
@pytest.mark.parametrize("name", _VERBS)
def test_help_of_a_verb_imports_only_its_module(name: str) -> None:
    """`pyindex VERB --help` imports no package that does the work, so that shells complete fast."""
    verbs = {f"appliance.cli.{module.partition(':')[0]}" for module, _ in _VERBS.values()}
    imported = imported_by(name, "--help")
    assert imported & verbs == {f"appliance.cli.{_VERBS[name][0].partition(':')[0]}"}
    assert not imported & set(HEAVY)


def test_constants_are_those_of_the_packages_below() -> None:
    """Values that help shows, written again because their packages take long to import."""
    assert _STATUSES == STATUSES
    assert Python.version == _PYTHON


# --- the spec -----------------------------------------------------------------------------------


SPEC = "state: state\nindexes: {main: {packages: packages}}\n"
WAYS: list[tuple[str, list[str]]] = [
    ("given.yml", ["-c", "given.yml"]),
    ("given.yml", ["--spec=given.yml"]),
    ("given.yml", ["given.yml"]),
    ("named.yml", []),
    ("pyindex.yml", []),
]


@pytest.mark.parametrize(("name", "words"), WAYS, ids=lambda value: " ".join(value))
@pytest.mark.parametrize("verb", [["spec", "check"], ["render"], ["appliance", "pack", "--out=x"]])
def test_spec_is_found_the_same_way(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    words: list[str],
    verb: list[str],
) -> None:
    """By an option, an argument, the environment, or in the current directory; the first counts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYINDEX_SPEC", raising=False)
    if name != "pyindex.yml":
        monkeypatch.setenv("PYINDEX_SPEC", "named.yml")
    for path in ("given.yml", "named.yml", "pyindex.yml"):
        Path(path).write_text("nix: 1\n")
    assert main([*verb, *words]) == 1
    assert f"{name}:1: nix: unknown key" in capsys.readouterr().err


def test_two_specs_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A spec as an option and another one as an argument."""
    assert main(["spec", "check", "a.yml", "-c", "b.yml"]) == 2
    assert capsys.readouterr().err == (
        "pyindex: got two specs, a.yml and b.yml; pass only one of them;"
        " see `pyindex spec check --help`\n"
    )


# --- JSON ---------------------------------------------------------------------------------------


WHEEL = "foo-1.0-py2.py3-none-any.whl"
COUNTS = {"main": {"projects": 1, "files": 1}}
DOCUMENTS: list[tuple[list[str], dict[str, Any]]] = [
    (["verify"], {"files": 1, "findings": []}),
    (["rebuild"], {"messages": ["main: 1 project, 1 file"], "indexes": COUNTS}),
    (["gc", "--dry-run"], {"dry_run": True, "removed": [], "size": 0}),
    (["yank", WHEEL, "--reason", "bad"], {"index": "main", "changed": [WHEEL]}),
    (["unyank", "foo==1.0"], {"index": "main", "changed": []}),
    (
        ["status-set", "Foo", "archived"],
        {"index": "main", "project": "Foo", "status": "archived", "reason": None},
    ),
    (["confirm-deletions"], {"index": "main", "removed": 0}),
]


@pytest.mark.parametrize(("words", "expected"), DOCUMENTS, ids=lambda value: str(value)[:20])
def test_json_is_one_document(
    source: list[str],
    words: list[str],
    expected: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A command with --json prints one document with the facts to standard output."""
    assert main([*words, *source, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {key: document[key] for key in expected} == expected


def test_json_of_a_removed_file(
    lab: Lab, source: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`remove` says where the file is now."""
    assert main(["remove", WHEEL, *source, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (removed,) = document["removed"]
    assert (document["index"], removed["filename"], removed["path"]) == ("main", WHEEL, WHEEL)
    assert Path(removed["trash"]).parent == lab.spec.state / "trash"


def test_json_of_a_backup_and_its_restoration(
    source: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The path that `backup` prints is one that `restore` reads."""
    assert main(["backup", *source, "--json"]) == 0
    path = json.loads(capsys.readouterr().out)["path"]
    assert main(["restore", path, *source, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["indexes"] == COUNTS
    assert f"restored from {path}" in document["messages"]


def test_json_of_an_update(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """`watch --once` counts what is published; without --once there is no document."""
    words = ["watch", str(lab.packages), "--state", str(lab.spec.state), "--json"]
    assert main([*words, "--once"]) == 0
    assert json.loads(capsys.readouterr().out) == {"indexes": COUNTS}
    assert main(words) == 2


def test_json_of_a_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`spec check` prints what the spec means, or its problems."""
    monkeypatch.chdir(tmp_path)
    Path("good.yml").write_text(SPEC)
    assert main(["spec", "check", "good.yml", "--json"]) == 0
    packages = str(tmp_path / "packages")
    assert json.loads(capsys.readouterr().out) == {
        "path": "good.yml",
        "problems": [],
        "warnings": [],
        "name": "pyindex",
        "state": str(tmp_path / "state"),
        "indexes": {"main": {"path": "/simple/", "packages": packages, "lineage": ["main"]}},
    }
    Path("bad.yml").write_text(f"{SPEC}nix: 1\n")
    assert main(["spec", "check", "bad.yml", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == "bad.yml"
    assert document["problems"][0].startswith("bad.yml:3: nix: unknown key")


# --- ends ---------------------------------------------------------------------------------------


USAGE = [
    (["status", "--direc", "."], "no such option '--direc'"),
    (["yank"], "missing argument 'WHAT'"),
    (["yank", "a", "b"], "got unexpected extra argument (b)"),
    (["status-set", "foo", "nix"], "invalid value for 'STATUS'"),
]


@pytest.mark.parametrize(("words", "message"), USAGE)
def test_wrong_usage_ends_with_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is wrong and which help to read; options have no abbreviations."""
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pyindex: {message}")
    assert error.endswith(f"; see `pyindex {words[0]} --help`\n")


def test_interrupt_ends_with_130(
    source: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends a command with 130 and without a message."""

    def prune(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("appliance.operations.prune.prune", prune)
    assert main(["gc", *source]) == 130
    assert capsys.readouterr() == ("", "")


def test_closed_output_ends_with_1() -> None:
    """A reader of the output that has ended is no error to report."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(
            [PYINDEX, "--help"], stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "")


# --- terminals ----------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.parametrize("words", [["rebuild"], ["verify"]])
def test_progress_is_shown_on_a_terminal(source: list[str], words: list[str]) -> None:
    """Step and elapsed time go to the terminal; standard output has the result alone."""
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "wb") as errors:
        done = subprocess.run(
            [PYINDEX, *words, *source],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "TERM": "xterm"},
            text=True,
            check=True,
        )
    shown = os.read(controller, 1 << 16).decode()
    os.close(controller)
    assert "0:00:0" in shown
    assert "\x1b" not in done.stdout
    quiet = subprocess.run([PYINDEX, *words, *source], capture_output=True, text=True, check=True)
    assert (quiet.stdout, "0:00:0" in quiet.stderr) == (done.stdout, False)


COMPLETIONS = [
    (["st"], {"state", "status", "status-set"}),
    (["status", "--js"], {"--json"}),
    (["spec", "ch"], {"check"}),
    (["status-set", "foo", "arch"], {"archived"}),
]


@pytest.mark.parametrize(("words", "expected"), COMPLETIONS)
def test_bash_completes(words: list[str], expected: set[str], tmp_path: Path) -> None:
    """bash completes verbs, options and values with the script that pyindex prints."""
    script = f"""
        eval "$(_PYINDEX_COMPLETE=bash_source '{PYINDEX}')"
        COMP_WORDS=(pyindex {" ".join(words)})
        COMP_CWORD={len(words)}
        _pyindex_completion '{PYINDEX}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert {f"{line}" for line in done.stdout.split()} == expected, done.stderr
