"""Interpreters that are asked: here, over ssh, and those that lie."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import PyindexError
from appliance.targets import facts
from appliance.targets.answers import Answers
from appliance.targets.asking import ask
from appliance.targets.reading import read
from appliance.targets.words import Unknown

HERE = f"python:{sys.executable}"


def test_python_gives_its_own_target() -> None:
    """An interpreter gives the target of its version, with its own markers."""
    target = read(HERE)
    assert target.name == HERE
    assert target.interpreter == "cp{}{}".format(*sys.version_info)
    assert target.environment["platform_release"] == os.uname().release


def test_asking_runs_nothing_of_directory_and_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules of the current directory, of the user and of PYTHONPATH are not imported."""
    trace = tmp_path / "trace"
    home, path = tmp_path / "home", tmp_path / "path"
    site = home / ".local/lib/python{}.{}/site-packages".format(*sys.version_info)
    for directory in (tmp_path, path, site):
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("json", "platform", "sitecustomize", "usercustomize"):
            (directory / f"{name}.py").write_text(f"open({str(trace)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(path))

    assert read(HERE).tags
    assert not trace.exists()


def test_relative_path_starts_at_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path of an interpreter starts at the current directory."""
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    assert read("python:./python").tags == read(HERE).tags


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program ``ssh`` that runs the command in a shell, as a login shell that prints a greeting
    does; the returned file has the hosts that were asked."""
    log, directory = tmp_path / "asked", tmp_path / "bin"
    directory.mkdir()
    (directory / "python3").symlink_to(sys.executable)
    program = directory / "ssh"
    program.write_text(
        f"""#!/bin/sh
        while [ "$1" != -- ]; do shift; done
        echo "$2" >> {log}
        echo Welcome to "$2"
        case "$2" in away) echo "ssh: connect to host away: timed out" >&2; exit 255; esac
        shift 2
        exec sh -c "$*"
        """
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
    return log


def test_host_is_asked_once(ssh: Path, tmp_path: Path) -> None:
    """A host is asked once, its answer is stored, and it is asked again if that is requested."""
    answers = Answers(tmp_path / "state" / "targets.json")
    first = read("ssh:ci@build.lab", answers)
    assert first.tags == read(HERE).tags
    assert read("ssh:ci@build.lab", answers) == first
    assert read("ssh:other:python3", answers).tags == first.tags
    assert ssh.read_text().split() == ["ci@build.lab", "other"]

    assert read("ssh:other:python3", Answers(answers.path, renew=True)).tags == first.tags
    assert ssh.read_text().split() == ["ci@build.lab", "other", "other"]
    assert answers.path is not None
    assert sorted(json.loads(answers.path.read_text())) == ["ssh:ci@build.lab", "ssh:other:python3"]


def test_host_without_answer_is_not_remembered(ssh: Path, tmp_path: Path) -> None:
    """A host that does not answer, or lacks the interpreter, is an error and is asked again."""
    answers = Answers(tmp_path / "targets.json")
    for _ in range(2):
        with pytest.raises(PyindexError) as caught:
            read("ssh:away", answers)
    with pytest.raises(PyindexError, match=r"^ssh:a:/bin/echo: not a Python: no facts"):
        read("ssh:a:/bin/echo", answers)
    problem = "exit code 255: ssh: connect to host away: timed out"
    assert str(caught.value) == f"ssh:away: {problem}; check that it runs"
    with pytest.raises(PyindexError, match=r"^ssh:a:python9: exit code 127: .*; check that it"):
        read("ssh:a:python9", answers)
    assert ssh.read_text().split() == ["away", "away", "a", "a"]
    assert answers.path is not None
    assert not answers.path.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '{"ssh:a": 1}', "\x00"])
def test_damaged_answers_are_an_error(content: str, tmp_path: Path) -> None:
    """A damaged file of answers is an error that says how to go on."""
    path = tmp_path / "targets.json"
    path.write_text(content)
    with pytest.raises(PyindexError) as caught:
        read("ssh:a", Answers(path))
    assert str(caught.value) == f"{path}: damaged; delete the file, hosts will be asked again"


def _on(system: str, **values: object) -> Callable[[dict[str, Any]], None]:
    """Change facts to those of another system."""

    def change(answer: dict[str, Any]) -> None:
        answer |= {"system": system, "glibc": None, **values}

    return change


def _marker(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        answer["environment"][name] = value

    return change


def _machine(machine: str, system: str, mac: str) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        answer |= {"system": system, "macos": mac, "glibc": None}
        answer["environment"]["platform_machine"] = machine

    return change


@pytest.fixture
def answer() -> dict[str, Any]:
    """The facts of a CPython 3.11.2 on a Linux with glibc 2.36."""
    answer = dict(ask(HERE))
    environment = answer["environment"]
    assert isinstance(environment, dict)
    environment |= {"python_full_version": "3.11.2", "platform_machine": "x86_64"}
    return answer | {"abi": "cp311", "system": "linux-x86_64", "glibc": "2.36"}


PLATFORMS = [
    (_on("linux-x86_64", glibc="2.17"), "manylinux_2_17_x86_64"),
    (_on("linux-aarch64", glibc="2.31-0ubuntu9"), "manylinux_2_31_aarch64"),
    (_on("linux-x86_64", glibc="2.36", bits=32), "manylinux_2_36_i686"),
    (_on("linux-aarch64", glibc="2.36", bits=32), "manylinux_2_36_armv7l"),
    (_on("linux-x86_64", musl="1.2"), "musllinux_1_2_x86_64"),
    (_on("win-amd64"), "win_amd64"),
    (_on("win32", bits=32), "win32"),
    (_machine("arm64", "macosx-11.0-universal2", "14.5"), "macosx_14_5_arm64"),
    (_machine("x86_64", "macosx-10.9-x86_64", "10.16"), "macosx_11_0_x86_64"),
]


@pytest.mark.parametrize(("change", "platform"), PLATFORMS)
def test_facts_give_platform(
    change: Callable[[dict[str, Any]], None], platform: str, answer: dict[str, Any]
) -> None:
    """Facts of other systems give their platforms, and the tags of the written target."""
    change(answer)
    target = facts.target("x", answer)
    assert (target.platform, target.python) == (platform, "3.11.2")
    assert target.tags == read(f"cp311-{platform}").tags


def test_version_of_checkout_gets_local_part(answer: dict[str, Any]) -> None:
    """The version of a Python built from a checkout becomes a valid one, as in packaging."""
    _marker("python_full_version", "3.11.2+")(answer)
    assert facts.target("x", answer).python == "3.11.2+local"


AGAIN = "run `pyindex targets --ask-again`"
FIELD = f"missing in its answer, or no plain text; {AGAIN}"
SUPPORTED = "supported are Linux with glibc or musl, macOS and Windows"
ABIS = "supported are CPython 2.7 and 3.5 to 3.15, without debugging, and PyPy 7.3"
LIES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda answer: answer.clear(), f"no marker environment in its answer; {AGAIN}"),
    (lambda answer: answer.pop("abi"), f"abi {FIELD}"),
    (_on("linux-x86_64"), f"unsupported platform; {SUPPORTED}"),
    (
        _on("linux-mips64", glibc="2.36"),
        f"unsupported platform 'manylinux_2_36_mips64'; {SUPPORTED}",
    ),
    (_on("freebsd-13"), f"unsupported platform 'freebsd_13'; {SUPPORTED}"),
    (_on("linux-x86_64", glibc=[2, 36]), f"glibc {FIELD}"),
    (
        _on("linux-x86_64", glibc="two"),
        f"invalid version 'two' of glibc in its answer; {AGAIN}",
    ),
    (lambda answer: answer.update(abi="cp311d"), f"unsupported ABI 'cp311d'; {ABIS}"),
    (
        lambda answer: answer.update(abi="cp312"),
        f"Python 3.11.2 with the ABI 'cp312' in its answer; {AGAIN}",
    ),
    (
        _marker("python_full_version", "three"),
        f"invalid version 'three' in its answer; {AGAIN}",
    ),
    (_marker("platform_version", "a\x1b[2Jb"), f"platform_version {FIELD}"),
    (_marker("platform_machine", "x" * 2000), f"platform_machine {FIELD}"),
    (_marker("os_name", None), f"os_name {FIELD}"),
]


@pytest.mark.parametrize(("change", "problem"), LIES)
def test_facts_that_make_no_target_are_an_error(
    change: Callable[[dict[str, Any]], object], problem: str, answer: dict[str, Any]
) -> None:
    """Facts that are incomplete, contradict themselves or are not supported are an error."""
    change(answer)
    with pytest.raises(Unknown) as caught:
        facts.target("x", answer)
    assert str(caught.value) == problem
