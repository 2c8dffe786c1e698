"""Examination ahead of intake: files in a staging directory are examined while others are still
fetched. Intake takes the answers for those that have not changed when they are in their place."""

from collections.abc import Iterable
from pathlib import Path

from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.examine import Stopped, examine_ahead
from appliance.incoming.outcomes import Accepted
from appliance.incoming.protocol import Answer

_MOST_METADATA = 64 * 1024 * 1024  # bytes that wait in memory; files beyond are examined later


class Ahead:
    """The answers so far for files that are to have the same names in a packages directory. A link
    or a move there keeps size, mtime and inode."""

    def __init__(self) -> None:
        self._answers: dict[Entry, Answer] = {}
        self._metadata = 0
        self._is_stopped = False

    def examine(self, staging: Path, names: Iterable[str]) -> None:
        """Examine files of a directory. What is not accepted is left to intake, which says why."""
        directory = PackagesDirectory(staging)
        entries = [entry for name in names if (entry := directory.entry(name)) is not None]
        examine_ahead(directory, entries, self._keep, self._check)

    def stop(self) -> None:
        """End the examination that another thread has begun, within a second."""
        self._is_stopped = True

    def take(self, entry: Entry) -> Answer | None:
        """Return the answer for a file in the packages directory, once; ``None`` if there is none
        for it as it is now."""
        return self._answers.pop(entry, None)

    def add(self, other: "Ahead") -> None:
        """Add the answers of another one."""
        self._answers |= other._answers

    def _check(self) -> None:
        if self._is_stopped:
            raise Stopped

    def _keep(self, entry: Entry, answer: Answer) -> None:
        self._check()
        self._metadata += len(answer.metadata or b"")
        if isinstance(answer.outcome, Accepted) and self._metadata <= _MOST_METADATA:
            self._answers[entry] = answer
