"""A relay that puts a server at a distance: each direction takes half a round trip, and each
connection has a bandwidth.

``python -m benchmarks.distance PORT SERVER_PORT ROUND_TRIP_SECONDS BYTES_PER_SECOND``
"""

import asyncio
import contextlib
import sys
from collections.abc import Sequence

from benchmarks.ports import HOST

_CHUNK = 1 << 17
_AHEAD_SECONDS = 0.05  # read before it is due; the rest waits in the buffers of the kernel


async def serve(port: int, server_port: int, round_trip: float, rate: float) -> None:
    """Relay connections on ``port`` to ``server_port``, until the process ends."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(HOST, server_port, limit=2 * _CHUNK)
        # The handshake of a connection is a round trip; what follows is delayed each way.
        upwards = _Lane(reader, to_writer, round_trip / 2, rate, round_trip)
        downwards = _Lane(to_reader, writer, round_trip / 2, rate)
        await asyncio.gather(upwards.run(), downwards.run(), return_exceptions=True)

    server = await asyncio.start_server(connected, HOST, port, limit=2 * _CHUNK, backlog=512)
    async with server:
        await server.serve_forever()


class _Lane:
    """One direction of a connection: bytes leave at the rate, and arrive after the delay."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        delay: float,
        rate: float,
        before: float = 0.0,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._delay, self._rate, self._before = delay, rate, before
        self._loop = asyncio.get_running_loop()
        self._travelling: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def run(self) -> None:
        receiving = asyncio.create_task(self._receive())
        try:
            await self._deliver()
        finally:
            receiving.cancel()
            self._writer.close()

    async def _receive(self) -> None:
        sent = self._loop.time() + self._before
        data = b"-"
        while data:
            try:
                data = await self._reader.read(_CHUNK)
            except ConnectionError:
                data = b""
            sent = max(sent, self._loop.time()) + len(data) / self._rate
            self._travelling.put_nowait((sent + self._delay, data))
            await asyncio.sleep(max(0.0, sent - _AHEAD_SECONDS - self._loop.time()))

    async def _deliver(self) -> None:
        """Write what arrives, in its time; empty data is the end."""
        while True:
            arrival, data = await self._travelling.get()
            await asyncio.sleep(max(0.0, arrival - self._loop.time()))
            if not data:
                return
            self._writer.write(data)
            await self._writer.drain()


def main(arguments: Sequence[str]) -> None:
    """Serve until the process ends."""
    port, server_port, round_trip, rate = arguments
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(port), int(server_port), float(round_trip), float(rate)))


if __name__ == "__main__":
    main(sys.argv[1:])
