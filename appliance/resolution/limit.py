"""The limit of a resolution: how long it may try, and what it says then."""

import time
from collections import Counter
from typing import Any

from resolvelib import BaseReporter

SECONDS = 300.0
_MOST_NAMED = 5


class TooLongError(Exception):
    """A resolution has tried for as long as it may."""


class Limit(BaseReporter[Any, Any, Any]):
    """A reporter that ends a resolution at a ``deadline`` of the monotonic clock, by
    :class:`TooLongError`."""

    def __init__(self, deadline: float) -> None:
        self._started, self._deadline = time.monotonic(), deadline
        self._rejected: Counter[str] = Counter()

    def starting_round(self, index: int) -> None:
        if time.monotonic() >= self._deadline:
            raise TooLongError

    def rejecting_candidate(self, criterion: Any, candidate: Any) -> None:
        self._rejected[candidate.identifier[0]] += 1

    def reason(self) -> str:
        """Say that there was no answer, and the projects whose releases were tried most often."""
        named = [name for name, _ in self._rejected.most_common(_MOST_NAMED)]
        advice = f"pin {', '.join(named)}" if named else "pin more releases"
        return f"no answer within {time.monotonic() - self._started:.0f} s; {advice}"
