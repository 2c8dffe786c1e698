"""The trash, at `Spec.trash`: files that `pyindex remove` took out of a packages directory. They
stay there for `keep.trash` of the spec, see :mod:`appliance.operations.prune`."""

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import sync_paths, unlink
from appliance.operations.stamps import STAMP, seconds, unused

TRASHED = re.compile(rf"\.?{STAMP}-.+")
"""Names that :func:`discard` gives, and those of unfinished copies."""

_NAME = re.compile(rf"{STAMP}-(.+)")

Within = Callable[[Callable[[], None]], None]
"""Calls the function that makes a file disappear from its directory."""


def _alone(move: Callable[[], None]) -> None:
    move()


def discard(file: Path, trash: Path, within: Within = _alone, target: Path | None = None) -> Path:
    """Move ``file`` into the directory ``trash`` under an unused name, or to ``target`` there;
    return its path there. ``within`` gets the last step of that, to take it in a transaction.

    The file is complete at one of both paths at every moment; the trash may be on another file
    system. No symbolic link is followed: ``file.parent`` is a real path. Raises ``OSError`` for a
    file that cannot be moved; it is not in the trash then.
    """
    trash.mkdir(0o750, parents=True, exist_ok=True)
    directory = os.open(file.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = f"/proc/self/fd/{directory}"
        if os.readlink(opened) != str(file.parent):  # a symbolic link on the way
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(file.parent))
        target = target or unused(lambda stamp: trash / f"{stamp}-{file.name}")
        _discard(Path(opened, file.name), target, within)
    finally:
        os.close(directory)
    sync_paths([str(trash), str(file.parent)])
    return target


def _discard(file: Path, target: Path, within: Within) -> None:
    if stat.S_ISDIR(os.lstat(file).st_mode):  # which replaced the file
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    try:
        within(lambda: os.rename(file, target))
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(file, target, within)


def _move_across(file: Path, target: Path, within: Within) -> None:
    """Move ``file`` to another file system."""
    if not os.access(file.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    def replace() -> None:
        os.replace(temporary, target)
        os.unlink(file)

    temporary = target.with_name(f".{target.name}")
    try:
        shutil.copy2(file, temporary, follow_symlinks=False)
        if not temporary.is_symlink():
            sync_paths([str(temporary)])
        within(replace)
    except OSError:
        unlink(temporary)
        if os.path.lexists(file):
            unlink(target)
        raise


@dataclass(frozen=True, slots=True)
class Discarded:
    """A file in the trash: its path, its name before, and when it was moved there, in seconds since
    the epoch."""

    path: Path
    filename: str
    time: float


def contents(trash: Path) -> list[Discarded]:
    """Return the files in the trash, the last one first."""
    try:
        names = sorted((entry.name for entry in os.scandir(trash) if entry.is_file()), reverse=True)
    except FileNotFoundError:
        return []
    return [
        Discarded(trash / name, match[2], time)
        for name in names
        if (match := _NAME.fullmatch(name)) and (time := seconds(match[1])) is not None
    ]
