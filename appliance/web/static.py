"""Files below ``www`` as HTTP sees them: the one door from a path to a file, and validators.

Validators are those that nginx makes, so that a client may ask either server.
"""

import errno
import os
import re
import stat
from email.utils import formatdate, parsedate_to_datetime
from types import TracebackType

import falcon

# Hidden names (also "." and ".."), empty segments, control characters, "\" and what was no UTF-8.
_UNSAFE = re.compile(r"(?:^|/)(?:[./]|$)|[\x00-\x1f\x7f\\\ufffd]")
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_TAG = re.compile(r'"[^"]*"')


class File:
    """A regular file that is open; closed when its block ends, unless a response has taken it."""

    def __init__(self, www: str, path: str) -> None:
        """Open ``path`` below ``www``.

        Raises HTTPBadRequest for a path that none of our links can have, HTTPNotFound if there
        is no such file.
        """
        if _UNSAFE.search(path):
            raise falcon.HTTPBadRequest(description="no file has such a path")
        try:
            # Not to wait where an operator put a FIFO in place of a file.
            self.descriptor = os.open(f"{www}/{path}", os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            raise falcon.HTTPNotFound(description="this index has no such page or file") from None
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        self.mtime = status[stat.ST_MTIME]
        self.etag = f'"{self.mtime:x}-{self.size:x}"'
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise falcon.HTTPNotFound(description="a directory, not a file")

    def __enter__(self) -> "File":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def part(self, start: int, length: int) -> "Part":
        """A part of the file to be sent, which closes it in our place."""
        part = Part(self.descriptor, start, length)
        self.descriptor = -1
        return part
