"""Builds of wheels by the interpreter that runs, in isolation, by ``uv build``.

A build runs code of the project, and of the wheels that build it, with the rights of this process.
Nothing else is built for it: what it requires must be wheels.
"""

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from uv import find_uv_bin

from appliance.errors import PyindexError
from appliance.index.names import distribution
from appliance.mirror.running import environment, run
from appliance.text import counted
from appliance.upstream import Upstreams, uv_arguments, uv_environment
from appliance.upstream.digests import digest_of

_SECONDS = 3600
_EARLIEST = 315_532_800  # 1980, where the times of zip begin
_SKIPPED_AT_TOP = ("build", "dist")  # what builds leave


async def build(
    name: str, sources: Path, time: int, upstreams: Upstreams, cache: Path, out: Path
) -> Path:
    """Build the project ``name`` from a directory or an sdist; return its wheel in ``out``.

    ``time`` in seconds since the epoch is that of the files in it (SOURCE_DATE_EPOCH). ``cache`` is
    the directory of uv's cache. Raises :class:`PyindexError` with the last lines of the build.
    """
    arguments = [find_uv_bin(), "build", "--wheel", "--no-config", "--no-build", "--no-sources"]
    arguments += ["--python", sys.executable, "--no-python-downloads", "--color", "never"]
    arguments += ["--no-create-gitignore", "--cache-dir", str(cache), "--out-dir", str(out)]
    arguments += [*uv_arguments(upstreams), "--", str(sources)]
    variables = environment(
        uv_environment(upstreams) | {"SOURCE_DATE_EPOCH": str(max(time, _EARLIEST))}
    )
    await run(f"build of {name}", arguments, out.parent, variables, _SECONDS)

    wheels = sorted(out.glob("*.whl"))
    named = distribution(wheels[0].name) if len(wheels) == 1 else None
    if named is None:
        raise PyindexError(f"build of {name}: made {counted(len(wheels), 'wheel')}, expected one")
    if named.project != name:
        raise PyindexError(
            f"build of {name}: made {wheels[0].name}, a wheel of {named.project}; write"
            f" `{named.project} @ URL` in the input, and pass --build {named.project}"
        )
    return wheels[0]


def tree_digest(directory: Path) -> str:
    """Return a digest of the files below a directory, without hidden ones and what builds leave."""
    digest = hashlib.sha256()
    for path in _files(directory):
        status = path.lstat()
        digest.update(f"{path.relative_to(directory)}\0{stat.S_IFMT(status.st_mode)}\0".encode())
        if stat.S_ISREG(status.st_mode):
            digest.update(digest_of(path, "sha256").encode())
        elif stat.S_ISLNK(status.st_mode):
            digest.update(os.fsencode(path.readlink()))
    return digest.hexdigest()


def newest(directory: Path) -> int:
    """Return the time in seconds of the newest of the files that :func:`tree_digest` reads."""
    return max((int(path.lstat().st_mtime) for path in _files(directory)), default=0)


def _files(directory: Path) -> Iterator[Path]:
    for top, directories, names in os.walk(directory):
        skipped = _SKIPPED_AT_TOP if Path(top) == directory else ()
        directories[:] = sorted(
            each for each in directories if not _is_skipped(each) and each not in skipped
        )
        for name in sorted(names):
            if not _is_skipped(name):
                yield Path(top, name)


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith(".egg-info")
