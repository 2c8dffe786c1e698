"""Files that are examined later: those that are still being written, and those whose examiner was
killed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from appliance.catalog.database import Catalog
from appliance.incoming.entries import Entry
from appliance.index.model import Code, Stat

QUIET_SECONDS = 0.25
"""A file is examined when it has not changed for this long."""
# The mtime of a file that was not observed before shows that, unless it is so recent that clocks
# may differ.
_RECENT_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class _Change:
    """Last observed change of a file, at a time of the monotonic clock; ``stat`` is ``None`` if it
    changed while it was examined."""

    stat: Stat | None
    time: float


@dataclass(frozen=True, slots=True)
class _Pause:
    """Pause in the examination of a file, until a time of the monotonic clock; ``seconds`` is the
    length of the next one."""

    until: float
    seconds: float


class Postponed:
    """Files of one index that are examined later. ``pause`` is the first pause, in seconds, before
    a file whose examiner was killed is examined again."""

    def __init__(self, catalog: Catalog, index: str, pause: float) -> None:
        self._catalog, self._index, self._pause = catalog, index, pause
        self._written: dict[str, _Change] = {}
        self._paused: dict[str, _Pause] = {}

    @property
    def written(self) -> frozenset[str]:
        """Paths of files that are still being written; compare them again soon."""
        return frozenset(self._written)

    def add(self, path: str) -> None:
        """Add a file that changed while it was examined."""
        self._written[path] = _Change(None, 0.0)

    def forget(self, new: Sequence[Entry], covers: Callable[[str], bool]) -> None:
        """Forget files that are not ``new`` any more, of the paths that were compared."""
        paths = {entry.path for entry in new}
        for path in self.written - paths:
            if covers(path):
                del self._written[path]

    def is_settled(self, entry: Entry, is_event: bool) -> bool:
        """Return whether a file has not changed for some time. ``is_event`` means that the system
        has reported a change of it, so that its mtime alone does not show that."""
        now, before = time.monotonic(), self._written.get(entry.path)
        if entry.problem is not None:
            is_settled = True
        elif before is None and not is_event:
            is_settled = abs(time.time() - entry.mtime_ns / 1e9) > _RECENT_SECONDS
        else:
            is_settled = (
                before is not None
                and before.stat == entry.stat
                and now - before.time >= QUIET_SECONDS
            )

        if is_settled:
            self._written.pop(entry.path, None)
        elif before is None or before.stat != entry.stat:
            self._written[entry.path] = _Change(entry.stat, now)
        return is_settled

    def without_paused(
        self, entries: Sequence[Entry], known: Mapping[str, Stat | None]
    ) -> list[Entry]:
        """Return the entries without files whose examiner was killed, during their pauses.

        A file whose examination takes all the memory of the system must not do so every minute. At
        the end of a pause a new one begins, twice as long. ``known`` is the stat of each path in
        the catalog.
        """
        retried = [each.path for each in entries if known.get(each.path, each.stat) is None]
        if not retried and not self._paused:
            return list(entries)

        with self._catalog.read() as reader:
            rejected = reader.rejections_at(self._index, retried)
        killed = {
            each.path: (each.size, each.mtime_ns) for each in rejected if each.code is Code.KILLED
        }
        return [
            entry
            for entry in entries
            if not self._is_paused(entry, killed.get(entry.path) == entry.stat[:2])
        ]

    def _is_paused(self, entry: Entry, was_killed: bool) -> bool:
        if not was_killed:
            self._paused.pop(entry.path, None)
            return False

        now = time.monotonic()
        pause = self._paused.get(entry.path, _Pause(now, self._pause))
        if now < pause.until:
            return True
        seconds = min(2 * pause.seconds, _LONGEST_PAUSE_SECONDS)
        self._paused[entry.path] = _Pause(now + pause.seconds, seconds)
        return False
