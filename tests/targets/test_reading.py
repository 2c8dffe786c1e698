"""Texts of targets: what they mean, and what is wrong with others."""

import json
import subprocess
from collections.abc import Mapping

import pytest
from uv import find_uv_bin

from appliance.errors import PyindexError
from appliance.targets.interpreters import INTERPRETERS
from appliance.targets.presets import PRESETS
from appliance.targets.reading import read

# (text, interpreter, Python, best tag, some markers)
MEANINGS: list[tuple[str, str, str, str, dict[str, str]]] = [
    (
        "cp311-manylinux2014_x86_64",
        "cp311",
        "3.11.18",
        "cp311-cp311-linux_x86_64",
        {"sys_platform": "linux", "platform_machine": "x86_64", "implementation_name": "cpython"},
    ),
    (
        "cp27mu-manylinux1_x86_64",
        "cp27mu",
        "2.7.18",
        "cp27-cp27mu-manylinux_2_5_x86_64",
        {"sys_platform": "linux2", "implementation_name": "", "implementation_version": "0"},
    ),
    (
        "cp27m.5-macosx_10_9_x86_64",
        "cp27m",
        "2.7.5",
        "cp27-cp27m-macosx_10_9_x86_64",
        {"sys_platform": "darwin", "python_version": "2.7", "os_name": "posix"},
    ),
    (
        "cp313t-macosx_11_0_arm64",
        "cp313t",
        "3.13.18",
        "cp313-cp313t-macosx_11_0_arm64",
        {"platform_system": "Darwin", "platform_machine": "arm64"},
    ),
    (
        "pp310-win_amd64",
        "pp310",
        "3.10.16",
        "pp310-pypy310_pp73-win_amd64",
        {"implementation_version": "7.3.19", "platform_python_implementation": "PyPy"},
    ),
    (
        "pp27-manylinux2010_x86_64",
        "pp27",
        "2.7.18",
        "pp27-pypy_73-manylinux_2_12_x86_64",
        {"implementation_name": "", "platform_python_implementation": "PyPy"},
    ),
    (
        "cp36-musllinux_1_1_aarch64",
        "cp36m",
        "3.6.15",
        "cp36-cp36m-musllinux_1_1_aarch64",
        {"platform_machine": "aarch64"},
    ),
    (
        "cp312.0-win_arm64",
        "cp312",
        "3.12.0",
        "cp312-cp312-win_arm64",
        {"platform_machine": "ARM64", "os_name": "nt", "sys_platform": "win32"},
    ),
    ("cp38-win32", "cp38", "3.8.20", "cp38-cp38-win32", {"platform_machine": "x86"}),
    (
        "cp315-manylinux_2_39_armv7l",
        "cp315",
        "3.15.2",
        "cp315-cp315-linux_armv7l",
        {"python_version": "3.15"},
    ),
    (
        "centos7-py27",
        "cp27mu",
        "2.7.5",
        "cp27-cp27mu-manylinux_2_17_x86_64",
        {"python_full_version": "2.7.5"},
    ),
    (
        "debian12-aarch64",
        "cp311",
        "3.11.2",
        "cp311-cp311-linux_aarch64",
        {"python_full_version": "3.11.2", "platform_release": "", "platform_version": ""},
    ),
]


@pytest.mark.parametrize(("text", "interpreter", "python", "tag", "markers"), MEANINGS)
def test_text_names_target(
    text: str, interpreter: str, python: str, tag: str, markers: Mapping[str, str]
) -> None:
    """A text names interpreter, Python version, tags and markers, whatever Python runs."""
    target = read(text)
    assert (target.name, target.interpreter, target.python) == (text, interpreter, python)
    assert str(target.tags[0]) == tag
    assert {name: target.environment[name] for name in markers} == markers


PRESET = "write INTERPRETER-PLATFORM, or a preset; `pyindex targets` lists them"
INTERPRETER = "write cp27mu, cp35 to cp315, cp313t to cp315t, pp27, or pp36 to pp311"
PLATFORM = "write a platform tag such as manylinux2014_x86_64 or win_amd64"
LIBRARY = "write the C library too, as in manylinux_2_28_x86_64 or musllinux_1_2_x86_64"
GLIBC = "write manylinux_2_5_x86_64 to manylinux_2_50_x86_64, or another machine"
MAC = "write macosx_10_4_x86_64 or newer, or macosx_11_0_arm64 or newer"
HOST = "not a host; write ssh:[USER@]HOST[:PYTHON]"
PROGRAM = "write python: and the path of an interpreter"
ERRORS = [
    ("", f"unknown target; {PRESET}"),
    ("x", f"unknown target; {PRESET}"),
    ("cp311", "no platform; write it too, as in cp311-manylinux2014_x86_64"),
    ("centos7-p27", "unknown target; did you mean centos7-py27?"),
    ("Debian12", "unknown target; did you mean debian12?"),
    ("debain12", "unknown target; did you mean debian12?"),
    ("windows-py3.12", "unknown target; did you mean windows-py312?"),
    ("cp27-manylinux1_x86_64", "unknown interpreter 'cp27'; did you mean cp27m?"),
    ("cp311m-win_amd64", "unknown interpreter 'cp311m'; did you mean cp311?"),
    ("cp312t-win_amd64", "unknown interpreter 'cp312t'; did you mean cp312?"),
    ("cp311d-win_amd64", "unknown interpreter 'cp311d'; did you mean cp311?"),
    ("cp311.x-win_amd64", "unknown interpreter 'cp311.x'; did you mean cp311?"),
    (
        "cp311.\N{ARABIC-INDIC DIGIT NINE}-win32",
        "unknown interpreter 'cp311.\N{ARABIC-INDIC DIGIT NINE}'; did you mean cp311?",
    ),
    ("cp3.11-win_amd64", "unknown interpreter 'cp3.11'; did you mean cp311?"),
    ("cpython-win_amd64", f"unknown interpreter 'cpython'; {INTERPRETER}"),
    (
        "cp311-manylinx2014_x86_64",
        "unknown platform 'manylinx2014_x86_64'; did you mean manylinux2014_x86_64?",
    ),
    ("cp311-", f"unknown platform ''; {PLATFORM}"),
    ("cp311-solaris_sparc", f"unknown platform 'solaris_sparc'; {PLATFORM}"),
    ("cp311-win-amd64", "unknown platform 'win-amd64'; did you mean win_amd64?"),
    ("cp311-linux_x86_64", f"unknown platform 'linux_x86_64'; {LIBRARY}"),
    ("cp311-manylinux_2_4_x86_64", f"unknown platform 'manylinux_2_4_x86_64'; {GLIBC}"),
    ("cp311-manylinux_2_99_x86_64", f"unknown platform 'manylinux_2_99_x86_64'; {GLIBC}"),
    ("cp311-manylinux_2_16_aarch64", f"unknown platform 'manylinux_2_16_aarch64'; {GLIBC}"),
    (
        "cp311-manylinux1_aarch64",
        "unknown platform 'manylinux1_aarch64'; did you mean manylinux2014_aarch64?",
    ),
    ("cp311-macosx_10_9_arm64", f"unknown platform 'macosx_10_9_arm64'; {MAC}"),
    ("cp311-macosx_11_0_universal2", f"unknown platform 'macosx_11_0_universal2'; {MAC}"),
    ("python:", f"not found; {PROGRAM}"),
    ("python:/nowhere/python", f"not found; {PROGRAM}"),
    ("python:no-such-python", f"not found; {PROGRAM}"),
    ("python:/etc/passwd", f"not executable; {PROGRAM}"),
    ("python:/bin/cat", "not a Python: no facts in its output; check that it runs"),
    ("python:/bin/true", "not a Python: no facts in its output; check that it runs"),
    ("python:/bin/false", "exit code 1; check that it runs"),
    ("ssh:", HOST),
    ("ssh:-oProxyCommand=touch /tmp/x", HOST),
    ("ssh:host name", HOST),
    ("ssh:host:python3;reboot", HOST),
    ("ssh:host:-c", HOST),
]


@pytest.mark.parametrize(("text", "sentence"), ERRORS)
def test_error_names_what_is_wrong(text: str, sentence: str) -> None:
    """An error names the text, what is wrong, and the nearest known name or what to write."""
    with pytest.raises(PyindexError) as caught:
        read(text)
    assert str(caught.value) == f"{text}: {sentence}"


@pytest.mark.parametrize("text", ["cp311-win32\n", "python:/bin/\0", "ssh:a\x1b[2J"])
def test_control_characters_are_rejected(text: str) -> None:
    """A text with control characters is rejected, and shown without them."""
    with pytest.raises(PyindexError) as caught:
        read(text)
    sentence = "control characters in a target; write it without"
    assert str(caught.value) == f"{text!r}: {sentence}"


@pytest.mark.parametrize("text", PRESETS.values())
def test_presets_are_targets(text: str) -> None:
    """Each preset is an interpreter and a platform, with tags that differ."""
    target = read(text)
    assert len(target.tags) == len(set(target.tags)) > 30


def test_default_patch_versions_are_releases_that_uv_knows() -> None:
    """The Python of an interpreter without patch version is a release, and final for old ones."""
    options = ("--all-versions", "--only-downloads", "--output-format", "json", "--no-config")
    output = subprocess.check_output([find_uv_bin(), "python", "list", *options])
    known = {(entry["implementation"], entry["version"]) for entry in json.loads(output)}
    for interpreter in INTERPRETERS.values():
        if interpreter.version >= (3, 8):
            name = "cpython" if interpreter.is_cpython else "pypy"
            assert (name, interpreter.python) in known
