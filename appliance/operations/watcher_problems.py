"""Problems of a watcher: each is logged when it begins, and reported until it ends."""

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from appliance.atomic import is_full
from appliance.errors import PyindexError
from appliance.incoming.directory import DirectoryMissing
from appliance.operations.report import Problem

log = logging.getLogger(__name__)


class Problems:
    """Problems of one watcher by keys such as ``scan main``; ``state`` is the state directory."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._current: dict[str, Problem] = {}
        self._logged: dict[str, object] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._current

    @property
    def current(self) -> Collection[Problem]:
        """The problems that have not ended."""
        return self._current.values()

    @contextlib.contextmanager
    def catching(
        self, task: str, index: str | None = None, is_ended: bool = True
    ) -> Iterator[list[Exception]]:
        """Catch any exception of a task, as a watcher must not die of one; append it to the list.

        It is a problem until the task succeeds, if success means that the problem ``is_ended``.
        """
        key, raised = f"{task} {index or ''}".rstrip(), list[Exception]()
        try:
            yield raised
        except Exception as error:
            raised.append(error)
            self._add(key, index, error)
        else:
            if is_ended:
                self.end(key)

    def _add(self, key: str, index: str | None, error: Exception) -> None:
        text = self._explain(error)
        kind = (type(error), getattr(error, "errno", None) or text)
        if key not in self._current or self._logged.get(key) != kind:
            is_expected = isinstance(error, OSError | PyindexError)
            write = log.error if is_expected else log.exception
            write("%s; keeping published pages; retrying", text)
        self._logged[key] = kind
        self._current[key] = Problem(index, isinstance(error, DirectoryMissing), text)

    def _explain(self, error: Exception) -> str:
        if not isinstance(error, OSError):
            return str(error) if isinstance(error, PyindexError) else repr(error)
        if is_full(error):
            return f"state directory {self._state}: disk full; free some disk space"
        if str(error.filename or "").startswith(f"{self._state}/"):
            return f"state directory {self._state}: not writable: {error}"
        return str(error)

    def set(self, key: str, text: str, index: str | None = None) -> None:
        """Set a problem that is not an exception. It is logged once while its text is the same."""
        if self._logged.get(key) != text:
            log.error("%s", text if index is None else f"{index}: {text}")
        self._logged[key] = text
        self._current[key] = Problem(index, False, text)

    def replace(self, prefix: str, texts: Mapping[str, str], index: str) -> None:
        """Set the problems ``texts`` by their keys, and end others whose keys have the prefix."""
        for key in [key for key in self._current if key.startswith(prefix) and key not in texts]:
            self.end(key)
        for key, text in texts.items():
            self.set(key, text, index)

    def end(self, key: str) -> None:
        self._current.pop(key, None)

    def clear(self) -> None:
        """End all problems; those that remain are set again."""
        self._current.clear()
