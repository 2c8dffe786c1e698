"""Bodies that are received as they arrive: what the conversation waits for."""

import io
import socket
from types import SimpleNamespace
from typing import Any

from appliance.web.connection import _SENT_BYTES, Connection, stream_body


class Bytes:
    """Receiver of all bytes of a body."""

    has_failed = False

    def __init__(self) -> None:
        self.data = b""

    def feed(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        pass


def test_silent_client_is_waited_for() -> None:
    """A conversation is resumed when bytes have arrived, and not before: it would spin."""
    ours, client = socket.socketpair()
    with ours, client:
        connection, receiver = Connection(ours, "", ""), Bytes()
        request: Any = SimpleNamespace(body=SimpleNamespace(reader=SimpleNamespace(length=4)))
        unreader = SimpleNamespace(take_buffered=io.BytesIO().read)
        conversation = stream_body(connection, request, unreader, receiver)

        wait = next(conversation)
        assert not wait.is_enough()
        client.sendall(b"ab")
        assert connection.receive()
        assert wait.is_enough()
        assert not next(conversation).is_enough()

        client.sendall(b"cd")
        assert list(conversation) == []
    assert receiver.data == b"abcd"


def test_client_that_has_sent_all_is_not_waited_for() -> None:
    """A large body whose last bytes are there is complete: its client sends nothing more."""
    ours, client = socket.socketpair()
    with ours, client:
        connection, receiver = Connection(ours, "", ""), Bytes()
        body = bytes(_SENT_BYTES) + b"end"
        request: Any = SimpleNamespace(
            body=SimpleNamespace(reader=SimpleNamespace(length=len(body)))
        )
        unreader = SimpleNamespace(take_buffered=io.BytesIO(body[:-3]).read)
        conversation = stream_body(connection, request, unreader, receiver)
        client.sendall(body[-3:])
        for wait in conversation:
            assert connection.receive()
            assert wait.is_enough()
    assert receiver.data == body
