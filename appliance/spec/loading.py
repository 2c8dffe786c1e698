"""A spec from a file or for a directory; all that is wrong with it is reported at once."""

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from appliance.errors import SpecError
from appliance.spec.document import Data, Fault, Key, dotted, read, shown
from appliance.spec.forms import absolute
from appliance.spec.keys import reference
from appliance.spec.links import base_faults, chosen_directories, hint, overlaps
from appliance.spec.model import Backup, IndexSection, Spec


def load(path: Path) -> Spec:
    """Read a spec file. Raises SpecError with every fault, as ``file:line: full.key: sentence``.

    Relative paths start at the file's directory; package directories need not exist.
    """
    document = read(path)
    folder = absolute(str(path), Path()).parent
    spec, faults = _validated(document.data, folder)
    if spec is None or faults or document.faults:
        raise document.error(document.faults + faults)
    return spec


def for_directory(packages: Path, state: Path | None = None, must_exist: bool = True) -> Spec:
    """A spec for one directory of package files, as the index ``main``.

    State, with the backups in it, goes to the user's data directory unless given. Raises SpecError
    when ``packages`` is no directory, if it ``must_exist``, or one of them lies inside the other.
    """
    directory = _directory(packages, must_exist)
    place = absolute(str(state), Path()) if state else _default_state(directory)
    faults = overlaps({("packages",): directory, ("state",): place})
    if problems := [f"{dotted(fault.key)}: {fault.text}" for fault in faults]:
        raise SpecError(problems)
    copies = Backup(directory=place / "backups")
    return Spec(state=place, indexes={"main": IndexSection(packages=directory)}, backup=copies)


def with_url(spec: Spec, url: str) -> Spec:
    """``spec`` at the address ``url``. Raises SpecError when that is none."""
    try:
        return Spec.model_validate({**dict(spec), "url": url}, context={"folder": Path()})
    except ValidationError as invalid:
        faults = [_fault(error) for error in invalid.errors(include_url=False)]
    raise SpecError([f"{dotted(fault.key)}: {fault.text}" for fault in faults])


def _directory(packages: Path, must_exist: bool) -> Path:
    try:
        directory = absolute(str(packages), Path())
        if not must_exist or stat.S_ISDIR(directory.stat().st_mode):
            return directory
        problem = "not a directory"
    except ValueError as error:
        problem = f"wanted {error}"
    except OSError as error:
        problem = str(error.strerror)
    raise SpecError([f"{shown(packages)}: {problem}"])


def _default_state(directory: Path) -> Path:
    """A directory of the user's for the state of this one, the same however it is spelled."""
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):  # noqa: PTH117  # the XDG specification: ignore what is not absolute
        data = "~/.local/share"
    real = Path(os.path.realpath(directory))
    slug = re.sub("[^a-z0-9]+", "-", real.name.lower()).strip("-")[:40] or "index"
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:10]
    try:
        return absolute(f"{data}/pyindex/{slug}-{digest}", Path())
    except ValueError:
        raise SpecError(["state: no home directory to put it in; say where"]) from None


def _validated(data: Data, folder: Path) -> tuple[Spec | None, list[Fault]]:
    across = [*base_faults(data), *overlaps(chosen_directories(data, folder))]
    try:
        return Spec.model_validate(data, context={"folder": folder}), across
    except ValidationError as invalid:
        details = invalid.errors(include_url=False)
        return None, across + [_fault(error) for error in details]


def _fault(error: ErrorDetails) -> Fault:
    """What pydantic found, in our words."""
    key: Key = error["loc"][:-1] if error["loc"][-1:] == ("[key]",) else error["loc"]
    match error["type"]:
        case "missing":
            purpose = _known(key[:-1])[str(key[-1])]["description"].partition(". ")[0]
            return Fault(key, f"missing; wanted: {purpose.removesuffix('.')}")
        case "extra_forbidden":
            return Fault(key, f"unknown key; {hint(str(key[-1]), _known(key[:-1]))}")
        case "value_error":
            wanted = str(error["ctx"]["error"])
        case "model_type" | "dict_type":
            wanted = "a mapping of keys to values"
        case "tuple_type":
            wanted = "a list such as [a, b]"
        case "too_short":
            return Fault(key, "wanted at least one, got none")
        case "literal_error":
            wanted = error["ctx"]["expected"]
        case _:
            return Fault(key, error["msg"])
    return Fault(key, f"wanted {wanted}, got {shown(error['input'])}")


def _known(key: Key) -> dict[str, dict[str, Any]]:
    """The keys that the section ``key`` may have."""
    return {
        known[-1]: child
        for known, child in reference().items()
        if len(known) == len(key) + 1
        and all(name in ("*", part) for name, part in zip(known, key, strict=False))
    }
