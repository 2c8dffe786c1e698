"""Files below ``www`` as HTTP sees them: the one door from a path to a file, and validators.

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
# Not to wait, should somebody have put a FIFO in the place of a file.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class File:
    """A regular file that is open; its ``with`` block closes it unless a part is to be sent."""

    def __init__(self, root: str, path: str, beneath: bool = False) -> None:
        """Open ``path`` below ``root``; HTTPNotFound if no file that may be read is there.

        With ``beneath``, others than us write there: no link may lead out of it.
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

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *_error: object) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def read(self) -> bytes:
        return os.read(self.descriptor, self.size)

    def part(self, start: int, length: int) -> "Part":
        """What a response is to send. From now on this holds the file open."""
        part = Part(self.descriptor, start, length)
        self.descriptor = -1
        return part


class Part(io.FileIO):
    """A part of a file; gunicorn sends it by sendfile(2)."""

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        super().__init__(descriptor)
        self.seek(start)
        self._left = length

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        data = super().read(wanted) or b""
        self._left -= len(data)
        return data


def is_known(req: falcon.Request, file: File, dated: bool) -> bool:
    """Whether the client says that it has just this file (RFC 9110, 13.1), to be answered 304.

    ``dated`` tells whether the file was sent with Last-Modified.
    """
    tags = req.if_none_match
    if tags is not None:  # what is no tag is "*", which is true of any file
        return any(not isinstance(each, falcon.ETag) or file.etag == f'"{each}"' for each in tags)
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
        # Perhaps a link to a place inside of a directory that is itself reached by a link.
        return open_beneath(os.path.realpath(root), path)


def not_found() -> falcon.HTTPNotFound:
    return falcon.HTTPNotFound(description="this index has no such page or file")
