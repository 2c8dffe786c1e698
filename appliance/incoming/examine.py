"""Examination of files in other processes, so that no file can stop the caller.

A process that is killed, or silent for too long, is replaced, and the file that it was examining is
rejected with the reason. The other files are examined by its replacement.
"""

import contextlib
import errno
import json
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
from appliance.incoming.processes import Chunk, ExaminerProcess, describe_exit, idle_or_new, keep
from appliance.incoming.protocol import (
    Answer,
    InvalidAnswerError,
    Limits,
    Part,
    Work,
    decode,
    rejection,
)
from appliance.index.model import Code, File, Rejection

log = logging.getLogger(__name__)

LIMITS = Limits()
KeepMetadata = Callable[[File, bytes | None], None]
"""Function that stores the core metadata of an examined file, ``None`` if it has none. The metadata
is not part of the outcome: outcomes that wait for an earlier one would fill the memory."""
_KeepAnswer = Callable[[Entry, Answer], None]
_Earlier = Callable[[Entry], Answer | None]

# One process examines less than this before others would have started.
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
    earlier: _Earlier = lambda entry: None,
) -> Iterator[Iterator[Outcome | Pending]]:
    """Yield the outcomes for ``entries`` of a packages directory, in their order; and
    :class:`Pending` twice a second while one takes long.

    ``keep_metadata`` is called for each accepted file before its outcome is yielded, and may raise.
    ``earlier`` returns the answer of an earlier examination of a file, if there is one. Raises
    :class:`PyindexError` if no process can be started.
    """
    run = _Run(directory, entries, limits, keep_metadata=keep_metadata, earlier=earlier)
    try:
        outcomes = run.outcomes()
        yield (each for each in outcomes if not isinstance(each, MetadataRead))
    finally:
        run.close()


class Stopped(Exception):
    """Nobody waits for the answers any more."""


def examine_ahead(
    directory: PackagesDirectory,
    entries: Sequence[Entry],
    keep: _KeepAnswer,
    check: Callable[[], None],
) -> None:
    """Examine ``entries``, and call ``keep`` with the answer for each; nothing is logged. Raises
    :class:`PyindexError` if no process can be started. ``check`` is called twice a second while a
    file takes long; it and ``keep`` may raise :class:`Stopped`, which ends the examination."""
    run = _Run(directory, entries, LIMITS, keep_answer=keep)
    try:
        for _ in run.outcomes():
            check()
    except Stopped:
        pass
    finally:
        run.close()


def read_metadata(directory: PackagesDirectory, path: str, limits: Limits = LIMITS) -> bytes | None:
    """Return the core metadata in the package file at ``path``, byte for byte; ``None`` if it has
    none. Raises :class:`Rejected` or ``OSError`` if it cannot be read."""
    return _read_part(directory, path, Part.METADATA, limits)


def read_build_files(directory: PackagesDirectory, path: str) -> dict[str, str]:
    """Return the files of the sdist at ``path`` that say how it is built and what it requires, by
    their paths in it (:func:`appliance.incoming.archive.read_build_files`). Raises
    :class:`Rejected` or ``OSError`` if it cannot be read."""
    answer = json.loads(_read_part(directory, path, Part.BUILD, LIMITS) or b"{}")
    return {str(name): str(text) for name, text in answer.items()}


def _read_part(directory: PackagesDirectory, path: str, part: Part, limits: Limits) -> bytes | None:
    entry = directory.entry(path)
    if entry is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    run = _Run(directory, [entry], limits, part)
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
    """One call of a function above."""

    def __init__(
        self,
        directory: PackagesDirectory,
        entries: Sequence[Entry],
        limits: Limits,
        part: Part | None = None,
        keep_metadata: KeepMetadata | None = None,
        keep_answer: _KeepAnswer | None = None,
        earlier: _Earlier = lambda entry: None,
    ) -> None:
        self._directory, self._limits, self._part = directory, limits, part
        self._keep_metadata, self._keep_answer = keep_metadata, keep_answer
        self._earlier = earlier
        few = len(entries) < _FEW_FILES and sum(entry.size for entry in entries) < _FEW_BYTES
        self._process_count = 1 if few else os.cpu_count() or 1
        self._chunks = _chunks(entries, 1 if few else _CHUNK_FILES)
        self._ordered: deque[Chunk] = deque()
        self._backlog: deque[Chunk] = deque()
        self._processes: list[ExaminerProcess] = []
        self._failures = 0

    def outcomes(self) -> Iterator[Outcome | MetadataRead | Pending]:
        """Yield outcomes in order, with a bounded number of chunks in progress or waiting."""
        self._assign()
        while self._ordered:
            while self._ordered[0].unanswered:
                if not self._advance(_HEARTBEAT_SECONDS):
                    yield Pending()

            chunk = self._ordered.popleft()
            self._assign()
            yield from (chunk.outcomes[number] for number in range(len(chunk.entries)))

    def close(self) -> None:
        """Keep one idle process for the next call; kill the others."""
        for process in self._processes:
            if process.chunks or not keep(process):
                process.kill()
        self._processes.clear()

    # --- assigning work ------------------------------------------------------------------------

    def _assign(self) -> None:
        """Give work to the processes until all are full, and start missing ones."""
        while len(self._ordered) < _CHUNKS_AHEAD and (chunk := next(self._chunks, None)):
            self._ordered.append(chunk)
            for number in list(chunk.unanswered):
                if (answer := self._earlier(chunk.entries[number])) is not None:
                    self._record(chunk, number, answer)
            if chunk.unanswered:
                self._backlog.append(chunk)

        while self._backlog:
            process = min(self._processes, key=lambda each: len(each.chunks), default=None)
            if process is None or (process.chunks and len(self._processes) < self._process_count):
                process = idle_or_new()
                self._processes.append(process)
            elif process.is_full(_CHUNKS_AHEAD // self._process_count or 1):
                return

            chunk = self._backlog.popleft()
            process.assign(chunk, self._work(chunk))

    def _work(self, chunk: Chunk) -> Work:
        entries = [chunk.entries[number] for number in chunk.unanswered]
        root = str(self._directory.root)
        return Work(root, entries, self._limits, self._part)

    # --- reading answers -----------------------------------------------------------------------

    def _advance(self, seconds: float) -> bool:
        """Wait for answers up to ``seconds``; return whether there were any."""
        is_answered = False
        for process in self._ready(seconds):
            lines, is_alive = process.exchange()
            for line in lines:
                is_answered = True
                is_alive = self._record_answer(process, line) and is_alive
            if not is_alive:
                self._discard(process)

        for process in list(self._processes):
            self._check_silence(process)
        self._assign()
        return is_answered

    def _ready(self, seconds: float) -> set[ExaminerProcess]:
        """Wait for processes that can be read from or written to, and return them."""
        poll = select.poll()
        processes: dict[int, ExaminerProcess] = {}
        for process in self._processes:
            for descriptor, event in process.events():
                poll.register(descriptor, event)
                processes[descriptor] = process
        return {processes[descriptor] for descriptor, _ in poll.poll(seconds * 1000)}

    def _record_answer(self, process: ExaminerProcess, line: bytes) -> bool:
        """Record the answer of a process for its next file; return ``False`` if the answer is
        invalid, or the process has no work."""
        if not process.chunks:
            return False
        chunk = process.chunks[0]
        number = chunk.unanswered[0]
        entry = chunk.entries[number]

        try:
            answer = decode(line, entry)
        except InvalidAnswerError as error:
            log.error("%s: %s", entry.path, error)
            return False

        self._record(chunk, number, answer)
        if not chunk.unanswered:
            process.chunks.popleft()
        process.answered += 1
        self._failures = 0
        return True

    def _record(self, chunk: Chunk, number: int, answer: Answer) -> None:
        entry = chunk.entries[number]
        if self._keep_answer is not None:
            self._keep_answer(entry, answer)
        else:
            self._log_answer(entry, answer)
        if self._keep_metadata is not None and isinstance(answer.outcome, Accepted):
            self._keep_metadata(answer.outcome.file, answer.metadata)
        chunk.outcomes[number] = answer.outcome
        chunk.unanswered.remove(number)

    def _log_answer(self, entry: Entry, answer: Answer) -> None:
        path = self._directory.root / entry.path
        for note in answer.notes:
            log.warning("%s: %s", path, note)
        if answer.trace is not None and isinstance(answer.outcome, Rejection):
            log.error("%s: %s\n%s", path, answer.outcome.reason, answer.trace)

    # --- processes that do not answer ----------------------------------------------------------

    def _check_silence(self, process: ExaminerProcess) -> None:
        """Kill a process that examines one file for too long without reaching its limit of CPU
        time: its disk does not respond, which may be temporary."""
        if not process.chunks:
            return
        chunk, number = process.current()
        size = chunk.entries[chunk.unanswered[0] if number is None else number].size
        allowed = self._limits.wait(size)
        if time.monotonic() - process.last_event > allowed:
            process.kill()
            if number is not None:
                reason = f"examination takes more than {allowed:.0f} s: the disk may not respond"
                self._reject(chunk, number, Code.STALLED, reason, retry=True)
            self._replace(process, is_blameless=number is not None)

    def _discard(self, process: ExaminerProcess) -> None:
        """Kill and replace a process that failed, and reject the file that caused it."""
        chunk, number = process.current() if process.chunks else (None, None)
        returncode = process.kill()
        if chunk is not None and number is not None:
            self._blame(chunk, number, returncode)
            if process.errors:
                log.error("the examiner wrote to standard error:\n%s", process.errors)
        self._replace(process, is_blameless=number is not None)

    def _blame(self, chunk: Chunk, number: int, returncode: int | None) -> None:
        """Reject the file at which a process died, if the file used too much CPU time, or if it is
        the second process that died there."""
        if returncode == -signal.SIGXCPU:
            seconds = self._limits.cpu(chunk.entries[number].size)
            reason = f"examination takes more than {seconds} s of CPU"
            self._reject(chunk, number, Code.COSTLY, reason)
        elif number in chunk.killed:
            # Perhaps by the system, for lack of memory; perhaps because of the file.
            how = describe_exit(returncode)
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
        """Give the remaining work of a process that has ended to another."""
        self._processes.remove(process)
        self._backlog.extendleft(chunk for chunk in reversed(process.chunks) if chunk.unanswered)
        process.chunks.clear()
        self._failures = 0 if is_blameless else self._failures + 1
        if self._failures == _STARTS:
            raise PyindexError(
                f"examiner process: {sys.executable} does not start:"
                f" {_summary(process.errors) or 'no error output, perhaps out of memory'}"
            )


def _chunks(entries: Sequence[Entry], limit: int) -> Iterator[Chunk]:
    """Yield chunks of many small files, or of one large file."""
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        chunk.append(entry)
        size += entry.size
        if len(chunk) >= limit or size >= _CHUNK_BYTES:
            yield Chunk(chunk, size, unanswered=list(range(len(chunk))))
            chunk, size = [], 0
    if chunk:
        yield Chunk(chunk, size, unanswered=list(range(len(chunk))))


def _summary(output: str) -> str:
    """Return the first and the last error in the output of an interpreter, on one line."""
    errors = _ERROR.findall(output) or output.split("\n")[-1:]
    return "; ".join(dict.fromkeys([errors[0], errors[-1]]))
