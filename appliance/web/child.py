"""Processes that the server keeps running: the watcher, and nginx."""

import ctypes
import logging
import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO

_LOG = logging.getLogger("pyindex")
_LONGEST_PAUSE_SECONDS = 60.0
_START_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


class Child:
    """A process: restarted, after a growing pause, whenever it ends.

    One that ``has_workers`` is told to end when this process has ended, and none of its workers
    outlives it. ``output`` is its standard output, if not that of this process.
    """

    def __init__(
        self, command: list[str], has_workers: bool = False, output: IO[bytes] | None = None
    ) -> None:
        self._command, self._has_workers, self._output = command, has_workers, output
        self._process: subprocess.Popen[bytes] | None = None
        self._pause = self._next_start = self._first_start = 0.0

    def keep(self) -> None:
        """Start the process if it does not run; call this every second or so."""
        now = time.monotonic()
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            self._kill()
            self._process = None
            has_run_long = now - self._next_start > _LONGEST_PAUSE_SECONDS
            self._pause = 0.0 if has_run_long else self._pause
            self._next_start = now + self._pause
            self._pause = min(self._pause * 2 + 1, _LONGEST_PAUSE_SECONDS)

        if now >= self._next_start:
            self._next_start = now
            self._first_start = self._first_start or now
            self._start()

    @property
    def has_failed_to_start(self) -> bool:
        """Whether it ended with an error soon after its first start."""
        ended = self._process is not None and (self._process.poll() or 0) > 0
        return ended and time.monotonic() - self._first_start < _START_SECONDS

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Tell the process to end, by a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Wait for the process to end; kill it after ``seconds``."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._kill()

    def _start(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._command,
                cwd="/",
                stdout=self._output,
                process_group=0 if self._has_workers else None,
                preexec_fn=_end_with_parent if self._has_workers else None,
            )
        except OSError as error:
            _LOG.error("cannot start %s: %s; trying again", self._command[0], error.strerror)

    def _kill(self) -> None:
        """Kill what is left of the process and its workers."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            if self._has_workers:
                os.killpg(self._process.pid, signal.SIGKILL)
            elif self._process.poll() is None:
                self._process.kill()


def _end_with_parent() -> None:
    """Have this process, and what it executes, end when its parent has ended: prctl(2)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
