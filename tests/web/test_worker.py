"""The gunicorn worker class; slow clients are in tests/attacks, stops in tests/test_serve.py."""

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from gunicorn.config import Config

from appliance import spec
from appliance.web.worker import Worker
from tests.attacks.sites import embedded
from tests.conftest import eventually
from tests.nginx.servers import PATIENCE, Server, application
from tests.nginx.sites import LARGE, PAGE, WHEEL, make_spec


def test_worker_refuses_tls() -> None:
    """The worker refuses a configuration with TLS instead of serving plain HTTP."""
    config = Config()
    config.set("certfile", "/x/cert.pem")
    with pytest.raises(RuntimeError, match="does not support TLS; put nginx in front"):
        Worker.check_config(config, logging.getLogger())


# (the order in which workers end, the one that replaces each included)
ENDS = [(), (0,), (1,), (1, 2), (0, 1, 2), (1, 0)]


@pytest.mark.parametrize("ends", ENDS)
def test_replaced_worker_has_a_cpu(ends: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """However workers end and are replaced, each CPU has one of them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5})

    def started(age: int) -> Worker:
        return Worker(age, 17, [], None, 30.0, Config(), logging.getLogger())

    workers = {age: started(age) for age in range(2)}
    for number, end in enumerate(ends):
        workers.pop(end).tmp.close()
        workers[2 + number] = started(2 + number)
        assert {worker.cpu for worker in workers.values()} == {3, 5}
    assert {worker.cpu for worker in workers.values()} == {3, 5}


@pytest.mark.integration
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_each_worker_has_a_cpu(tmp_path: Path) -> None:
    """Two workers use one CPU each, not the same one."""

    def used() -> list[set[int]]:
        booted = re.findall(r"Booting worker with pid: (\d+)", (tmp_path / "log").read_text())
        return [os.sched_getaffinity(int(pid)) for pid in booted]

    with embedded(tmp_path):
        eventually(lambda: [len(cpus) for cpus in used()] == [1, 1])
        first, second = used()
    assert first != second


@pytest.mark.integration
@pytest.mark.parametrize("limit", [40, 64, 300])
def test_idle_clients_do_not_block_files(tmp_path: Path, limit: int) -> None:
    """The worker closes the connections that are idle longest, so files and pages can be opened."""
    before = ["prlimit", f"--nofile={limit}:{limit}"]
    with embedded(tmp_path, before) as server, ExitStack() as stack:
        for number in range(2 * limit):
            client = socket.create_connection((server.address, server.port), PATIENCE)
            stack.callback(client.close)
            if number % 2:
                client.sendall(f"GET {PAGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for path in [PAGE, WHEEL, "/pypi/foo-bar/json", "/simple/", LARGE] * 5:
            assert server.ask(path).status == 200


@contextmanager
def alone(directory: Path) -> Iterator[Server]:
    """Run the application under gunicorn with its entry point, without nginx."""
    path = make_spec(directory)
    port = spec.load(path).server.port
    with application(path, port):
        yield Server(port)


@pytest.mark.integration
@pytest.mark.parametrize("way", [embedded, alone])
def test_worker_ignores_headers_of_proxies(
    tmp_path: Path, way: Callable[[Path], AbstractContextManager[Server]]
) -> None:
    """The worker ignores SCRIPT_NAME and PATH_INFO in the headers of a client."""
    with way(tmp_path) as server:
        page = server.ask(PAGE)
        for name in ("SCRIPT_NAME", "PATH_INFO"):
            for value in ("/x", "/simple", "", "/"):
                answer = server.ask(PAGE, headers={name: value})
                assert (answer.status, answer.body) == (200, page.body)


@pytest.mark.integration
def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    """The worker answers pipelined requests in order, however they are split (RFC 9112, 9.3)."""
    call = b"<methodCall><methodName>changelog_last_serial</methodName></methodCall>"
    post = (
        f"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(call)}"
    )
    requests = b"".join(
        (
            f"GET {PAGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
            f"{post}\r\n\r\n".encode() + call,
            f"GET {LARGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
            f"POST {PAGE} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello".encode(),
            b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n",
            f"{post}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n".encode() + call,
        )
    )
    with embedded(tmp_path) as server:
        for size in (len(requests), 1, 7, 100):
            answer = b""
            with socket.create_connection((server.address, server.port), PATIENCE) as client:
                for start in range(0, len(requests), size):
                    client.sendall(requests[start : start + size])
                while more := client.recv(1 << 20):
                    answer += more
            statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
            assert [code for code in statuses if code != b"100"] == [
                *(b"200", b"200", b"200", b"405", b"200", b"200")
            ]
            assert answer.count(b"<methodResponse>") == 2
