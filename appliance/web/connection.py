"""One client of the worker: its socket, what it sent and is to get, and what it is waited for.

Nothing here waits. What would have to wait yields a :class:`Wait` to the worker instead.
"""

import os
import re
import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gunicorn.http.body import LengthReader

LARGEST_BODY = 1 << 16
"""The application is given no more of a request's body than this at once, and nothing of a chunked
one."""
STREAMS = "pyindex.streams"
"""Key in the environment of a request with a larger body: the application may set :data:`RECEIVER`,
is then called again after the body was received, and the first answer is dropped."""
RECEIVER = "pyindex.receiver"
"""Key of the :class:`Receiver` of the body of a request."""
HEAD_SECONDS = 20.0

_BODY_SECONDS = 20.0  # without any progress
# The same, for the body of a client that may upload: it reads its file, perhaps from a busy disk.
STREAM_SECONDS = 180.0
# A body takes this long, and more by its size: a client cannot keep a connection by a byte a time.
_LONGEST_BODY_SECONDS, _SLOWEST_BYTES_A_SECOND = 120.0, 4096
_SEND_SECONDS = 60.0  # without any progress
_LINGER_SECONDS = 2.0
_QUIET_SECONDS = 10.0
_LONGEST_LINGER_SECONDS = 300.0
_LINGER_BYTES = 1 << 31
_HEAD_BYTES = 1 << 16
_RECEIVED_BYTES = 1 << 16  # at a time
_SENT_BYTES = 1 << 23  # at a time; then other connections have the thread
_STREAMED_BYTES = 1 << 18  # at a time
# A client on a fast line makes room in it: to go through the main thread would take longer.
_FAST_LINE_MILLISECONDS = 2
# The end of a head, or what cannot be in one and is rejected by gunicorn (RFC 9112, 2.2).
_END_OF_HEAD = re.compile(rb"\r\n\r\n|(?<!\r)\n")


class _Inbox:
    """Bytes that a client has sent, for gunicorn to parse instead of a socket."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._searched = 0

    def recv(self, size: int) -> bytes:
        data = bytes(self.data[:size])
        del self.data[:size]
        self._searched = 0
        return data

    def has_head(self) -> bool:
        """Whether there is a complete head, or more bytes than one may have."""
        end = _END_OF_HEAD.search(self.data, max(self._searched - 3, 0))
        self._searched = len(self.data)
        return end is not None or len(self.data) > _HEAD_BYTES

    def has_end_of_head(self) -> bool:
        return _END_OF_HEAD.search(self.data) is not None


class _Outbox:
    """Bytes and a part of a file that a client is to get, for gunicorn to write to instead of a
    socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._bytes: deque[bytes] = deque()
        self._file, self._offset, self._count = -1, 0, 0

    def sendall(self, data: bytes) -> None:
        self._bytes.append(data)

    send = sendall

    def sendfile(self, file: Any, offset: int, count: int) -> None:
        self._file, self._offset, self._count = file.fileno(), offset, count

    def gettimeout(self) -> float:
        return 0.0

    def flush(self) -> bool:
        """Send what the client accepts now, up to a bound; return whether that was all."""
        try:
            return self._flush_bytes() and self._flush_file()
        except BlockingIOError:
            return False

    def _flush_bytes(self) -> bool:
        if not self._bytes:
            return True
        data = b"".join(self._bytes)
        self._bytes.clear()
        more = socket.MSG_MORE if self._count else 0  # the file shares a segment with the head
        try:
            sent = self._sock.send(data, more)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._bytes.append(data[sent:])
        return sent == len(data)

    def _flush_file(self) -> bool:
        allowed = _SENT_BYTES
        while self._count and allowed > 0:
            sent = self._sendfile(min(self._count, allowed))
            if not sent:
                raise ConnectionAbortedError  # the file has been truncated
            self._offset += sent
            self._count -= sent
            allowed -= sent
        return not self._count

    def _sendfile(self, count: int) -> int:
        sock = self._sock.fileno()
        try:
            return os.sendfile(sock, self._file, self._offset, count)
        except BlockingIOError:
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            poll.poll(_FAST_LINE_MILLISECONDS)
            return os.sendfile(sock, self._file, self._offset, count)


@dataclass
class Wait:
    """A condition to resume a conversation on: an ``event`` of the socket (of :mod:`selectors`)
    within ``seconds``, and then that ``is_enough`` has been received."""

    event: int
    seconds: float
    is_enough: Callable[[], bool] = lambda: True


class Connection:
    """A client. Either a thread has it, to resume its ``conversation``, or it is waited for.

    ``since`` and ``deadline`` are seconds of the monotonic clock: when the wait began, and when the
    connection is closed. It ``is_idle`` between two requests.
    """

    def __init__(self, sock: socket.socket, client: Any, server: Any) -> None:
        sock.setblocking(False)
        self.sock, self.client, self.server = sock, client, server
        self.inbox, self.outbox = _Inbox(), _Outbox(sock)
        self.conversation: Generator[Wait, None, None]
        self.is_idle = True
        self.expects_continue = False  # before it sends the body of the current request
        self.wait = Wait(selectors.EVENT_READ, HEAD_SECONDS)
        self.since = self.deadline = 0.0

    def receive(self) -> bool:
        """Read once into the inbox; return whether the client is still there."""
        try:
            data = self.sock.recv(_RECEIVED_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False

        self.inbox.data += data
        if data and self.is_idle:
            self.is_idle = False
            self.deadline = time.monotonic() + HEAD_SECONDS
        return bool(data)


def receive_body(
    connection: Connection, request: Any, unreader: Any
) -> Generator[Wait, None, bool]:
    """Wait for the body of a request, if the application is given one; return whether the client
    has no more to send."""
    reader = request.body.reader
    connection.expects_continue = request._expected_100_continue
    is_small: bool = isinstance(reader, LengthReader) and reader.length <= LARGEST_BODY
    if is_small:
        missing = reader.length - len(unreader.buf.getvalue())
        if connection.expects_continue and missing > len(connection.inbox.data):
            connection.outbox.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            yield from flush(connection)
        if missing > 0:
            data = connection.inbox.data
            yield Wait(selectors.EVENT_READ, _BODY_SECONDS, lambda: len(data) >= missing)
    else:
        request.force_close()

    request._expected_100_continue = False
    return is_small


class Receiver(Protocol):
    """A receiver of a large body, which the application gives. All calls are made by one thread at
    a time; :meth:`close` is called by the worker unless the application is called again."""

    @property
    def has_failed(self) -> bool:
        """Whether no more of the body is needed."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body; raises nothing."""

    def close(self) -> None:
        """End without an answer."""


def is_dropped(environ: Mapping[str, Any]) -> bool:
    """Whether the answer to a request is dropped, as the application is called again."""
    return bool(environ.get(STREAMS)) and RECEIVER in environ


def stream_body(
    connection: Connection, request: Any, unreader: Any, receiver: Receiver
) -> Generator[Wait, None, bool]:
    """Give the body of a request to its receiver as it arrives; return whether the client has no
    more to send. Raises ``OSError`` if the client is gone or too slow."""
    remaining = request.body.reader.length
    end = time.monotonic() + _LONGEST_BODY_SECONDS + remaining / _SLOWEST_BYTES_A_SECOND
    if connection.expects_continue:
        connection.outbox.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        yield from flush(connection)

    connection.inbox.data[:0] = unreader.take_buffered()
    read = 0  # since other connections had the thread
    while remaining and not receiver.has_failed:
        if read >= _SENT_BYTES or not (data := _take(connection, remaining)):
            seconds = min(STREAM_SECONDS, end - time.monotonic())
            yield Wait(selectors.EVENT_READ, seconds, lambda: bool(connection.inbox.data))
            read = 0
            continue
        receiver.feed(data)
        read += len(data)
        remaining -= len(data)
    return not remaining


def _take(connection: Connection, most: int) -> bytes:
    """Return bytes that the client has sent; none if there are none yet. Raises ``OSError`` if it
    is gone."""
    if connection.inbox.data:
        return connection.inbox.recv(most)
    try:
        data = connection.sock.recv(min(most, _STREAMED_BYTES))
    except BlockingIOError:
        return b""
    if not data:
        raise ConnectionAbortedError
    return data


def flush(connection: Connection) -> Generator[Wait, None, None]:
    """Wait until the client has accepted all that is in the outbox."""
    while not connection.outbox.flush():
        yield Wait(selectors.EVENT_WRITE, _SEND_SECONDS)


def linger(connection: Connection, has_all: bool) -> Generator[Wait, None, None]:
    """Read on, so that a client which sends all before it reads gets its answer (RFC 9112, 9.6).

    ``has_all`` says that the client has nothing more to send.
    """
    seconds = _LINGER_SECONDS if has_all else _LONGEST_LINGER_SECONDS
    connection.sock.shutdown(socket.SHUT_WR)
    end, remaining, data = time.monotonic() + seconds, _LINGER_BYTES, connection.inbox.data

    def is_enough() -> bool:
        nonlocal remaining
        remaining -= len(data)
        data.clear()
        connection.deadline = min(time.monotonic() + _QUIET_SECONDS, end)
        return remaining < 0

    yield Wait(selectors.EVENT_READ, min(_QUIET_SECONDS, seconds), is_enough)
