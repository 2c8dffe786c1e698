"""The trash: files that `pyindex remove` took out of a packages directory."""

import errno
import os
import shutil
import stat
import time
from pathlib import Path

from appliance.atomic import sync_paths, unlink


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
        place = _discard(Path(opened, file.name), trash)
    finally:
        os.close(directory)
    sync_paths([str(trash), str(file.parent)])
    return place


def _discard(file: Path, trash: Path) -> Path:
    if stat.S_ISDIR(os.lstat(file).st_mode):  # in the place of the file
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    stamp = time.strftime("%Y%m%dT%H%M%S")
    names = (f"{stamp}{suffix}-{file.name}" for suffix in ("", *(f".{n}" for n in range(1, 1000))))
    place = next(trash / name for name in names if not os.path.lexists(trash / name))
    try:
        os.rename(file, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(file, place)
    return place


def _move_across(file: Path, place: Path) -> None:
    """Move ``file`` to another file system."""
    if not os.access(file.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(file))
    temporary = place.with_name(f".{place.name}")
    try:
        shutil.copy2(file, temporary, follow_symlinks=False)
        if not temporary.is_symlink():
            sync_paths([str(temporary)])
        os.replace(temporary, place)
        os.unlink(file)
    except OSError:
        unlink(temporary)
        if os.path.lexists(file):
            unlink(place)
        raise
