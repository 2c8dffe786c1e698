"""Files that are sent, from the path of a URL to an open file, and conditional requests for them.

The validators are those that nginx makes, so that a client may ask either server.
"""

import contextlib
import errno
import io
import os
import re
import stat

import falcon

from appliance.incoming.beneath import open_beneath
from appliance.text import CONTROLS

# Hidden names ("." and ".." too), empty segments, control characters, "\", what was not UTF-8.
_UNSAFE = re.compile(rf"(?:^|/)(?:[./]|$)|[{CONTROLS}\\\ufffd]")
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
# O_NONBLOCK: a FIFO in the packages directory must not make a worker wait.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class OpenFile:
    """A regular file that is open. A ``with`` block closes it, unless a part of it is to be sent.

    ``size`` is in bytes, ``mtime`` in whole seconds since the epoch.
    """

    def __init__(self, root: str, path: str, beneath: bool = False) -> None:
        """Open ``path`` below ``root``. Raises HTTPNotFound if it is no file that may be read.

        With ``beneath``, other users write below ``root``: no link may lead out of it.
        """
        if _UNSAFE.search(path):
            raise not_found()
        try:
            self.descriptor = (
                _open_beneath(root, path) if beneath else os.open(f"{root}/{path}", _FLAGS)
            )
        except OSError as error:
            if error.errno in _ABSENT:
                raise not_found() from None
            raise

        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self.descriptor)
            raise not_found()

        self.size = status.st_size
        self.mtime = status[stat.ST_MTIME]
        self.etag = f'"{self.mtime:x}-{self.size:x}"'

    def __enter__(self) -> "OpenFile":
        return self

    def __exit__(self, *_error: object) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def read(self) -> bytes:
        return os.read(self.descriptor, self.size)

    def part(self, start: int, length: int) -> "FilePart":
        """The stream of a response. From now on it owns the descriptor."""
        part = FilePart(self.descriptor, start, length)
        self.descriptor = -1
        return part


class FilePart(io.FileIO):
    """``length`` bytes of a file from ``start``; gunicorn sends it by sendfile(2)."""

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        super().__init__(descriptor)
        self.seek(start)
        self._remaining = length

    def read(self, size: int | None = -1, /) -> bytes:
        count = self._remaining if size is None or size < 0 else min(size, self._remaining)
        data = super().read(count) or b""
        self._remaining -= len(data)
        return data


def is_known(req: falcon.Request, file: OpenFile, dated: bool) -> bool:
    """Whether the client has just this file (RFC 9110, 13.1), and is to be answered 304.

    ``dated`` says that the file is sent with Last-Modified.
    """
    tags = req.if_none_match
    if tags is not None:  # what is no tag is "*", which is true of any file
        return any(not isinstance(tag, falcon.ETag) or file.etag == f'"{tag}"' for tag in tags)
    since = seconds(req.env.get("HTTP_IF_MODIFIED_SINCE")) if dated else None
    return since is not None and file.mtime <= since


def seconds(date: str | None) -> float | None:
    """An HTTP date as seconds since the epoch; ``None`` if it is not one."""
    with contextlib.suppress(ValueError):
        return falcon.http_date_to_dt(date, obs_date=True).timestamp() if date else None
    return None


def _open_beneath(root: str, path: str) -> int:
    try:
        if "/" not in path:  # most are; in one step
            return os.open(f"{root}/{path}", _FLAGS | os.O_NOFOLLOW)
        return open_beneath(root, path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        # Perhaps a link to a path inside of a directory that is itself reached by a link.
        return open_beneath(os.path.realpath(root), path)


def not_found() -> falcon.HTTPNotFound:
    return falcon.HTTPNotFound(description="this index has no such page or file")
