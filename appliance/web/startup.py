"""The progress of the first scan in the server's log."""

import time
from collections.abc import Callable
from contextlib import closing

from appliance.catalog import readiness
from appliance.catalog.database import Catalog
from appliance.errors import PyindexError
from appliance.spec import Spec
from appliance.text import counted

_PROGRESS_SECONDS = 5.0


class StartupLog:
    """Log messages from the start until all indexes have been scanned in full; the last one has a
    command to try at ``url``."""

    def __init__(self, spec: Spec, url: str) -> None:
        self._spec, self._url = spec, url
        self._last_message: str | None = None
        self._next_progress = 0.0
        self._is_done = False

    def report(self, log: Callable[[str], object]) -> None:
        """Log the progress if there is any; call this every second or so."""
        if self._is_done:
            return
        try:
            unscanned, files = self._progress()
        except PyindexError:
            return  # there is no catalog yet, or /health reports the problem

        if not unscanned:
            self._is_done = True
            command = f"pip install --index-url {self._url}/simple/ NAME"
            self._log_new(log, f"pyindex: ready; try `{command}`")
        elif time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + _PROGRESS_SECONDS
            self._log_new(
                log, f"pyindex: scanning {', '.join(unscanned)}: {counted(files, 'file')} so far"
            )

    def _progress(self) -> tuple[list[str], int]:
        """The indexes that have not been scanned in full, and how many files they have so far."""
        # Closed again at once: workers are forked from this process.
        with closing(Catalog(self._spec.catalog)) as catalog, catalog.read() as reader:
            unscanned = list(readiness.all_unscanned(reader, self._spec))
            return unscanned, sum(reader.counts(name).files for name in unscanned)

    def _log_new(self, log: Callable[[str], object], message: str) -> None:
        if message != self._last_message:
            log(message)
        self._last_message = message
