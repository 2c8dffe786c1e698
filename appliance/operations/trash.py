"""The trash: files that `pyindex remove` took out of a packages directory."""

import errno
import os
import re
import shutil
import stat
from pathlib import Path

from appliance.atomic import sync_paths, unlink
from appliance.operations.stamps import STAMP, unused

TRASHED = re.compile(rf"\.?{STAMP}-.+")
"""Names that :func:`discard` gives, and those of what it had not moved yet."""


def discard(file: Path, trash: Path) -> Path:
    """Move ``file`` into the directory ``trash``, under a name that was not used yet.

    The file is whole in one place or the other at every moment; trash may be another file system.
    No symbolic link is followed to it: ``file.parent`` is a real path.
    Raises ``OSError`` for a file that may not be moved: then nothing of it is in the trash.
    """
    trash.mkdir(0o750, parents=True, exist_ok=True)
    directory = os.open(file.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = f"/proc/self/fd/{directory}"
        if os.readlink(opened) != str(file.parent):  # by way of a link that somebody has put there
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(file.parent))
        target = _discard(Path(opened, file.name), trash)
    finally:
        os.close(directory)
    sync_paths([str(trash), str(file.parent)])
    return target


def _discard(file: Path, trash: Path) -> Path:
    if stat.S_ISDIR(os.lstat(file).st_mode):  # in the place of the file
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    target = unused(lambda stamp: trash / f"{stamp}-{file.name}")
    try:
        os.rename(file, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(file, target)
    return target


def _move_across(file: Path, target: Path) -> None:
    """Move ``file`` to another file system."""
    if not os.access(file.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    temporary = target.with_name(f".{target.name}")
    try:
        shutil.copy2(file, temporary, follow_symlinks=False)
        if not temporary.is_symlink():
            sync_paths([str(temporary)])
        os.replace(temporary, target)
        os.unlink(file)
    except OSError:
        unlink(temporary)
        if os.path.lexists(file):
            unlink(target)
        raise
