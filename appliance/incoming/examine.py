"""Files examined in other processes, so that none can stop whoever asks.

A process that is killed, or silent for too long, is replaced, and the file that it was at is
rejected with the reason; every other file is examined all the same.
"""

import contextlib
import errno
import logging
import os
import re
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from appliance.errors import PyindexError, Rejected
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.outcomes import Accepted, MetadataRead, Outcome, Pending
from appliance.incoming.processes import Chunk, ExaminerProcess, idle_or_new, keep, name_of_end
from appliance.incoming.protocol import (
    Answer,
    Limits,
    NonsenseError,
    Work,
    decode,
    rejection,
)
from appliance.index.model import Code, File, Rejection

log = logging.getLogger(__name__)

LIMITS = Limits()
KeepMetadata = Callable[[File, bytes | None], None]
"""What is to be done with the core metadata of a file that was examined, ``None`` if it has none.
It is not handed on with the outcome: those that wait for an earlier one would fill the memory."""

# Less than this is examined by one process sooner than others would have started.
_FEW_FILES = 64
_FEW_BYTES = 64 * 1024 * 1024
_CHUNK_FILES = 50
_CHUNK_BYTES = 16 * 1024 * 1024
_CHUNKS_AHEAD = 40
_HEARTBEAT_SECONDS = 0.5
_STARTS = 3
_RETRY_ADVICE = (
    "free some memory if the system is short of it; retried at the next start, when the file is"
    " touched, and periodically"
)
_ERROR = re.compile(r"\s*([\w.]+Error: .*)")


@contextlib.contextmanager
def examine_all(
    directory: PackagesDirectory,
    entries: Sequence[Entry],
    keep_metadata: KeepMetadata,
    limits: Limits = LIMITS,
) -> Iterator[Iterator[Outcome | Pending]]:
    """The outcome for each of ``entries`` of a packages directory, in their order; and
    :class:`Pending` now and then while one takes long.

    ``keep_metadata`` is called for each file before its outcome is there; what it raises is raised.
    Raises :class:`PyindexError` if no process can be started.
    """
    run = _Run(directory, entries, keep_metadata, limits)
    try:
        yield (each for each in run.outcomes() if not isinstance(each, MetadataRead))
    finally:
        run.close()


def read_metadata(directory: PackagesDirectory, path: str, limits: Limits = LIMITS) -> bytes | None:
    """The core metadata inside the package file at ``path``, byte for byte; ``None`` if it has
    none. Raises :class:`Rejected` or ``OSError`` if it cannot be read."""
    entry = directory.entry(path)
    if entry is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    run = _Run(directory, [entry], None, limits)
    try:
        for outcome in run.outcomes():
            if isinstance(outcome, Rejection):
                raise Rejected(outcome.reason)
            if isinstance(outcome, MetadataRead):
                return outcome.metadata
    finally:
        run.close()
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


class _Run:
    """One call of :func:`examine_all`."""

    def __init__(
        self,
        directory: PackagesDirectory,
        entries: Sequence[Entry],
        keep_metadata: KeepMetadata | None,
        limits: Limits,
    ) -> None:
        self._directory, self._limits = directory, limits
        self._keep_metadata = keep_metadata  # without it nothing else is asked for
        few = len(entries) < _FEW_FILES and sum(entry.size for entry in entries) < _FEW_BYTES
        self._wanted = 1 if few else os.cpu_count() or 1
        self._chunks = _chunks(entries, 1 if few else _CHUNK_FILES)
        self._ordered: deque[Chunk] = deque()
        self._backlog: deque[Chunk] = deque()
        self._processes: list[ExaminerProcess] = []
        self._failures = 0

    def outcomes(self) -> Iterator[Outcome | MetadataRead | Pending]:
        """Outcomes in order, a bounded number of chunks at work or waiting."""
        self._assign()
        while self._ordered:
            while self._ordered[0].unanswered:
                if not self._advance(_HEARTBEAT_SECONDS):
                    yield Pending()

            chunk = self._ordered.popleft()
            self._assign()
            yield from (chunk.outcomes[number] for number in range(len(chunk.entries)))

    def close(self) -> None:
        """Keep a process for the next call; end the others, whatever they do."""
        for process in self._processes:
            if process.chunks or not keep(process):
                process.kill()
        self._processes.clear()

    # --- giving work ---------------------------------------------------------------------------

    def _assign(self) -> None:
        """Give the processes as much as they can take, and start those that are lacking."""
        while len(self._ordered) < _CHUNKS_AHEAD and (chunk := next(self._chunks, None)):
            self._ordered.append(chunk)
            self._backlog.append(chunk)

        while self._backlog:
            process = min(self._processes, key=lambda each: len(each.chunks), default=None)
            if process is None or (process.chunks and len(self._processes) < self._wanted):
                process = idle_or_new()
                self._processes.append(process)
            elif process.is_full(_CHUNKS_AHEAD // self._wanted or 1):
                return
            chunk = self._backlog.popleft()
            process.give(chunk, self._work(chunk))

    def _work(self, chunk: Chunk) -> Work:
        entries = [chunk.entries[number] for number in chunk.unanswered]
        root = str(self._directory.root)
        return Work(root, entries, self._limits, metadata_only=self._keep_metadata is None)

    # --- taking answers ------------------------------------------------------------------------

    def _advance(self, seconds: float) -> bool:
        """Wait for answers that long at most; returns whether there were any."""
        is_answered = False
        for process in self._ready(seconds):
            lines, is_alive = process.exchange()
            for line in lines:
                is_answered = True
                is_alive = self._take(process, line) and is_alive
            if not is_alive:
                self._discard(process)

        for process in list(self._processes):
            self._check_silence(process)
        self._assign()
        return is_answered

    def _ready(self, seconds: float) -> set[ExaminerProcess]:
        """The processes that something can be read from or written to, waiting for the first."""
        poll = select.poll()
        processes: dict[int, ExaminerProcess] = {}
        for process in self._processes:
            for descriptor, event in process.events():
                poll.register(descriptor, event)
                processes[descriptor] = process
        return {processes[descriptor] for descriptor, _ in poll.poll(seconds * 1000)}

    def _take(self, process: ExaminerProcess, line: bytes) -> bool:
        """Note the answer of a process for the file that is next; ``False`` if it makes no sense,
        or nothing was asked."""
        if not process.chunks:
            return False
        chunk = process.chunks[0]
        number = chunk.unanswered[0]
        entry = chunk.entries[number]
        try:
            answer = decode(line, entry)
        except NonsenseError as error:
            log.error("%s: %s", entry.path, error)
            return False

        self._tell(entry, answer)
        if self._keep_metadata is not None and isinstance(answer.outcome, Accepted):
            self._keep_metadata(answer.outcome.file, answer.metadata)
        chunk.outcomes[number] = answer.outcome
        chunk.unanswered.pop(0)
        if not chunk.unanswered:
            process.chunks.popleft()
        process.answered += 1
        self._failures = 0
        return True

    def _tell(self, entry: Entry, answer: Answer) -> None:
        path = self._directory.root / entry.path
        for note in answer.notes:
            log.warning("%s: %s", path, note)
        if answer.trace is not None and isinstance(answer.outcome, Rejection):
            log.error("%s: %s\n%s", path, answer.outcome.reason, answer.trace)

    # --- processes that do not answer ----------------------------------------------------------

    def _check_silence(self, process: ExaminerProcess) -> None:
        """Kill a process that is at one file for too long without using its CPU seconds up: the
        disk does not answer, which may pass."""
        if not process.chunks:
            return
        chunk, number = process.current()
        size = chunk.entries[chunk.unanswered[0] if number is None else number].size
        allowed = self._limits.wait(size)
        if time.monotonic() - process.heard_at > allowed:
            process.kill()
            if number is not None:
                reason = f"examination takes more than {allowed:.0f} s: the disk may not respond"
                self._reject(chunk, number, Code.STALLED, reason, retry=True)
            self._replace(process, is_blameless=number is not None)

    def _discard(self, process: ExaminerProcess) -> None:
        """Find out of what a process died, and whether the file that it was at is to blame."""
        chunk, number = process.current() if process.chunks else (None, None)
        returncode = process.kill()
        if chunk is not None and number is not None:
            self._blame(chunk, number, returncode)
            if process.last_words:
                log.error("the examiner wrote to standard error:\n%s", process.last_words)
        self._replace(process, is_blameless=number is not None)

    def _blame(self, chunk: Chunk, number: int, returncode: int | None) -> None:
        """Reject the file at which a process died, if that was the file's fault or not the first
        time."""
        if returncode == -signal.SIGXCPU:
            seconds = self._limits.cpu(chunk.entries[number].size)
            reason = f"examination takes more than {seconds} s of CPU"
            self._reject(chunk, number, Code.COSTLY, reason)
        elif number in chunk.killed:
            # Perhaps by the system, since memory was short; perhaps for what is in the file.
            how = name_of_end(returncode)
            reason = f"examiner killed twice ({how}); {_RETRY_ADVICE}"
            self._reject(chunk, number, Code.KILLED, reason, retry=True)
        else:
            chunk.killed.add(number)

    def _reject(
        self, chunk: Chunk, number: int, code: Code, reason: str, retry: bool = False
    ) -> None:
        chunk.outcomes[number] = rejection(chunk.entries[number], code, reason, retry)
        chunk.unanswered.remove(number)

    def _replace(self, process: ExaminerProcess, is_blameless: bool) -> None:
        """Let another process do what is left of the work of one that is gone."""
        self._processes.remove(process)
        self._backlog.extendleft(chunk for chunk in reversed(process.chunks) if chunk.unanswered)
        process.chunks.clear()
        self._failures = 0 if is_blameless else self._failures + 1
        if self._failures == _STARTS:
            raise PyindexError(
                f"examiner process: {sys.executable} does not start:"
                f" {_errors(process.last_words) or 'no error output, perhaps out of memory'}"
            )


def _chunks(entries: Sequence[Entry], most: int) -> Iterator[Chunk]:
    """Portions of work, of many small files or of one large."""
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        chunk.append(entry)
        size += entry.size
        if len(chunk) >= most or size >= _CHUNK_BYTES:
            yield Chunk(chunk, size, unanswered=list(range(len(chunk))))
            chunk, size = [], 0
    if chunk:
        yield Chunk(chunk, size, unanswered=list(range(len(chunk))))


def _errors(words: str) -> str:
    """The first and the last error of what an interpreter wrote before its end, on one line."""
    errors = _ERROR.findall(words) or words.split("\n")[-1:]
    return "; ".join(dict.fromkeys([errors[0], errors[-1]]))
