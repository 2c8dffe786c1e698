"""A spec from a file or for a directory; all its faults are reported at once."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from appliance.errors import SpecError
from appliance.spec.document import Data, read
from appliance.spec.faults import Fault, Key, dotted, expected, hint, quoted
from appliance.spec.forms import absolute
from appliance.spec.json_schema import reference
from appliance.spec.links import base_faults, ca_faults, chosen_directories, overlaps
from appliance.spec.model import Backup, IndexSection, Spec


def load(path: Path) -> Spec:
    """Read a spec file. Raises SpecError with every fault, as ``file:line: full.key: sentence``.

    Relative paths start at the file's directory; packages directories need not exist.
    """
    document = read(path)
    spec, faults = _validated(document.data, absolute(str(path), Path()).parent)
    if spec is None or faults or document.faults:
        raise document.error(document.faults + faults)
    return spec


def for_directory(packages: Path, state: Path | None = None, must_exist: bool = True) -> Spec:
    """A spec for one directory of package files, as the index ``main``.

    Without ``state`` the state directory is in the user's data directory; it has the backups, too.
    Raises SpecError if ``packages`` is not a directory but ``must_exist``, or if they overlap.
    """
    directory = _directory(packages, must_exist)
    state = absolute(str(state), Path()) if state else _default_state(directory)
    faults = overlaps({("packages",): directory, ("state",): state})
    if problems := [f"{dotted(fault.key)}: {fault.text}" for fault in faults]:
        raise SpecError(problems)

    backup = Backup(directory=state / "backups")
    return Spec(state=state, indexes={"main": IndexSection(packages=directory)}, backup=backup)


def with_url(spec: Spec, url: str) -> Spec:
    """``spec`` with another ``url``. Raises SpecError if that is not a URL."""
    return _changed(spec, {"url": url})


def with_host(spec: Spec, changes: Mapping[str, object]) -> Spec:
    """``spec`` with other values for keys of ``host``. Raises SpecError if one is invalid."""
    return _changed(spec, {"host": {**dict(spec.host), **changes}})


def _changed(spec: Spec, changes: Mapping[str, object]) -> Spec:
    try:
        return Spec.model_validate({**dict(spec), **changes}, context={"directory": Path()})
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
        problem = f"expected {error}"
    except OSError as error:
        problem = str(error.strerror)
    raise SpecError([f"{quoted(packages)}: {problem}"])


def _default_state(directory: Path) -> Path:
    """The state directory of a packages directory, the same for every spelling of its path."""
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):  # noqa: PTH117  # the XDG specification: ignore what is not absolute
        data = "~/.local/share"
    real = Path(os.path.realpath(directory))
    slug = re.sub("[^a-z0-9]+", "-", real.name.lower()).strip("-")[:40] or "index"
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:10]
    try:
        return absolute(f"{data}/pyindex/{slug}-{digest}", Path())
    except ValueError:
        raise SpecError(["state: no home directory to put it in; pass --state DIR"]) from None


def _validated(data: Data, directory: Path) -> tuple[Spec | None, list[Fault]]:
    """The spec, if the values of its keys are valid, and all faults. Relative paths start at
    ``directory``."""
    faults = [*base_faults(data), *ca_faults(data), *overlaps(chosen_directories(data, directory))]
    try:
        spec = Spec.model_validate(data, context={"directory": directory})
    except ValidationError as invalid:
        details = invalid.errors(include_url=False)
        return None, faults + [_fault(error) for error in details]
    return spec, [*faults, *_stand_in_faults(spec)]


def _stand_in_faults(spec: Spec) -> Iterator[Fault]:
    """Problems with answering for another index, whose URLs have HTTPS and no port."""
    if not spec.nginx.stand_in:
        return

    url, key = urlsplit(spec.url or ""), ("nginx", "stand_in")
    if spec.nginx.tls is None or url.scheme != "https" or url.port not in (None, 443):
        yield Fault(key, "requires nginx.tls and an https url at port 443, as locks name both")

    own = {str(url.hostname), *(name.lower() for name in spec.nginx.names)}
    for position, name in enumerate(spec.nginx.stand_in):
        if name.lower() in own:
            text = f"{quoted(name)} is a name of this appliance; list only those of another index"
            yield Fault((*key, position), text)


def _fault(error: ErrorDetails) -> Fault:
    """An error of pydantic as a sentence."""
    key: Key = error["loc"][:-1] if error["loc"][-1:] == ("[key]",) else error["loc"]

    match error["type"]:
        case "missing":
            purpose = _known(key[:-1])[str(key[-1])]["description"].partition(". ")[0]
            return Fault(key, f"missing; expected: {purpose.removesuffix('.')}")
        case "extra_forbidden":
            return Fault(key, f"unknown key; {hint(str(key[-1]), _known(key[:-1]))}")
        case "value_error":
            expectation = str(error["ctx"]["error"])
        case "model_type" | "dict_type":
            expectation = "a mapping of keys to values"
        case "tuple_type":
            expectation = "a list such as [a, b]"
        case "too_short":
            return Fault(key, "expected at least one, got none")
        case "literal_error":
            expectation = error["ctx"]["expected"]
        case _:
            return Fault(key, error["msg"])
    return Fault(key, expected(expectation, error["input"]))


def _known(key: Key) -> dict[str, dict[str, Any]]:
    """The keys that the section ``key`` may have."""
    return {
        known[-1]: child
        for known, child in reference().items()
        if len(known) == len(key) + 1
        and all(name in ("*", "[]", step) for name, step in zip(known, key, strict=False))
    }
