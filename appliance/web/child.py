"""Processes that the server keeps running: the watcher, and nginx."""

import ctypes
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

_LONGEST_PAUSE_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


class Child:
    """A process: restarted, after a growing pause, whenever it ends.

    ``number`` is the signal that ends it. ``prepare`` is called in the new process, before
    ``command`` runs. ``output`` is its standard output, if not that of this process.
    """

    def __init__(
        self,
        command: list[str],
        number: int = signal.SIGTERM,
        prepare: Callable[[], None] | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self._command, self._signal, self._prepare = command, number, prepare
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._pause = self._next_start = 0.0

    def keep(self) -> None:
        """Start the process if it does not run; call this every second or so."""
        now = time.monotonic()
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            self._process = None
            has_run_long = now - self._next_start > _LONGEST_PAUSE_SECONDS
            self._pause = 0.0 if has_run_long else self._pause
            self._next_start = now + self._pause
            self._pause = min(self._pause * 2 + 1, _LONGEST_PAUSE_SECONDS)

        if now >= self._next_start:
            self._next_start = now
            self._process = subprocess.Popen(
                self._command, cwd="/", preexec_fn=self._prepare, stdout=self._output
            )

    def stop(self) -> None:
        """Tell the process to end."""
        if self._process is not None:
            self._process.send_signal(self._signal)

    def wait(self, seconds: float) -> None:
        """Wait for the process to end; kill it after ``seconds``."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return
        self._process.kill()


def end_with_parent() -> None:
    """Have this process, and what it executes, end when its parent has ended: prctl(2)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
