"""``pyindex`` processes that are killed, or whose calls fail, at a chosen system call."""

import itertools
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60.0

# The calls that change what is on disk, and those that make it durable.
MUTATING = (
    "openat,write,pwrite64,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,ftruncate,fsync,fdatasync,syncfs"
)
READING = "openat,read,pread64,newfstatat,readlink,getdents64,flock"
_CALL = re.compile(r"(\d+) +(\w+)\((.*)")


@dataclass(frozen=True)
class Call:
    """The ``number``-th call of its name in a process, counted from 1."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"


@dataclass(frozen=True)
class Ended:
    """Result of a command: ``code`` as Popen.returncode, ``None`` if it hung and was killed."""

    argv: tuple[str, ...]
    code: int | None
    out: str
    err: str

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    def __str__(self) -> str:
        how = "hung" if self.code is None else f"ended with {self.code}"
        return f"pyindex {self.argv[0]} {how}: {self.err.strip()[-1500:]}"


class Commands:
    """Starts ``pyindex`` commands with their output in files of ``directory``; for one thread."""

    def __init__(self, server: "subprocess.Popen[str]", directory: Path) -> None:
        self._server, self._folder = server, directory
        self._numbers = itertools.count()

    def run(self, *argv: str | Path, strace: Sequence[str] | None = None) -> Ended:
        """Run a command to its end."""
        return self.start(*argv, strace=strace).wait()

    def start(self, *argv: str | Path, strace: Sequence[str] | None = None) -> "Running":
        number = next(self._numbers)
        out, err = (self._folder / f"{number}.{name}" for name in ("out", "err"))
        arguments = [str(each) for each in argv]
        request = {
            "do": "start",
            "argv": arguments,
            "out": str(out),
            "err": str(err),
            "strace": None if strace is None else list(strace),
        }
        return Running(self, self.ask(request), tuple(arguments), out, err)

    def ask(self, request: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        if not select.select([self._server.stdout], [], [], 2 * PATIENCE)[0]:
            self._server.kill()
            raise AssertionError(f"no answer to {request}")
        answer = json.loads(self._server.stdout.readline())
        if isinstance(answer, dict):
            raise AssertionError(answer["error"])
        return answer


@dataclass(frozen=True)
class Running:
    """Started command."""

    commands: Commands
    pid: int
    argv: tuple[str, ...]
    out: Path
    err: Path

    def wait(self, seconds: float = PATIENCE) -> Ended:
        code = self.commands.ask({"do": "wait", "pid": self.pid, "seconds": seconds})
        out, err = (each.read_text() if each.exists() else "" for each in (self.out, self.err))
        self.out.unlink(missing_ok=True)
        self.err.unlink(missing_ok=True)
        return Ended(self.argv, code, out, err)


@contextmanager
def forking(directory: Path) -> Iterator[Commands]:
    """Run the server for :class:`Commands` during the context."""
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.faults.forked"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as server:
        try:
            yield Commands(server, directory)
        finally:
            server.terminate()  # a fork may keep the server's standard input open


def attach(pids: Collection[int], options: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Attach strace to processes still running; raise OSError if it does not attach."""
    of = [word for pid in pids for word in ("-p", str(pid))]
    command = ["strace", *of, *options]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    output, until = b"", time.monotonic() + PATIENCE
    for pid in pids:
        while not re.search(rb"Process %d attached|PTRACE_SEIZE, %d\b" % (pid, pid), output):
            ready = select.select([tracer.stderr], [], [], max(until - time.monotonic(), 0))[0]
            more = os.read(tracer.stderr.fileno(), 4096) if ready else b""
            if not more:
                tracer.kill()
                detach(tracer)
                raise OSError(f"{command} did not attach to {pid}: {output.decode()}")
            output += more
    return tracer


def detach(tracer: "subprocess.Popen[bytes]") -> None:
    """End strace and so release the traced processes."""
    tracer.terminate()
    try:
        tracer.wait(10)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()
    assert tracer.stderr is not None
    tracer.stderr.close()


@contextmanager
def traced(pids: Collection[int], *options: str) -> Iterator[None]:
    """Trace these processes with strace during the context."""
    tracer = attach(pids, options)
    try:
        yield
    finally:
        detach(tracer)


def killing(call: Call) -> list[str]:
    """Return options of strace that kill the process, but not its children, before a call."""
    return [*_quiet(call.name), "-e", f"inject={call.name}:signal=KILL:when={call.number}"]


def failing(names: str, error: str, when: str) -> list[str]:
    """Return options of strace that let calls of the process and its children fail: ``when`` is N
    for the Nth call, N+ for all from the Nth on."""
    return ["-f", *_quiet(names), "-e", f"inject={names}:error={error}:when={when}"]


def _quiet(names: str) -> list[str]:
    return ["-o", "/dev/null", "-e", "signal=none", "-e", f"trace={names}"]


def tracing(names: str, trace: Path) -> list[str]:
    """Return options of strace that record calls for :func:`calls`."""
    return ["-f", "-y", "-s", "0", "-o", str(trace), "-e", "signal=none", "-e", f"trace={names}"]


def calls(trace: Path, below: Path, changing: bool) -> list[Call]:
    """Return the calls in a trace about files below a directory. With ``changing``, omit those of
    child processes and those that open files without creating them."""
    selected, counts, first = dict[Call, None](), dict[tuple[str, str], int](), ""
    for line in trace.read_text(errors="replace").splitlines():
        if not (match := _CALL.match(line)):
            continue
        pid, name, arguments = match.groups()
        first = first or pid
        counts[pid, name] = counts.get((pid, name), 0) + 1
        if changing and (pid != first or (name == "openat" and "O_CREAT" not in arguments)):
            continue
        if str(below) in arguments:
            selected[Call(name, counts[pid, name])] = None
    return list(selected)


def spread(candidates: Sequence[Call], count: int, seed: int) -> list[Call]:
    """Return at most ``count`` of the calls, one from each of as many equal sections."""
    if len(candidates) <= count:
        return list(candidates)
    dice, size = random.Random(seed), len(candidates) / count
    ranges = [(int(n * size), int((n + 1) * size)) for n in range(count)]
    return [candidates[dice.randrange(start, end)] for start, end in ranges]
