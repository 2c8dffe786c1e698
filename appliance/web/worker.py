"""The worker class for gunicorn: no client, however slow, makes another wait.

gunicorn's own threads wait for clients: for the rest of a request's head, for its body, for room to
write into. Here a thread has a connection only while there is work to do. Waiting, with a time
limit each, is done by the main thread for all connections at once.
"""

import contextlib
import errno
import os
import selectors
import socket
import time
from collections import Counter
from collections.abc import Generator
from datetime import datetime
from typing import Any, ClassVar
from weakref import WeakSet

from gunicorn import http
from gunicorn.http import wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from appliance.web.connection import (
    HEAD_SECONDS,
    RECEIVER,
    STREAMS,
    Connection,
    Receiver,
    Wait,
    flush,
    linger,
    receive_body,
    stream_body,
)
from appliance.web.descriptors import most_connections

_CHECK_SECONDS = 0.5
# The kernel wakes all workers for a new connection. One that has more of them already is a little
# later, so that they do not gather in one worker while others have nothing to do.
_LATER_SECONDS, _MOST_LATER_SECONDS = 0.00005, 0.0005
_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """The main loop, the signals and the threads of gunicorn's own, without TLS and HTTP/2.

    Attributes:
        waiting: The connections that no thread has.
        cpu: The one that this worker uses, ``None`` where processes cannot choose.
    """

    alive: bool
    ppid: int
    worker_connections: int
    _siblings: ClassVar[WeakSet["Worker"]] = WeakSet()  # in the main process, which makes all

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cpu = self._least_used_cpu() if hasattr(os, "sched_setaffinity") else None
        self._siblings.add(self)
        self.cfg.set("forwarder_headers", "")  # no client may set SCRIPT_NAME or PATH_INFO
        self.waiting: set[Connection] = set()
        self._next_check = 0.0

    def init_process(self) -> None:
        """Leave descriptors for the files that are sent, however many connections are open."""
        if self.cpu is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, {self.cpu})
        self.worker_connections = most_connections(self.worker_connections, self.cfg.threads)
        super().init_process()

    def _least_used_cpu(self) -> int:
        """The CPU that the fewest other workers use. Only one thread runs Python at a time, and
        each request passes from one to another: to wake it on another CPU took half of the time."""
        cpus = sorted(os.sched_getaffinity(0))
        first = self.ppid % len(cpus)  # not that of the first worker of another server
        used = Counter(worker.cpu for worker in self._siblings)
        return min(cpus[first:] + cpus[:first], key=lambda cpu: used[cpu])

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Raise RuntimeError, which gunicorn shows, where HTTPS was asked for."""
        if cfg.is_ssl:
            raise RuntimeError(f"{cls.__module__} does not support TLS; put nginx in front")
        super().check_config(cfg, log)

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; if there are too many, close the one that has waited longest."""
        if self.cfg.workers > 1:
            time.sleep(min(self.nr_conns * _LATER_SECONDS, _MOST_LATER_SECONDS))
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in _NO_RESOURCES:
                if not self._close_longest():
                    time.sleep(0.1)  # all are at work
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return

        self.nr_conns += 1
        connection = Connection(sock, client, listener.getsockname())
        connection.conversation = self._converse(connection)
        self._wait(connection, next(connection.conversation))
        if self.nr_conns >= self.worker_connections:
            self._close_longest()

    def _wait(self, connection: Connection, wait: Wait) -> None:
        """Wait for a connection, in the main thread."""
        connection.wait = wait
        if wait.event == selectors.EVENT_READ and wait.is_enough():
            self._resume(connection)
            return

        connection.since = time.monotonic()
        connection.deadline = connection.since + wait.seconds
        if connection.is_idle and not self.alive:
            connection.deadline = min(connection.deadline, connection.since + STOP_KEEPALIVE_LINGER)
        self.poller.register(connection.sock, wait.event, lambda _: self._on_event(connection))
        self.waiting.add(connection)

    def _on_event(self, connection: Connection) -> None:
        """Resume the conversation if the event is all that it waited for."""
        if connection not in self.waiting:
            return  # closed in favor of another, by an event of the same moment
        if connection.wait.event == selectors.EVENT_READ:
            if not connection.receive():
                self._close(connection)
                return
            if not connection.wait.is_enough():
                return

        self._stop_waiting(connection)
        self._resume(connection)

    def _resume(self, connection: Connection) -> None:
        self.tpool.submit(self._step, connection)

    def _step(self, connection: Connection) -> None:
        """Continue a conversation until it has to wait, or ends; in a thread."""
        wait = None
        try:
            wait = next(connection.conversation, None)
        except OSError:
            pass  # the client closed the connection
        except Exception:
            self.log.exception("Error handling a connection")
        self.method_queue.defer(self._after_step, connection, wait)

    def _after_step(self, connection: Connection, wait: Wait | None) -> None:
        if wait is None:
            self._close(connection)
        else:
            self._wait(connection, wait)

    def _stop_waiting(self, connection: Connection) -> None:
        if connection in self.waiting:
            self.waiting.discard(connection)
            self.poller.unregister(connection.sock)

    def _close(self, connection: Connection) -> None:
        self._stop_waiting(connection)
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
        """Close connections past their deadline, or all; the main loop calls this often."""
        if self.alive and self.nr_conns >= self.worker_connections:
            self._close_longest()  # all were at work when the last one was accepted
        now = time.monotonic()
        if not force and now < self._next_check:
            return

        self._next_check = now + _CHECK_SECONDS
        expired = [waiting for waiting in self.waiting if force or waiting.deadline <= now]
        for connection in expired:
            self._close(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        for connection in self.waiting:
            if connection.is_idle:
                connection.deadline = min(connection.deadline, deadline)

    def _converse(self, connection: Connection) -> Generator[Wait, None, None]:
        """Read requests and answer each, until the connection is to be closed."""
        seconds = HEAD_SECONDS
        while True:
            yield Wait(selectors.EVENT_READ, seconds, connection.inbox.has_head)
            parser = http.get_parser(self.cfg, connection.inbox, connection.client)
            has_all, must_close = yield from self._serve_request(connection, parser)
            if must_close:
                break

            # What the parser read beyond this request is the beginning of the next one.
            parser.finish_body()
            connection.inbox.data[:0] = parser.unreader.take_buffered()
            seconds = float(self.cfg.keepalive)
            connection.is_idle = not connection.inbox.data

        yield from linger(connection, has_all)

    def _serve_request(
        self, connection: Connection, parser: Any
    ) -> Generator[Wait, None, tuple[bool, bool]]:
        """Answer one request, whose head was received. Return whether the client has no more of it
        to send, and whether to close the connection."""
        request, has_all = None, False

        try:
            if not connection.inbox.has_end_of_head():
                raise LimitRequestHeaders("limit request headers size")
            request = next(parser)
            has_all = yield from receive_body(connection, request, parser.unreader)
            has_all = yield from self._answer(connection, request, parser.unreader, has_all)
        except OSError:
            raise
        except Exception as error:
            self.handle_error(request, connection.outbox, connection.client, error)
            yield from flush(connection)
            return has_all, True

        return has_all, request.must_close

    def _answer(
        self, connection: Connection, request: Any, unreader: Any, has_all: bool
    ) -> Generator[Wait, None, bool]:
        """Call the application and send its answer; return whether the client has no more to send.
        Afterwards ``request.must_close`` says whether the connection is to be closed."""
        start = datetime.now()
        answer, environ = self._create(connection, request)
        self._count_request()

        body: Any = ()
        try:
            environ[STREAMS] = not has_all and isinstance(request.body.reader, LengthReader)
            body = self.wsgi(environ, answer.start_response)
            if (receiver := environ.get(RECEIVER)) is not None:
                has_all = yield from self._receive(connection, request, unreader, receiver)
                answer, environ = self._create(connection, request)
                environ[RECEIVER] = receiver
                body = self.wsgi(environ, answer.start_response)
            yield from _send(connection, answer, body)
        except Exception as error:
            if isinstance(error, OSError) or not answer.headers_sent:
                raise
            # An error cannot be sent any more: the client notices that the body is too short.
            self.log.exception("Error handling request")
            answer.force_close()
        finally:
            self.log.access(answer, request, environ, datetime.now() - start)
            if hasattr(body, "close"):
                body.close()

        if answer.should_close():
            request.force_close()
        return has_all

    def _create(self, connection: Connection, request: Any) -> tuple[Any, dict[str, Any]]:
        """Return an answer to a request, and the environment for the application."""
        answer, environ = wsgi.create(
            request, connection.outbox, connection.client, connection.server, self.cfg
        )
        environ["wsgi.multithread"] = True
        if not self.alive or not self.cfg.keepalive:
            answer.force_close()
        return answer, environ

    def _receive(
        self, connection: Connection, request: Any, unreader: Any, receiver: Receiver
    ) -> Generator[Wait, None, bool]:
        """Receive a large body; return whether the client has no more to send."""
        try:
            return (yield from stream_body(connection, request, unreader, receiver))
        except BaseException:
            receiver.close()
            raise

    def _count_request(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False


def _send(connection: Connection, answer: Any, body: Any) -> Generator[Wait, None, None]:
    """Send the body: a file of known length by sendfile(2), anything else chunk by chunk."""
    is_file = isinstance(body, wsgi.FileWrapper) and answer.response_length is not None
    if not is_file or not answer.sendfile(body):
        for chunk in body:
            answer.write(chunk)
            yield from flush(connection)
    answer.close()
    yield from flush(connection)
