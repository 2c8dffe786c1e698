"""Ports for servers that are started beside others."""

import os
import random
import socket
from contextlib import suppress

HOST = "127.0.0.1"

# Each of the processes that run tests side by side has a third of its own.
_THIRD = int(os.environ.get("PYTEST_XDIST_WORKER", "gw2").removeprefix("gw")) % 3
# Below the ports that Linux gives to outgoing connections (ip_local_port_range, from 32768 on):
# any of those may be somebody's own end before the server that it was meant for has started.
_OWN = range(16_000 + _THIRD, 32_000, 3)
_PORTS = iter(random.sample(_OWN, len(_OWN)))


def free_port() -> int:
    """Return a port that is free on every address; no two calls of a process return the same.

    Raises StopIteration when none is left.
    """
    while True:
        port = next(_PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
