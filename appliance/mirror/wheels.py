"""Wheels that were built: kept in ``<state>/builds`` with their records, and the targets that they
fit."""

import json
import os
import shutil
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from appliance.atomic import Batch, make_directory, sync_paths
from appliance.errors import PyindexError
from appliance.operations.prune import BUILDS
from appliance.targets.target import Target
from appliance.upstream import RemoteFile
from appliance.upstream.digests import digest_of

SCRATCH = ".building-"
"""Beginning of the names of directories in which builds run."""
MICROSECONDS = 1_000_000

_RECORD = "build.json"


def directory_of(state: Path) -> Path:
    """The directory of all wheels that were built."""
    return state / BUILDS


def clear(state: Path) -> None:
    """Remove what a killed run has left of a build. Call it under the lock of mirror runs."""
    for path in directory_of(state).glob(f"{SCRATCH}*"):
        shutil.rmtree(path, ignore_errors=True)


def keep(wheel: Path, directory: Path, time: int, origin: str) -> None:
    """Keep a wheel durably; its record, which is written last, makes it count."""
    facts = {
        "filename": wheel.name,
        "sha256": digest_of(wheel, "sha256"),
        "size": wheel.stat().st_size,
        "time": time,
        "origin": origin,
    }
    shutil.rmtree(directory, ignore_errors=True)
    make_directory(directory)
    with wheel.open("rb") as source, (directory / wheel.name).open("xb") as copy:
        shutil.copyfileobj(source, copy)
    sync_paths([str(directory / wheel.name), str(directory)])
    with Batch() as batch:
        batch.write(directory / _RECORD, (json.dumps(facts, indent=1) + "\n").encode())


def read(directory: Path) -> RemoteFile | None:
    """Return the wheel that is kept in a directory; ``None`` if there is none, or a damaged one."""
    try:
        facts = json.loads((directory / _RECORD).read_bytes())
        path = directory / facts["filename"]
        if digest_of(path, "sha256") != facts["sha256"]:
            return None
        os.utime(directory)  # `pyindex gc` removes what has not been used for long
        return RemoteFile(
            filename=path.name,
            url=path.absolute().as_uri(),
            hashes={"sha256": facts["sha256"]},
            size=facts["size"],
            upload_time=facts["time"] * MICROSECONDS or None,
        )
    except (PyindexError, OSError, ValueError, LookupError, TypeError):
        return None


def fits(filename: str, target: Target, here: Target) -> bool:
    """Return whether a wheel that was built ``here`` fits ``target``. The native tag of Linux says
    nothing of the C library: that of the target must not be older."""
    try:
        _, _, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    common = tags & set(target.tags)
    if not common or not all(tag.platform.startswith("linux_") for tag in common):
        return bool(common)
    return any(tag.platform == here.platform for tag in target.tags)
