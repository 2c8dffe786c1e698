"""Child processes that examine files: started, given work, heard, killed; one is kept for the next
file. What a process may take of CPU and memory is limited by the system, see
:mod:`appliance.incoming.examiner`. Nothing here waits for one without an end."""

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

# What may wait in one process, so that it has work while the answers of others are used.
_AHEAD_BYTES = 64 * 1024 * 1024
_PIPE_BYTES = 1024 * 1024
# One that a file has taken over may write faster than it is read: others have their turn, too.
_READS = 2 * MAX_ANSWER // _PIPE_BYTES
_DEATH_SECONDS = 1.0


@dataclass(slots=True)
class Chunk:
    """A portion of work, of ``size`` bytes. ``unanswered`` are the numbers of those ``entries``
    without an outcome, ``killed`` of those at which a process was when it was killed once."""

    entries: list[Entry]
    size: int
    outcomes: dict[int, Outcome | MetadataRead] = field(default_factory=dict)
    unanswered: list[int] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)


class ExaminerProcess:
    """A process that examines files.

    Attributes:
        chunks: What it was given and has not answered yet.
        answered: How many files it has answered for.
        heard_at: When it last gave a sign of life, by the monotonic clock.
        last_words: What it had written on standard error when it was killed: if it could not
            start, why.
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
        self.heard_at = 0.0
        self.last_words = ""
        self._outgoing = b""
        self._incoming = b""
        _all.add(self)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_closed(self) -> bool:
        """Whether its pipes are: by the collector, if it was garbage until it was kept."""
        return self._stdin.closed

    def is_full(self, most: int) -> bool:
        """Whether it has ``most`` chunks, or so many bytes that it needs no more for now."""
        size = sum(chunk.size for chunk in self.chunks)
        return len(self.chunks) >= most or (len(self.chunks) >= 2 and size > _AHEAD_BYTES)

    def give(self, chunk: Chunk, work: Work) -> None:
        """Let it do ``work``, which is what is unanswered of ``chunk``."""
        if not self.chunks:
            self.heard_at = time.monotonic()
        self.chunks.append(chunk)
        self._outgoing += pickle.dumps(work)
        self._write()

    def events(self) -> Iterator[tuple[int, int]]:
        """What to wait for: a descriptor, and the event of it."""
        yield self._stdout.fileno(), select.POLLIN
        if self._outgoing:
            yield self._stdin.fileno(), select.POLLOUT

    def exchange(self) -> tuple[list[bytes], bool]:
        """Read and write what is possible now: the answers, and whether the process lives."""
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
            self.heard_at = time.monotonic()
        return lines, is_alive and len(self._incoming) <= MAX_ANSWER

    def current(self) -> tuple[Chunk, int | None]:
        """The chunk that the process is at, and the number of the entry in it; ``None`` if it has
        not begun with one."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._progress, 4096):
                self._begun += len(data)
                self.heard_at = time.monotonic()
        chunk = self.chunks[0]
        begun = self._begun - self.answered
        return chunk, chunk.unanswered[begun - 1] if 0 < begun <= len(chunk.unanswered) else None

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._outgoing:
                self._outgoing = self._outgoing[os.write(self._stdin.fileno(), self._outgoing) :]

    def kill(self) -> int | None:
        """End it now, whatever it does; returns how it ended, if it did."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a disk that hangs holds it
            self._process.wait(_DEATH_SECONDS)
        if not self.is_closed:
            with contextlib.suppress(BlockingIOError):
                words = os.read(self._stderr.fileno(), 65_536)
                self.last_words = words.decode(errors="replace").strip()
        self.close()
        return self._process.returncode

    def close(self) -> None:
        """Let go of it: it ends when it sees that."""
        _all.discard(self)
        for stream in (self._stdin, self._stdout, self._stderr):
            with contextlib.suppress(OSError):
                stream.close()
        if self._progress >= 0:
            os.close(self._progress)
            self._progress = -1


_PROGRAM = "import sys; from appliance.incoming.examiner import main; main(int(sys.argv[1]))"


def _start(progress: int) -> "subprocess.Popen[bytes]":
    # Nothing is imported from where the caller stands, or from the packages directory: not the
    # interpreter's -m or -c, not a relative PYTHONPATH.
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


def name_of_end(returncode: int | None) -> str:
    """How a process ended: the name of the signal that killed it, or its status."""
    if returncode is None or returncode >= 0:
        return f"exit {returncode}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-returncode).name
    return f"signal {-returncode}"


# --- the one that is kept ------------------------------------------------------------------------

# So that a file that is dropped need not wait for the start of a process.
_idle: list[ExaminerProcess] = []
_all: "weakref.WeakSet[ExaminerProcess]" = weakref.WeakSet()
_lock = threading.Lock()


def idle_or_new() -> ExaminerProcess:
    """A process without work."""
    return _take_idle() or ExaminerProcess()


def keep(process: ExaminerProcess) -> bool:
    """Keep a process without work for :func:`idle_or_new`, unless there is one already."""
    with _lock:
        if not _idle:
            _idle.append(process)
            return True
    return False


def close_idle() -> None:
    """End the process that is kept."""
    while (process := _take_idle()) is not None:
        process.kill()


def _take_idle() -> ExaminerProcess | None:
    with _lock:
        process = _idle.pop() if _idle else None
    if process is not None and process.is_closed:
        process.kill()
        return None
    return process


def _forget() -> None:
    """In a fork, which would hold the pipes of its parent's processes open, and answer for it."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()
    for process in list(_all):
        process.close()


os.register_at_fork(after_in_child=_forget)
atexit.register(close_idle)
