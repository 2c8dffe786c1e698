"""The watcher as a process that the server keeps running."""

import os
import subprocess
import time

_LONGEST_PAUSE_SECONDS = 60.0


class WatcherProcess:
    """The watcher: restarted, after a growing pause, whenever it ends. It ends with this process.

    ``command`` runs it, without the option ``--parent``.
    """

    def __init__(self, command: list[str]) -> None:
        self._command = [*command, "--parent", str(os.getpid())]
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
            self._process = subprocess.Popen(self._command, cwd="/")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
