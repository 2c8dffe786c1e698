"""Files of a folder looked at in other processes, so that no file can stop the one that asks.

What a process (:mod:`appliance.incoming.examiner`) may take of CPU and memory is limited by the
system, how long it may be silent by us. One that is killed is replaced, and the file that it was
at is refused with the reason. Nothing here waits for such a process without an end.
"""

import atexit
import base64
import contextlib
import errno
import fcntl
import json
import logging
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.atomic import sync
from appliance.errors import PyindexError, Refused
from appliance.incoming.directory import Entry, Folder
from appliance.incoming.examiner import Limits, Work
from appliance.index.model import File, Refusal
from appliance.site.tree import Site

log = logging.getLogger(__name__)

Examined = File | Refusal | str | None

LIMITS = Limits()
# Less than this is looked at by one process sooner than others would have started.
_FEW_FILES = 64
_FEW_BYTES = 64 * 1024 * 1024
_CHUNK_FILES = 50
_CHUNK_BYTES = 16 * 1024 * 1024
_CHUNKS_AHEAD = 40
# What may wait in one process, so that it has work while the results of others are used.
_AHEAD_BYTES = 64 * 1024 * 1024
_PIPE_BYTES = 1024 * 1024
_HEARTBEAT_SECONDS = 0.5
_DEATH_SECONDS = 1.0
_STARTS = 3
KILLED = -2
"""The inode in a refusal of a file at which processes were killed: such a one is looked at again
when a watcher starts, and after that with growing pauses."""
_LATER = (
    "if memory is short, free some; it is tried again at the next start, when the file is touched,"
    " and now and then"
)
_LATEST = 253_402_300_799_000_000  # microseconds: the end of the year 9999
_ERROR = re.compile(r"\s*([\w.]+Error: .*)")


@contextlib.contextmanager
def examine_all(
    folder: Folder, site: Site, index: str, entries: list[Entry], limits: Limits = LIMITS
) -> Iterator[Iterator[Examined]]:
    """What there is at each of ``entries``, in their order: the file; or the refusal; or its path
    if somebody is writing to it; or ``None`` if it is gone.

    Also ``None`` now and then while a result takes long, so that who waits can do something else,
    or stop. The ``.metadata`` files are durable when their files are told. Raises ``OSError`` if
    the state cannot be written, :class:`PyindexError` if no process can be started.
    """
    run = _Run(folder, site, index, entries, limits)
    try:
        yield run.results()
    finally:
        run.close()


def read_metadata(
    folder: Folder, site: Site, index: str, path: str, limits: Limits = LIMITS
) -> bytes | None:
    """The core metadata inside the package file at ``path``, byte for byte; ``None`` if it has
    none. Raises :class:`Refused` or ``OSError`` if it cannot be read."""
    entry = folder.entry(path)
    if entry is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    run = _Run(folder, site, index, [entry], limits, metadata_only=True)
    try:
        for each in run.results():
            if isinstance(each, Refusal):
                raise Refused(each.reason)
    finally:
        run.close()
    return run.metadata


@dataclass(slots=True)
class _Chunk:
    """A portion of work, of ``size`` bytes. ``left`` are the places in ``entries`` without a
    result, ``killed`` those at which a process was when it was killed once."""

    entries: list[Entry]
    size: int
    results: dict[int, Examined] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)


class _Run:
    """One call of :func:`examine_all`."""

    metadata: bytes | None = None

    def __init__(
        self,
        folder: Folder,
        site: Site,
        index: str,
        entries: list[Entry],
        limits: Limits,
        metadata_only: bool = False,
    ) -> None:
        self._folder, self._site, self._index, self._limits = folder, site, index, limits
        few = len(entries) < _FEW_FILES and sum(entry.size for entry in entries) < _FEW_BYTES
        self._durable, self._metadata_only = few, metadata_only
        self._wanted = 1 if few else os.cpu_count() or 1
        self._chunks = _chunks(entries, 1 if few else _CHUNK_FILES)
        self._ordered: deque[_Chunk] = deque()
        self._backlog: deque[_Chunk] = deque()
        self._children: list[_Child] = []
        self._failures = 0

    def results(self) -> Iterator[Examined]:
        """Results in order, a bounded number of chunks at work or waiting."""
        self._assign()
        while self._ordered:
            while self._ordered[0].left:
                if not self._advance(_HEARTBEAT_SECONDS):
                    yield None
            done = []
            while self._ordered and not self._ordered[0].left:
                done.append(self._ordered.popleft())
            self._assign()
            if not self._durable:
                sync(self._site.www)
            for chunk in done:
                for place in range(len(chunk.entries)):
                    yield chunk.results[place]

    def close(self) -> None:
        """Keep a process for the next call; end the others, whatever they do."""
        for child in self._children:
            if child.chunks or not _keep(child):
                child.kill()
        self._children.clear()

    # --- giving work ---------------------------------------------------------------------------

    def _assign(self) -> None:
        while len(self._ordered) < _CHUNKS_AHEAD and (chunk := next(self._chunks, None)):
            self._ordered.append(chunk)
            self._backlog.append(chunk)
        while self._backlog:
            child = min(self._children, key=lambda child: len(child.chunks), default=None)
            if child is None or (child.chunks and len(self._children) < self._wanted):
                child = _idle_child() or _Child()
                self._children.append(child)
            elif child.is_full(_CHUNKS_AHEAD // self._wanted or 1):
                return
            chunk = self._backlog.popleft()
            child.give(chunk, self._work([chunk.entries[place] for place in chunk.left]))

    def _work(self, entries: list[Entry]) -> Work:
        return Work(
            self._folder,
            self._site,
            self._index,
            entries,
            self._durable,
            self._limits,
            self._metadata_only,
        )

    # --- taking results ------------------------------------------------------------------------

    def _advance(self, seconds: float) -> bool:
        """Wait for results that long at most; returns whether there were any."""
        poll = select.poll()
        children: dict[int, _Child] = {}
        for child in self._children:
            for descriptor, event in child.events():
                poll.register(descriptor, event)
                children[descriptor] = child
        ready = poll.poll(seconds * 1000)
        heard = False
        for child in {children[descriptor] for descriptor, _ in ready}:
            lines, alive = child.exchange()
            for line in lines:
                heard = True
                alive = self._take(child, line) and alive
            if not alive:
                self._bury(child)
        for child in list(self._children):
            self._check_silence(child)
        self._assign()
        return heard

    def _take(self, child: "_Child", line: bytes) -> bool:
        """Note the results of the chunk that a process has done; ``False`` if it makes no sense."""
        chunk = child.chunks[0]
        try:
            answer = json.loads(line)
            answers = answer.get("answers", ())
            examined = [
                self._examined(chunk.entries[place], each)
                for place, each in zip(chunk.left, answers, strict=not answer.get("error"))
            ]
        except (ValueError, TypeError, AttributeError, LookupError):
            return False
        if error := answer.get("error"):
            raise PyindexError(error) if isinstance(error, str) else OSError(*error)
        chunk.results.update(zip(chunk.left, examined, strict=True))
        child.told += len(chunk.left)
        child.chunks.popleft()
        chunk.left = []
        self._failures = 0
        return True

    def _examined(self, entry: Entry, answer: list[Any]) -> Examined:
        match answer:
            case ["file", facts, notes]:
                for note in notes:
                    log.warning("%s: %s: %s", self._index, entry.path, note)
                return _file(entry, facts)
            case ["refused", reason, passes, trace]:
                if trace is not None:
                    log.error("%s: %s: %s\n%s", self._index, entry.path, reason, trace)
                return _refusal(entry, reason, passes)
            case ["changing"]:
                return entry.path
            case ["metadata", str(text)]:
                self.metadata = base64.b64decode(text)
        return None

    # --- processes that do not answer ----------------------------------------------------------

    def _check_silence(self, child: "_Child") -> None:
        """Kill a process that is at one file for too long without using its CPU seconds up: the
        disk does not answer, which may pass."""
        if not child.chunks:
            return
        chunk, place = child.at()
        size = chunk.entries[chunk.left[0] if place is None else place].size
        allowed = self._limits.wait(size)
        if time.monotonic() - child.heard_at > allowed:
            child.kill()
            if place is not None:
                reason = f"examining it takes more than {allowed:.0f} s: does the disk answer?"
                self._refuse(chunk, place, reason, passes=True)
            self._replace(child, blameless=place is not None)

    def _bury(self, child: "_Child") -> None:
        """Find out of what a process died, and whether the file that it was at is to blame."""
        chunk, place = child.at() if child.chunks else (None, None)
        how = child.kill()
        if chunk is not None and place is not None:
            if how == -signal.SIGXCPU:
                seconds = self._limits.cpu(chunk.entries[place].size)
                reason = f"examining it takes more than {seconds} s of CPU"
                self._refuse(chunk, place, reason)
            elif place in chunk.killed:
                # Perhaps by the system, since memory was short; perhaps for what is in the file.
                reason = f"the process that examined it was killed twice ({_name(how)}): {_LATER}"
                chunk.results[place] = replace(
                    _refusal(chunk.entries[place], reason, passes=True), inode=KILLED
                )
                chunk.left.remove(place)
            else:
                chunk.killed.add(place)
            if child.last_words:
                log.error("the process that examines files said:\n%s", child.last_words)
        self._replace(child, blameless=place is not None)

    def _refuse(self, chunk: _Chunk, place: int, reason: str, passes: bool = False) -> None:
        chunk.results[place] = _refusal(chunk.entries[place], reason, passes)
        chunk.left.remove(place)

    def _replace(self, child: "_Child", blameless: bool) -> None:
        """Let another process do what is left of the work of one that is gone."""
        self._children.remove(child)
        self._backlog.extendleft(chunk for chunk in reversed(child.chunks) if chunk.left)
        child.chunks.clear()
        self._failures = 0 if blameless else self._failures + 1
        if self._failures == _STARTS:
            raise PyindexError(
                f"the process that examines files does not start ({sys.executable}):"
                f" {_why(child.last_words) or 'is there memory for it?'}"
            )


def _chunks(entries: list[Entry], most: int) -> Iterator[_Chunk]:
    """Portions of work, of many small files or of one large."""
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        chunk.append(entry)
        size += entry.size
        if len(chunk) >= most or size >= _CHUNK_BYTES:
            yield _Chunk(chunk, size, left=list(range(len(chunk))))
            chunk, size = [], 0
    if chunk:
        yield _Chunk(chunk, size, left=list(range(len(chunk))))


def _refusal(entry: Entry, reason: str, passes: bool) -> Refusal:
    """``passes`` says that it may be so no longer though the file does not change: it is looked at
    again whenever the folder is."""
    inode = -1 if passes else entry.inode
    return Refusal(entry.path, reason, entry.size, entry.mtime_ns, inode)


def _file(entry: Entry, facts: dict[str, Any]) -> File:
    return File(
        path=entry.path,
        mtime_ns=entry.mtime_ns,
        inode=entry.inode,
        upload_time=min(max(0, entry.mtime_ns // 1000), _LATEST),  # microseconds
        **facts,
    )


def _why(words: str) -> str:
    """The first and the last error of what an interpreter wrote before its end, on one line."""
    errors = _ERROR.findall(words) or words.split("\n")[-1:]
    return "; ".join(dict.fromkeys([errors[0], errors[-1]]))


def _name(how: int | None) -> str:
    if how is None or how >= 0:
        return f"exit {how}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-how).name
    return f"signal {-how}"


# --- processes -----------------------------------------------------------------------------------


class _Child:
    """A process that examines files. ``chunks`` are what it was given and has not told yet,
    ``told`` is how many files it has told, ``last_words`` what it had written on standard error
    when it was killed: if it could not start, why."""

    def __init__(self) -> None:
        self._progress, progress = os.pipe()
        try:
            # Nothing is imported from where the caller stands, or from the folder: not the
            # interpreter's -m or -c, not a relative PYTHONPATH.
            self._process = subprocess.Popen(
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
        for stream in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(stream.fileno(), False)
        os.set_blocking(self._progress, False)
        with contextlib.suppress(OSError):  # more than an ordinary user may have
            fcntl.fcntl(self._stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self.chunks: deque[_Chunk] = deque()
        self.told = self._begun = 0
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
        size = sum(chunk.size for chunk in self.chunks)
        return len(self.chunks) >= most or (len(self.chunks) >= 2 and size > _AHEAD_BYTES)

    def give(self, chunk: _Chunk, work: Work) -> None:
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
        alive = True
        while True:
            try:
                data = os.read(self._stdout.fileno(), _PIPE_BYTES)
            except BlockingIOError:
                break
            if not data:
                alive = False
                break
            self._incoming += data
            if len(data) < _PIPE_BYTES // 2 and data.endswith(b"\n"):
                break
        *lines, self._incoming = self._incoming.split(b"\n")
        if lines:
            self.heard_at = time.monotonic()
        return lines, alive

    def at(self) -> tuple[_Chunk, int | None]:
        """The chunk that the process is at, and the place in it; ``None`` if it has not begun."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._progress, 4096):
                self._begun += len(data)
                self.heard_at = time.monotonic()
        chunk = self.chunks[0]
        begun = self._begun - self.told
        return chunk, chunk.left[begun - 1] if 0 < begun <= len(chunk.left) else None

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

# One process is kept, so that a file that is dropped need not wait for the start of another.
_idle: list[_Child] = []
_all: "weakref.WeakSet[_Child]" = weakref.WeakSet()
_lock = threading.Lock()


def _idle_child() -> _Child | None:
    with _lock:
        child = _idle.pop() if _idle else None
    if child is not None and child.is_closed:
        child.kill()
        return None
    return child


def _keep(child: _Child) -> bool:
    with _lock:
        if not _idle:
            _idle.append(child)
            return True
    return False


def close_idle() -> None:
    """End the process that is kept."""
    while (child := _idle_child()) is not None:
        child.kill()


def _forget() -> None:
    """In a fork, which would hold the pipes of its parent's processes open, and answer for it."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()
    for child in list(_all):
        child.close()


os.register_at_fork(after_in_child=_forget)
atexit.register(close_idle)
