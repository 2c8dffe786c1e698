"""Hostile paths in requests: none leads out of the published files."""

import socket
from contextlib import suppress

import pytest

from tests.attacks.target import SECRET, Target
from tests.attacks.trees import WHEEL
from tests.nginx.servers import PATIENCE

pytestmark = pytest.mark.integration

_UP = ("..", "%2e%2e", "%2E.", ".%2e", "..%00", "%252e%252e", "..%5c", "%c0%ae%c0%ae", "..;", "...")
_TARGETS = ("outside/secret.txt", f"secret{WHEEL}", "own/state/catalog.sqlite")
_PREFIXES = ("packages", "simple", "main/packages", "-", "pypi")
PATHS = [
    *(f"/{prefix}/{'/'.join([up] * depth)}/{target}"
      for prefix in _PREFIXES for up in _UP for depth in (1, 4) for target in _TARGETS[:1]),
    *(f"/packages/{up}%2f{target}" for up in _UP for target in _TARGETS),
    *(f"/packages//{'/'.join(['..'] * depth)}{end}"
      for depth in range(1, 8) for end in ("/etc/passwd", "/proc/self/environ", "//etc/passwd")),
    "//etc/passwd", "/packages//etc/passwd", "/packages/%2fetc%2fpasswd", "/../../../etc/passwd",
    "/packages/./././old-1.0.tar.gz/../../../../outside/secret.txt", "/packages/%00", "/%00",
    "/packages/old-1.0-py2.py3-none-any.whl%00.metadata", "/packages/.tmp/", "/.layout", "/.tmp/",
    "/packages/" + "a/" * 3000, "/packages/" + "%2e%2e%2f" * 500, "/packages/" + "é" * 400,
    "/simple/../packages/../../own/state/catalog.sqlite", "/packages/..", "/packages/../",
    "/state/catalog.sqlite", "/catalog.sqlite", "/www/.layout", "/watch.lock", "/trash/",
    "/simple/%2e%2e/%2e%2e/own/serve.log", "/packages/old/%0d%0aX-Injected:%20yes",
    "/simple/old/index.html/../../../../outside/secret.txt", "/packages/*", "/simple/*/",
    "/?/../..",
    "http://evil.example/packages/../outside/secret.txt", "file:///etc/passwd", "*", "..", "",
]  # fmt: skip


def exchange(port: int, path: str) -> bytes:
    """Return all bytes that the server sends for a request with exactly this path."""
    answer = b""
    head = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(head.encode())
        with suppress(ConnectionError):
            while more := client.recv(1 << 16):
                answer += more
    return answer


def test_hostile_paths_reveal_nothing(attacked: Target) -> None:
    """The server answers hostile paths without outside content, new headers or errors."""
    wrong = []
    for path in PATHS:
        answer = exchange(attacked.server.port, path)
        head = answer.partition(b"\r\n\r\n")[0]
        status = int(head.split(b" ")[1]) if head.startswith(b"HTTP/") else 0
        leaks = [
            text for text in (SECRET, b"root:x:", b"SQLite format", b"PATH=") if text in answer
        ]
        if leaks or status >= 500 or b"\nX-Injected" in head:
            wrong.append((path[:200], status, leaks))
    assert wrong == []
    assert attacked.serves(attacked.packages / "old-0.9.tar.gz")
    assert "Traceback" not in attacked.log
