"""A large file in pieces: ranges of it are requested side by side, since servers and long roads
limit the rate of each connection. They are yielded in order; early ones wait in memory."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass

from appliance.upstream.connection import Connection
from appliance.upstream.failures import Temporary
from appliance.upstream.ranges import Range, content_range, span
from appliance.upstream.urls import redacted


@dataclass(frozen=True, slots=True)
class Source:
    """A file of an upstream: its ``url``, its ``size`` in bytes, and the ``headers`` of a request
    for a piece."""

    url: str
    size: int
    headers: Mapping[str, str]


class Pieces:
    """The pieces of all files of one run."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._limits = connection, connection.limits
        # A file takes slots in the order of its pieces: the next one to be written has one.
        self._slots = asyncio.Semaphore(self._limits.pieces)

    async def follow(
        self, source: Source, begin: Range, chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """Yield the ``chunks`` of the piece ``begin``, then the rest of the file, which is
        requested meanwhile. Raises :class:`Temporary` if the server answers another range."""
        assert begin.start is not None and begin.stop is not None
        starts = iter(range(begin.stop, source.size, self._limits.piece_bytes))
        tasks: deque[asyncio.Task[bytes]] = deque()

        def request() -> None:
            for start in itertools.islice(starts, self._limits.pieces_ahead - len(tasks)):
                tasks.append(asyncio.create_task(self._piece(source, start)))

        request()
        try:
            missing = begin.stop - begin.start
            async for chunk in chunks:
                missing -= len(chunk)
                yield chunk
            if missing:
                raise _another_range(source)
            while tasks:
                content = await tasks[0]
                tasks.popleft()
                self._slots.release()
                request()
                yield content
        finally:
            await self._cancel(tasks)

    async def _piece(self, source: Source, start: int) -> bytes:
        """Return a piece, whose slot the caller releases."""
        await self._slots.acquire()
        try:
            stop = min(start + self._limits.piece_bytes, source.size)
            return await self._receive(source, start, stop)
        except BaseException:
            self._slots.release()
            raise

    async def _receive(self, source: Source, start: int, stop: int) -> bytes:
        headers = {**source.headers, "Range": span(start, stop)}
        async with self._connection.open(source.url, headers) as response:
            answered = content_range(response.headers)
            if response.status == 206 and answered == (start, stop, source.size):
                content = await response.read(stop - start)
                if len(content) == stop - start:
                    return content
        raise _another_range(source)

    async def _cancel(self, tasks: deque[asyncio.Task[bytes]]) -> None:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, bytes):
                self._slots.release()


def _another_range(source: Source) -> Temporary:
    return Temporary(f"{redacted(source.url)}: answered another range; check the server and proxy")
