"""The worker class for gunicorn: no client, however slow, holds up another.

gunicorn's own threads wait for clients: for the rest of a request's head, for its body, for room to
write into. Here a thread has a connection only while there is work to do. Waiting, with a time
limit each, is done by the main thread for all connections at once.
"""

import errno
import os
import re
import resource
import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gunicorn import http
from gunicorn.http import wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

LARGEST_BODY = 1 << 16
"""The application is given no more of a request's body than this, and nothing of a chunked one."""

_HEAD_SECONDS = 20.0
_BODY_SECONDS = 20.0
_SEND_SECONDS = 60.0  # without any progress
_LINGER_SECONDS = 2.0
_QUIET_SECONDS = 10.0
_LONGEST_LINGER_SECONDS = 300.0
_LINGER_BYTES = 1 << 31
_HEAD_BYTES = 1 << 16
_PIECE_BYTES = 1 << 16
_TURN_BYTES = 1 << 23  # then others have the thread
# A client on a fast line makes room in it: to go through the main thread would take longer.
_NEAR_MILLISECONDS = 2
_LOOK_SECONDS = 0.5
# The end of a head, or what cannot be in one and is refused by gunicorn (RFC 9112, 2.2).
_END_OF_HEAD = re.compile(rb"\r\n\r\n|(?<!\r)\n")
# What is open beside connections: the system's own, logs; a catalog of SQLite in each thread.
_SPARE_FILES = 16
_FILES_OF_A_THREAD = 4
_FILES_OF_A_CONNECTION = 2  # the socket, and the file that is sent
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Inbox:
    """What a client has sent, for gunicorn to parse in place of a socket; reading never waits."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._searched = 0

    def recv(self, size: int) -> bytes:
        data = bytes(self.data[:size])
        del self.data[:size]
        self._searched = 0
        return data

    def has_head(self) -> bool:
        """Whether there is a whole head, or more than one may be long."""
        found = _END_OF_HEAD.search(self.data, max(self._searched - 3, 0))
        self._searched = len(self.data)
        return found is not None or len(self.data) > _HEAD_BYTES


class _Outbox:
    """What a client is to get, for gunicorn to write to in place of a socket; it never waits."""

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
        """Send what the client takes now, up to a bound; whether that was all."""
        try:
            return self._flush()
        except BlockingIOError:
            return False

    def _flush(self) -> bool:
        if self._bytes:
            data = b"".join(self._bytes)
            self._bytes.clear()
            more = socket.MSG_MORE if self._count else 0
            try:
                sent = self._sock.send(data, more)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                self._bytes.append(data[sent:])
                return False
        left = _TURN_BYTES
        while self._count and left > 0:
            sent = self._sendfile(min(self._count, left))
            if not sent:
                raise ConnectionAbortedError  # the file has been cut
            self._offset, self._count, left = self._offset + sent, self._count - sent, left - sent
        return not self._count

    def _sendfile(self, count: int) -> int:
        sock = self._sock.fileno()
        try:
            return os.sendfile(sock, self._file, self._offset, count)
        except BlockingIOError:
            room = select.poll()
            room.register(sock, select.POLLOUT)
            room.poll(_NEAR_MILLISECONDS)
            return os.sendfile(sock, self._file, self._offset, count)


@dataclass
class _Wait:
    """What a conversation waits for: the socket, and then that ``enough`` has come."""

    event: int
    seconds: float
    enough: Callable[[], bool] = lambda: True


class _Connection:
    """A client. Either a thread has it, to take its ``conversation`` on, or it is waited for."""

    def __init__(self, sock: socket.socket, client: Any, server: Any) -> None:
        sock.setblocking(False)
        self.sock, self.client, self.server = sock, client, server
        self.inbox, self.outbox = _Inbox(), _Outbox(sock)
        self.conversation: Generator[_Wait, None, None]
        self.idle = True
        self.wait = _Wait(selectors.EVENT_READ, _HEAD_SECONDS)
        self.since = self.deadline = 0.0


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Takes the main loop, the signals and the threads from gunicorn's own, and no TLS or HTTP/2.

    Attributes:
        waiting: The connections that no thread has.
    """

    alive: bool
    worker_connections: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cfg.set("forwarder_headers", "")  # SCRIPT_NAME and PATH_INFO are nobody's to send
        self.waiting: set[_Connection] = set()
        self._look_at = 0.0

    def init_process(self) -> None:
        """Let no more connections be open than there are descriptors for, and for the files that
        are sent on them."""
        self.worker_connections = _room(self.worker_connections, self.cfg.threads)
        super().init_process()

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Raises RuntimeError, which gunicorn shows, rather than to serve HTTPS without it."""
        if cfg.is_ssl:
            raise RuntimeError(f"{cls.__module__} speaks no TLS: put nginx in front")
        super().check_config(cfg, log)

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection in; if there are too many, close the one that waited longest."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in _FULL:
                if not self._close_longest():
                    time.sleep(0.1)  # all are at work
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self.nr_conns += 1
        connection = _Connection(sock, client, listener.getsockname())
        connection.conversation = self._converse(connection)
        self._wait(connection, next(connection.conversation))
        if self.nr_conns >= self.worker_connections:
            self._close_longest()

    def _wait(self, connection: _Connection, wait: _Wait) -> None:
        """Wait for a connection, in the main thread."""
        connection.wait = wait
        if wait.event == selectors.EVENT_READ and wait.enough():
            self._go_on(connection)
            return
        connection.since = time.monotonic()
        connection.deadline = connection.since + wait.seconds
        if connection.idle and not self.alive:
            connection.deadline = min(connection.deadline, connection.since + STOP_KEEPALIVE_LINGER)
        self.poller.register(connection.sock, wait.event, lambda _: self._ready(connection))
        self.waiting.add(connection)

    def _ready(self, connection: _Connection) -> None:
        """The socket is what was waited for."""
        if connection not in self.waiting:
            return  # closed for another's sake, by an event of the same moment
        if connection.wait.event == selectors.EVENT_READ:
            try:
                data = connection.sock.recv(_PIECE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close(connection)
                return
            connection.inbox.data += data
            if connection.idle:
                connection.idle = False
                connection.deadline = time.monotonic() + _HEAD_SECONDS
            if not connection.wait.enough():
                return
        self._forget(connection)
        self._go_on(connection)

    def _go_on(self, connection: _Connection) -> None:
        self.tpool.submit(self._step, connection)

    def _step(self, connection: _Connection) -> None:
        """Take a conversation to where it has to wait, or ends; in a thread."""
        wait = None
        try:
            wait = next(connection.conversation, None)
        except OSError:
            pass  # the client is gone
        except Exception:
            self.log.exception("Error handling a connection")
        self.method_queue.defer(self._after, connection, wait)

    def _after(self, connection: _Connection, wait: _Wait | None) -> None:
        if wait is None:
            self._close(connection)
        else:
            self._wait(connection, wait)

    def _forget(self, connection: _Connection) -> None:
        if connection in self.waiting:
            self.waiting.discard(connection)
            self.poller.unregister(connection.sock)

    def _close(self, connection: _Connection) -> None:
        self._forget(connection)
        self.nr_conns -= 1
        try:
            connection.conversation.close()
        except Exception:
            self.log.exception("Error ending a connection")
        connection.sock.close()

    def _close_longest(self) -> bool:
        longest = min(self.waiting, key=lambda connection: connection.since, default=None)
        if longest is not None:
            self._close(longest)
        return longest is not None

    def murder_keepalived(self, force: bool = False) -> None:
        """Close what has been waited for long enough, or all; the main loop calls this often."""
        if self.alive and self.nr_conns >= self.worker_connections:
            self._close_longest()  # all were at work when the last one came
        now = time.monotonic()
        if not force and now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        for connection in [each for each in self.waiting if force or each.deadline <= now]:
            self._close(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        for connection in self.waiting:
            if connection.idle:
                connection.deadline = min(connection.deadline, deadline)

    def _converse(self, connection: _Connection) -> Generator[_Wait, None, None]:
        """Requests and answers, one after the other, until the connection is to be closed."""
        seconds = _HEAD_SECONDS
        while True:
            whole = False
            yield _Wait(selectors.EVENT_READ, seconds, connection.inbox.has_head)
            parser = http.get_parser(self.cfg, connection.inbox, connection.client)
            request = None
            try:
                if not _END_OF_HEAD.search(connection.inbox.data):
                    raise LimitRequestHeaders("limit request headers size")
                request = next(parser)
                whole = yield from _receive(connection, request, parser.unreader)
                yield from self._answer(connection, request)
            except OSError:
                raise
            except Exception as error:
                self.handle_error(request, connection.outbox, connection.client, error)
                yield from _flush(connection)
                break
            if request.must_close:
                break
            parser.finish_body()
            connection.inbox.data[:0] = parser.unreader.take_buffered()
            seconds = float(self.cfg.keepalive)
            connection.idle = not connection.inbox.data
        yield from _linger(connection, _LINGER_SECONDS if whole else _LONGEST_LINGER_SECONDS)

    def _answer(self, connection: _Connection, request: Any) -> Generator[_Wait, None, None]:
        """What the application says. Afterwards ``request.must_close`` tells of the connection."""
        start = datetime.now()
        answer, environ = wsgi.create(
            request, connection.outbox, connection.client, connection.server, self.cfg
        )
        environ["wsgi.multithread"] = True
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        if not self.alive or not self.cfg.keepalive:
            answer.force_close()
        body: Any = ()
        try:
            body = self.wsgi(environ, answer.start_response)
            whole = isinstance(body, wsgi.FileWrapper) and answer.response_length is not None
            if not whole or not answer.sendfile(body):
                for data in body:
                    answer.write(data)
                    yield from _flush(connection)
            answer.close()
            yield from _flush(connection)
        except Exception as error:
            if isinstance(error, OSError) or not answer.headers_sent:
                raise
            self.log.exception("Error handling request")
            answer.force_close()
        finally:
            self.log.access(answer, request, environ, datetime.now() - start)
            if hasattr(body, "close"):
                body.close()
        if answer.should_close():
            request.force_close()


def _room(wanted: int, threads: int) -> int:
    """How many connections there may be of those that are ``wanted``, by the limit for descriptors,
    which is raised as far as it may be."""
    used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    spare = _SPARE_FILES + _FILES_OF_A_THREAD * threads
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = used + spare + _FILES_OF_A_CONNECTION * wanted
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    free = soft - used
    return max(2, (free - min(spare, free // 2)) // _FILES_OF_A_CONNECTION)


def _receive(connection: _Connection, request: Any, unreader: Any) -> Generator[_Wait, None, bool]:
    """Wait for the body of a request, if the application is given one; returns whether there is no
    more to come."""
    reader = request.body.reader
    whole: bool = isinstance(reader, LengthReader) and reader.length <= LARGEST_BODY
    if whole:
        missing = reader.length - len(unreader.buf.getvalue())
        if request._expected_100_continue and missing > len(connection.inbox.data):
            connection.outbox.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            yield from _flush(connection)
        if missing > 0:
            data = connection.inbox.data
            yield _Wait(selectors.EVENT_READ, _BODY_SECONDS, lambda: len(data) >= missing)
    else:
        request.force_close()
    request._expected_100_continue = False
    return whole


def _flush(connection: _Connection) -> Generator[_Wait, None, None]:
    while not connection.outbox.flush():
        yield _Wait(selectors.EVENT_WRITE, _SEND_SECONDS)


def _linger(connection: _Connection, seconds: float) -> Generator[_Wait, None, None]:
    """Read on, so that a client which sends all before it reads gets its answer (RFC 9112, 9.6)."""
    connection.sock.shutdown(socket.SHUT_WR)
    end, left, data = time.monotonic() + seconds, _LINGER_BYTES, connection.inbox.data

    def enough() -> bool:
        nonlocal left
        left -= len(data)
        data.clear()
        now = time.monotonic()
        connection.deadline = min(now + _QUIET_SECONDS, end)
        return left < 0

    yield _Wait(selectors.EVENT_READ, min(_QUIET_SECONDS, seconds), enough)
