"""Facts about an sdist from the files in it, without running any of them.

Certain are static fields of its metadata (PEP 643) and of its pyproject.toml (PEP 621). What
setuptools recorded when the sdist was made, and setup.cfg, are nearly always right, and are said to
be uncertain. What only setup.py would say is not known.
"""

import configparser
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from appliance.errors import Rejected
from appliance.index import metadata
from appliance.index.metadata import CoreMetadata
from appliance.resolution import backends
from appliance.resolution.candidates import key
from appliance.resolution.source import Facts

# What pip and uv install for an sdist whose pyproject.toml has no build system (PEP 518).
_DEFAULT_BUILD = ("setuptools>=40.8.0",)
_ADVICE = "name those it has as requirements, or build it with `pyindex mirror --build NAME`"
_SECTION = re.compile(r"\[(?P<extra>[^:\]]*)(?::(?P<marker>[^\]]+))?\]\Z")
_RESOLVED = {"requires-dist", "provides-extra"}


def facts(files: Mapping[str, str]) -> Facts:
    """Return what an sdist says, from ``files``: texts by their paths below its top directory."""
    pyproject = _toml(files.get("pyproject.toml", ""))
    fields = _metadata(files.get("PKG-INFO"))
    requires, extras, note = _requires(files, pyproject, fields)
    more, build_note = backends.asked(pyproject, files.get("setup.py", ""))
    return Facts(
        requires=requires,
        extras=extras,
        requires_python=fields.line("requires_python") if fields else None,
        build_requires=(*_build_requires(files, pyproject), *_parsed(more)),
        states_build="pyproject.toml" in files,
        names_build="build-system" in pyproject,
        note=note,
        build_note=build_note,
    )


def from_metadata(fields: CoreMetadata, build: tuple[Requirement, ...] = ()) -> Facts:
    """Return the facts in core metadata."""
    return Facts(
        requires=tuple(_parsed(fields.texts("requires_dist"))),
        extras=frozenset(map(key, fields.texts("provides_extra"))),
        requires_python=fields.line("requires_python"),
        build_requires=build,
    )


# --- what it requires ----------------------------------------------------------------------------

_Requires = tuple[tuple[Requirement, ...] | None, frozenset[str], str]


def _requires(
    files: Mapping[str, str], pyproject: Mapping[str, Any], fields: CoreMetadata | None
) -> _Requires:
    """Return dependencies, extras and a note, from the first place that says them."""
    if fields is not None and _is_static(fields):
        known = from_metadata(fields)
        return known.requires, known.extras, ""
    if (project := _static_project(pyproject)) is not None:
        return *_of_project(project), ""

    recorded = [text for path, text in files.items() if path.endswith(".egg-info/requires.txt")]
    if recorded:
        return *_of_sections(recorded[0]), "dependencies as recorded when it was made"
    if fields is not None and fields.texts("requires_dist"):
        known = from_metadata(fields)
        return known.requires, known.extras, "dependencies as recorded when it was made"

    setup = files.get("setup.py", "")
    if fields is not None and "requires" not in setup:
        return (), frozenset(), f"no dependencies recorded; {_ADVICE}"
    return None, frozenset(), f"dependencies are known to its setup.py only; {_ADVICE}"


def _is_static(fields: CoreMetadata) -> bool:
    """Whether every wheel built from it has these dependencies (PEP 643)."""
    version = (fields.line("metadata_version") or "0").split(".")
    if not all(part.isdecimal() and len(part) < 9 for part in version):
        return False
    if tuple(map(int, version)) < (2, 2):
        return False
    return not _RESOLVED & {value.strip().lower() for value in fields.texts("dynamic")}


def _static_project(pyproject: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the table [project] if its dependencies are not dynamic (PEP 621)."""
    project = pyproject.get("project")
    if not isinstance(project, dict):
        return None
    dynamic = project.get("dynamic", [])
    kinds = ("dynamic", list), ("dependencies", list), ("optional-dependencies", dict)
    if not all(isinstance(project.get(name, kind()), kind) for name, kind in kinds):
        return None
    return None if "dependencies" in dynamic or "optional-dependencies" in dynamic else project


def _of_project(project: Mapping[str, Any]) -> tuple[tuple[Requirement, ...], frozenset[str]]:
    extras = project.get("optional-dependencies", {})
    optional = (
        _with_extra(text, extra)
        for extra, texts in extras.items()
        for text in (texts if isinstance(texts, list) else ())
        if isinstance(text, str)
    )
    requires = tuple(_parsed([*project.get("dependencies", ()), *optional]))
    return requires, frozenset(map(key, extras))


def _of_sections(text: str) -> tuple[tuple[Requirement, ...], frozenset[str]]:
    """Read requires.txt of setuptools: sections of extras and markers."""
    requires: list[str] = []
    extras: set[str] = set()
    extra, marker = "", ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if section := _SECTION.match(line):
            extra, marker = section["extra"].strip(), (section["marker"] or "").strip()
            extras |= {key(extra)} if extra else set()
        else:
            requires.append(_with_extra(_with_marker(line, marker), extra))
    return tuple(_parsed(requires)), frozenset(extras)


def _with_marker(requirement: str, marker: str) -> str:
    return f"{requirement}; {marker}" if marker else requirement


def _with_extra(requirement: str, extra: str) -> str:
    """Add the condition that an extra is wanted to a requirement."""
    if not extra:
        return requirement
    base, _, marker = requirement.partition(";")
    condition = f"extra == '{key(extra)}'"
    return f"{base}; ({marker.strip()}) and {condition}" if marker else f"{base}; {condition}"


# --- what builds it ------------------------------------------------------------------------------


def _build_requires(
    files: Mapping[str, str], pyproject: Mapping[str, Any]
) -> tuple[Requirement, ...]:
    """Return what its build needs (PEP 518), with what setup.py of setuptools asks for itself."""
    system = pyproject.get("build-system")
    table = system if isinstance(system, dict) else {}
    stated = table.get("requires")
    requires = tuple(_parsed(stated if isinstance(stated, list) else _DEFAULT_BUILD))
    return requires + tuple(_setup_requires(files.get("setup.cfg", "")))


def _setup_requires(text: str) -> Iterator[Requirement]:
    """Return ``setup_requires`` of setup.cfg, which setuptools installs for the build."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    yield from _parsed(parser.get("options", "setup_requires", fallback="").split("\n"))


# --- parsing -------------------------------------------------------------------------------------


def _toml(text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):  # TOMLDecodeError, or a number of too many digits
        return {}


def _metadata(text: str | None) -> CoreMetadata | None:
    try:
        return None if text is None else metadata.parse(text.encode(), "PKG-INFO")
    except Rejected:
        return None


def _parsed(texts: Iterable[object]) -> Iterator[Requirement]:
    """Parse requirements; those of an older form than PEP 508 are skipped, as pip does."""
    for text in texts:
        if isinstance(text, str) and text.strip():
            try:
                yield _requirement(text.strip())
            except InvalidRequirement:
                continue


@lru_cache(maxsize=1 << 14)
def _requirement(text: str) -> Requirement:
    return Requirement(text)
