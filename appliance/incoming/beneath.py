"""Opening a file below a directory so that no symbolic link leads out of it."""

import errno
import os


def open_beneath(root: str, path: str) -> int:
    """Open the file at the relative ``path`` for reading, without blocking; returns a descriptor.

    No symbolic link leads out of the directory ``root``, however it is replaced meanwhile: each
    step is opened from the one before without following links. A link to a place inside ``root``
    is resolved first. Raises ``OSError``: ``ELOOP`` for what leads out.
    """
    try:
        return open_without_links(root, path)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise

    real = os.path.realpath(f"{root}/{path}")
    if not real.startswith(f"{root}/"):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
    return open_without_links(root, real[len(root) + 1 :])


def open_without_links(root: str, path: str) -> int:
    """As :func:`open_beneath`, if no component of ``path`` is a symbolic link."""
    *directories, name = path.split("/")
    above = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for directory in directories:
            below = os.open(
                directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above
            )
            os.close(above)
            above = below
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=above)
    finally:
        os.close(above)
