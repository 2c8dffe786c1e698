"""Fetching in a process that is killed, and its memory."""

import hashlib
import json
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.upstream.faulty import Behavior, Exchange, Faulty, whole

ROUNDS = 20
PIECE = 1 << 14
MIB = 1 << 20


def contents() -> dict[str, bytes]:
    generator = random.Random(8)
    sizes = [generator.randrange(1, 160 * PIECE) for _ in range(12)]
    return {f"foo-{n}.0.tar.gz": generator.randbytes(size) for n, size in enumerate(sizes)}


def rows(faulty: Faulty, files: dict[str, bytes]) -> str:
    return json.dumps(
        [
            (name, f"{faulty.url}/{name}", hashlib.sha256(content).hexdigest(), len(content))
            for name, content in files.items()
        ]
    )


def start(faulty: Faulty, files: dict[str, bytes], directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.upstream.fetcher", str(directory), rows(faulty, files)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


class Killer:
    """Kills a process when the server has sent so many bytes to it."""

    def __init__(self) -> None:
        self.rest = 0
        self.process: subprocess.Popen[str] | None = None

    def behavior(self, content: bytes) -> Behavior:
        good = whole(content)

        def behave(exchange: Exchange) -> None:
            send = exchange.send
            # Small, so that the process has received most of what was sent.
            exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)

            def send_pieces(content: bytes) -> None:
                for offset in range(0, len(content), PIECE):
                    piece = content[offset : offset + PIECE]
                    send(piece)
                    self.rest -= len(piece)
                    if self.process and self.rest <= 0:
                        self.process.kill()

            exchange.send = send_pieces  # type: ignore[method-assign]
            good(exchange)

        return behave


def tree(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.integration
def test_killed_runs_leave_what_a_last_run_completes(faulty: Faulty, tmp_path: Path) -> None:
    """After kills at random points a file with its final name is whole, and a last run gives the
    tree of a clean one."""
    files, killer, generator = contents(), Killer(), random.Random(7)
    faulty.behaviors |= {f"/{name}": killer.behavior(data) for name, data in files.items()}
    total = sum(map(len, files.values()))
    for _ in range(ROUNDS):
        killer.rest = generator.randrange(total // 3)
        killer.process = start(faulty, files, tmp_path)
        killer.process.communicate()
        complete = {name: data for name, data in tree(tmp_path).items() if name in files}
        assert complete.items() <= files.items()
        if complete == files:  # the next round starts with nothing
            for name in complete:
                (tmp_path / name).unlink()

    killer.process = None
    assert start(faulty, files, tmp_path).communicate()[0].split()[0] == str(len(files))
    assert tree(tmp_path) == files
    assert any("range" in request.headers for request in faulty.requests)


@pytest.mark.integration
def test_memory_is_independent_of_file_size(faulty: Faulty, tmp_path: Path) -> None:
    """A file of 200 MiB takes hardly more memory than one of 10 MiB."""
    used: list[int] = []
    for size in (10 * MIB, 200 * MIB):
        files = {"foo-1.0.tar.gz": bytes(size)}
        faulty.behaviors["/foo-1.0.tar.gz"] = whole(files["foo-1.0.tar.gz"])
        count, memory = start(faulty, files, tmp_path / str(size)).communicate()[0].split()
        assert count == "1"
        used.append(int(memory))
    assert used[1] - used[0] < 10 * 1024
