"""The trash, at `Spec.trash`: files that `pyindex remove` took out of a packages directory. They
stay there for `keep.trash` of the spec, see :mod:`appliance.operations.prune`."""

import errno
import os
import re
import shutil
import stat
from pathlib import Path

from appliance.atomic import sync_paths, unlink
from appliance.operations.stamps import STAMP, unused

TRASHED = re.compile(rf"\.?{STAMP}-.+")
"""Names that :func:`discard` gives, and those of unfinished copies."""


def discard(file: Path, trash: Path) -> Path:
    """Move ``file`` into the directory ``trash`` under an unused name; return its path there.

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
        target = _discard(Path(opened, file.name), trash)
    finally:
        os.close(directory)
    sync_paths([str(trash), str(file.parent)])
    return target


def _discard(file: Path, trash: Path) -> Path:
    if stat.S_ISDIR(os.lstat(file).st_mode):  # which replaced the file
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
