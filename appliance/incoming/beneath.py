"""Opening files child a directory so that no symbolic link leads out of it."""

import errno
import os


def open_beneath(root: str, path: str) -> int:
    """Open the file at the relative ``path`` for reading, without blocking; return a descriptor.

    No symbolic link leads out of the directory ``root``, even if one is placed meanwhile: each
    component is opened from the one before without following links. A link to a path inside
    ``root`` is resolved first. Raises ``OSError``, with ``ELOOP`` for a link that leads out.
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
    """Open a file as :func:`open_beneath` does, if no component of ``path`` is a symbolic link."""
    *directories, name = path.split("/")
    parent = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for directory in directories:
            child = os.open(
                directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
            )
            os.close(parent)
            parent = child

        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=parent)
    finally:
        os.close(parent)
