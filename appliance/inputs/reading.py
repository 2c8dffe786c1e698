"""The entry point: the kind of an input, by its name and content, and the reader of that kind."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.pylock import is_valid_pylock_path

from appliance.errors import PyindexError
from appliance.inputs import (
    condaenv,
    pdmlock,
    pipfilelock,
    poetrylock,
    projectfile,
    pylock,
    requirements,
    specline,
    uvlock,
)
from appliance.inputs.demand import Demand, Unbuilt, Wanted
from appliance.inputs.documents import Table, decode_utf8, read_json, read_toml
from appliance.inputs.merging import merge
from appliance.inputs.pinning import CheckedLock, Choice
from appliance.inputs.text import decode, read_bytes
from appliance.inputs.unbuilt import refusal

COMMAND_LINE = "command line"
_TOML: dict[str, Callable[[Table, Choice], Demand]] = {
    pylock.KIND: pylock.read,
    uvlock.KIND: uvlock.read,
    poetrylock.KIND: poetrylock.read,
    pdmlock.KIND: pdmlock.read,
    projectfile.KIND: projectfile.read,
}
_OTHERS = {
    "pipfile": "run `pipenv lock`, and pass Pipfile.lock",
    "setup.py": "a program; lock the project, and pass its lock",
    "setup.cfg": "pass a file of requirements, or lock the project and pass its lock",
    "conda-lock.yml": "a lock of conda packages; pass a file of requirements",
    "uv.toml": "settings of uv; pass uv.lock",
    "pip.conf": "settings of pip; pass a file of requirements",
}
_ENDINGS = (".whl", ".tar.gz", ".zip", ".egg")


def read(
    path: Path,
    *,
    extras: Collection[str] = (),
    groups: Collection[str] = (),
    constraints: Sequence[Path] = (),
    builds: Collection[str] = (),
) -> Demand:
    """The demand of an input, whatever its format.

    Locks and projects take ``extras`` and ``groups`` besides those that their own tool installs by
    default; ``all`` takes each. ``constraints`` are files of constraints to add. Requirements that
    only a build makes a file of are errors, unless their project is among ``builds``: these are in
    ``Demand.unbuilt``, and in the pins of locks. Raises :class:`PyindexError`, which names the file
    and the line or key.
    """
    demand = _read(path, Choice(extras, groups))
    added = [each for file in constraints for each in requirements.read_constraints(file)]
    return _checked(replace(demand, constraints=(*demand.constraints, *added)), builds)


def from_arguments(
    specs: Sequence[str], *, constraints: Sequence[Path] = (), builds: Collection[str] = ()
) -> Demand:
    """The demand of specifiers on the command line, with URLs and paths of package files."""
    parsed = [specline.parse(spec, COMMAND_LINE) for spec in specs]
    demand = Demand(
        COMMAND_LINE,
        COMMAND_LINE,
        requirements=merge(each for each in parsed if isinstance(each, Wanted)),
        constraints=tuple(
            each for file in constraints for each in requirements.read_constraints(file)
        ),
        unbuilt=tuple(each for each in parsed if isinstance(each, Unbuilt)),
    )
    return _checked(demand, builds)


def _checked(demand: Demand, builds: Collection[str]) -> Demand:
    refused = [each for each in demand.unbuilt if each.project not in builds]
    if refused:
        raise PyindexError("\n".join(map(refusal, refused)))
    lock = demand.lock and CheckedLock(demand.origin, demand.lock, frozenset(builds))
    return replace(demand, lock=lock)


def _read(path: Path, choice: Choice) -> Demand:
    kind = kind_of(path)
    if kind in _TOML:
        return _TOML[kind](read_toml(path), choice)
    if kind == pipfilelock.KIND:
        return pipfilelock.read(read_json(path), choice)

    _refuse_choice(choice, path, kind)
    if kind == condaenv.KIND:
        return condaenv.read(decode_utf8(read_bytes(path), path), path)
    if kind == projectfile.SCRIPT:
        return projectfile.read_script(decode(read_bytes(path), path), path)
    return requirements.read(path)


def _refuse_choice(choice: Choice, path: Path, kind: str) -> None:
    if choice.extras or choice.groups:
        asked = ", ".join(sorted({*choice.extras, *choice.groups}))
        text = f"a {kind} has no extras or groups, got {asked}"
        raise PyindexError(f"{path}: {text}; remove the option")


def kind_of(path: Path) -> str:
    """The kind of an input, as ``Demand.kind`` spells it: by its name, or by its content where
    other tools choose the name. Raises :class:`PyindexError` for a file that is no input.
    """
    name = path.name.lower()
    if path.is_dir():
        raise PyindexError(f"{path}: a directory; pass a file in it, such as pyproject.toml")
    if name in _OTHERS:
        raise PyindexError(f"{path}: not an input; {_OTHERS[name]}")
    if name.endswith(_ENDINGS):
        raise PyindexError(f"{path}: a package file; copy it into the packages directory")
    if is_valid_pylock_path(path):
        return pylock.KIND
    if name in _TOML:
        return name
    if name == "pipfile.lock":
        return pipfilelock.KIND
    if name.endswith((".yml", ".yaml")):
        return condaenv.KIND
    return _kind_of_content(path)


def _kind_of_content(path: Path) -> str:
    content = read_bytes(path)
    if path.suffix in (".toml", ".lock") and not content.lstrip().startswith(b"{"):
        return _kind_of_toml(read_toml(path))
    if content.lstrip().startswith(b"{") and b'"_meta"' in content:
        return pipfilelock.KIND
    if path.suffix == ".py" or re.search(rb"(?m)^# /// script\s*$", content):
        return projectfile.SCRIPT
    if b"\0" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        raise PyindexError(f"{path}: not a text; pass a file of requirements or a lock")
    return requirements.KIND


def _kind_of_toml(root: Table) -> str:
    metadata = root.table("metadata")
    if "lock-version" in root:
        return pylock.KIND
    if "lock-version" in metadata:
        return poetrylock.KIND
    if "lock_version" in metadata:
        return pdmlock.KIND
    if "version" in root and ("package" in root or "requires-python" in root):
        return uvlock.KIND
    if "project" in root or "dependency-groups" in root or "tool" in root:
        return projectfile.KIND
    raise PyindexError(f"{root.file}: not a lock of a known tool; pass a file of requirements")
