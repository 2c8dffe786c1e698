"""Child processes that examine files: starting them, exchanging work and answers, killing them.

One idle process is kept for the next file. The system limits their CPU time and memory, see
:mod:`appliance.incoming.examiner`. No function here waits for a process without a limit.
"""

import atexit
import contextlib
import fcntl
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.incoming.entries import Entry
from appliance.incoming.outcomes import MetadataRead, Outcome
from appliance.incoming.protocol import MAX_ANSWER, Work

# Work that may wait in one process, so that it is busy while answers of others are used.
_AHEAD_BYTES = 64 * 1024 * 1024
_PIPE_BYTES = 1024 * 1024
# A process under the control of a hostile file may write without end: reading from it is limited.
_READS = 2 * MAX_ANSWER // _PIPE_BYTES
_KILL_SECONDS = 1.0


@dataclass(slots=True)
class Chunk:
    """Portion of work, of ``size`` bytes.

    Attributes:
        unanswered: The numbers of the ``entries`` that have no outcome yet.
        killed: The numbers of those that a process was examining when it was killed.
    """

    entries: list[Entry]
    size: int
    outcomes: dict[int, Outcome | MetadataRead] = field(default_factory=dict)
    unanswered: list[int] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)


class ExaminerProcess:
    """Process that examines files.

    Attributes:
        chunks: The work that it has not answered yet.
        answered: The number of files that it has answered for.
        last_event: The time of its last answer or progress, by the monotonic clock.
        errors: Its output on standard error when it was killed; the reason if it could not start.
    """

    def __init__(self) -> None:
        self._progress, progress = os.pipe()
        try:
            self._process = _start(progress)
        except BaseException:
            os.close(self._progress)
            raise
        finally:
            os.close(progress)

        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._stderr = self._process.stderr
        for descriptor in (self._stdin, self._stdout, self._stderr, self._progress):
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            os.set_blocking(number, False)
        with contextlib.suppress(OSError):  # more than an ordinary user may have
            fcntl.fcntl(self._stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

        self.chunks: deque[Chunk] = deque()
        self.answered = self._begun = 0
        self.last_event = 0.0
        self.errors = ""
        self._outgoing = b""
        self._incoming = b""
        _all.add(self)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_closed(self) -> bool:
        """Whether its pipes are closed, perhaps by the garbage collector before it was kept."""
        return self._stdin.closed

    def is_full(self, limit: int) -> bool:
        """Return whether it has ``limit`` chunks, or enough bytes to be busy for some time."""
        size = sum(chunk.size for chunk in self.chunks)
        return len(self.chunks) >= limit or (len(self.chunks) >= 2 and size > _AHEAD_BYTES)

    def assign(self, chunk: Chunk, work: Work) -> None:
        """Send ``work`` to the process: the unanswered entries of ``chunk``."""
        if not self.chunks:
            self.last_event = time.monotonic()
        self.chunks.append(chunk)
        self._outgoing += pickle.dumps(work)
        self._write()

    def events(self) -> Iterator[tuple[int, int]]:
        """Yield the descriptors to poll, each with its events."""
        yield self._stdout.fileno(), select.POLLIN
        if self._outgoing:
            yield self._stdin.fileno(), select.POLLOUT

    def exchange(self) -> tuple[list[bytes], bool]:
        """Read and write without waiting; return answers, and whether the process is alive."""
        self._write()
        is_alive = True
        for _ in range(_READS):
            try:
                data = os.read(self._stdout.fileno(), _PIPE_BYTES)
            except BlockingIOError:
                break
            if not data:
                is_alive = False
                break
            self._incoming += data
            if len(data) < _PIPE_BYTES // 2 and data.endswith(b"\n"):
                break

        *lines, self._incoming = self._incoming.split(b"\n")
        if lines:
            self.last_event = time.monotonic()
        return lines, is_alive and len(self._incoming) <= MAX_ANSWER

    def current(self) -> tuple[Chunk, int | None]:
        """Return the chunk that the process is working on, and the number of the entry in it;
        ``None`` if it has not begun with one."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._progress, 4096):
                self._begun += len(data)
                self.last_event = time.monotonic()
        chunk = self.chunks[0]
        begun = self._begun - self.answered
        return chunk, chunk.unanswered[begun - 1] if 0 < begun <= len(chunk.unanswered) else None

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._outgoing:
                self._outgoing = self._outgoing[os.write(self._stdin.fileno(), self._outgoing) :]

    def kill(self) -> int | None:
        """Kill the process; return its exit status, or ``None`` if it does not end."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # its disk does not respond
            self._process.wait(_KILL_SECONDS)
        if not self.is_closed:
            with contextlib.suppress(OSError):  # it has written nothing, or cannot be read
                output = os.read(self._stderr.fileno(), 65_536)
                self.errors = output.decode(errors="replace").strip()
        self.close()
        return self._process.returncode

    def close(self) -> None:
        """Close the pipes, which ends the process."""
        _all.discard(self)
        for stream in (self._stdin, self._stdout, self._stderr):
            with contextlib.suppress(OSError):
                stream.close()
        if self._progress >= 0:
            os.close(self._progress)
            self._progress = -1


_PROGRAM = "import sys; from appliance.incoming.examiner import main; main(int(sys.argv[1]))"


def _start(progress: int) -> "subprocess.Popen[bytes]":
    # Nothing is imported from the working directory or the packages directory: neither by the
    # interpreter's -m or -c, nor by a relative PYTHONPATH.
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, str(progress)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd="/",
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        pass_fds=[progress],
        process_group=0,
    )


def describe_exit(returncode: int | None) -> str:
    """Return the name of the signal that killed a process, or its exit status."""
    if returncode is None or returncode >= 0:
        return f"exit {returncode}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-returncode).name
    return f"signal {-returncode}"


# --- the idle process ----------------------------------------------------------------------------

# A new file need not wait until a process has started.
_idle: list[ExaminerProcess] = []
_all: "weakref.WeakSet[ExaminerProcess]" = weakref.WeakSet()
_lock = threading.Lock()


def idle_or_new() -> ExaminerProcess:
    """Return a process without work."""
    return _take_idle() or ExaminerProcess()


def prepare() -> None:
    """Start a process that waits for work, so that it is ready when there is some."""
    process = idle_or_new()
    if not keep(process):
        process.kill()


def keep(process: ExaminerProcess) -> bool:
    """Keep a process without work for :func:`idle_or_new`; return ``False`` if there is one."""
    with _lock:
        if not _idle:
            _idle.append(process)
            return True
    return False


def close_idle() -> None:
    """Kill the idle process."""
    while (process := _take_idle()) is not None:
        process.kill()


def _take_idle() -> ExaminerProcess | None:
    with _lock:
        process = _idle.pop() if _idle else None
    if process is not None and process.is_closed:
        process.kill()
        return None
    return process


def _close_in_fork() -> None:
    """Close all processes in a fork: it would keep the pipes of its parent open."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()
    for process in list(_all):
        process.close()


os.register_at_fork(after_in_child=_close_in_fork)
atexit.register(close_idle)
