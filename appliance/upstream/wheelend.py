"""Core metadata of a remote wheel by range requests: the end of the zip archive, its directory,
then the one member.

The archive may be hostile: what is read, and how often, has limits.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO

from appliance.index.names import normalize
from appliance.upstream.connection import Connection, Response
from appliance.upstream.failures import retried
from appliance.upstream.ranges import content_range, span

_TAIL = 1 << 16  # one request suffices for the directory of most wheels
_LEAST = 1 << 12  # read at once
_HEADER = 30 + 1024  # of a member, with its name
_MOST_REQUESTS = 6
_METADATA = re.compile(r"([^/]+)\.dist-info/METADATA\Z")


class _Missing(Exception):
    """Bytes of the file that were not fetched yet."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self.start, self.stop = start, stop


async def metadata(connection: Connection, url: str, filename: str) -> bytes | None:
    """The METADATA of the wheel at ``url``; ``None`` if the server has no ranges or the archive no
    such member, so that the wheel itself must be fetched.

    Raises :class:`~appliance.upstream.failures.UpstreamError` if the server cannot answer.
    """
    first = await _fetch(connection, url, f"bytes=-{_TAIL}")
    if first is None:
        return None
    size, parts = first
    for _ in range(_MOST_REQUESTS):
        try:
            return member(_Sparse(size, parts), filename, connection.limits.metadata_bytes)
        except _Missing as missing:
            start, stop = missing.start, missing.stop
        if stop - start > connection.limits.directory_bytes:
            return None
        more = await _fetch(connection, url, span(start, stop))
        if more is None or more[0] != size or start not in more[1]:
            return None
        parts |= more[1]
    return None


async def _fetch(
    connection: Connection, url: str, wanted: str
) -> tuple[int, dict[int, bytes]] | None:
    """The size of the file, and the bytes of a range by their offset; ``None`` without ranges."""

    async def attempt() -> tuple[int, dict[int, bytes]] | None:
        headers = {"Range": wanted, "Accept-Encoding": "identity"}
        async with connection.open(url, headers) as response:
            return await _part(response, connection.limits.directory_bytes)

    return await retried(connection.limits, attempt)


async def _part(response: Response, limit: int) -> tuple[int, dict[int, bytes]] | None:
    start, stop, size = content_range(response.headers)
    if response.status != 206 or "Content-Encoding" in response.headers:
        return None
    if start is None or stop is None or size is None:
        return None
    content = await response.read(limit)
    return (size, {start: content}) if len(content) == stop - start else None


def member(archive: "IO[bytes] | _Sparse", filename: str, limit: int) -> bytes | None:
    """The METADATA in a wheel; ``None`` if it has not exactly one, or a larger one."""
    project = normalize(filename.partition("-")[0])
    try:
        with zipfile.ZipFile(archive) as wheel:
            found = [info for info in wheel.infolist() if _is_metadata(info, project)]
            if len(found) != 1 or max(found[0].file_size, found[0].compress_size) > limit:
                return None
            # One read, so one request, has the member with its header.
            archive.seek(found[0].header_offset)
            archive.read(_HEADER + len(found[0].extra) + found[0].compress_size)
            with wheel.open(found[0]) as file:
                content = file.read(limit + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ):
        return None  # the intake will reject the wheel, with a reason
    return content if len(content) == found[0].file_size else None


def _is_metadata(info: zipfile.ZipInfo, project: str) -> bool:
    match = _METADATA.match(info.filename)
    # Other methods have no bound for what they unpack at once.
    is_bounded = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if match is None or not is_bounded:
        return False
    return normalize(match[1].partition("-")[0]) == project


class _Sparse(io.RawIOBase):
    """A file of which only some parts are there; reading others raises :class:`_Missing`."""

    def __init__(self, size: int, parts: Mapping[int, bytes]) -> None:
        super().__init__()
        self._size, self._parts, self._position = size, parts, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("before the start of the file")
        self._position = start + offset
        return self._position

    def read(self, count: int = -1) -> bytes:
        start = min(self._position, self._size)
        stop = self._size if count < 0 else min(start + count, self._size)
        for offset, part in self._parts.items():
            if offset <= start and stop <= offset + len(part):
                self._position = stop
                return part[start - offset : stop - offset]
        raise _Missing(start, min(max(stop, start + _LEAST), self._size))
