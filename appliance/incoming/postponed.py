"""Files that are examined later: those that somebody may still be writing to, and those at which
the processes that examined them were killed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from appliance.catalog.database import Catalog
from appliance.incoming.entries import Entry
from appliance.index.model import Code, Stat

QUIET_SECONDS = 0.25
"""A file is examined when nobody has written to it for this long ..."""
# ... which its mtime shows at first sight, unless that is so near that the clocks may differ.
_RECENT_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """How a file was when it was last seen to change, by the monotonic clock; without ``stat`` it
    changed while it was examined."""

    stat: Stat | None
    time: float


@dataclass(frozen=True, slots=True)
class _Pause:
    """Until when a file is not examined, by the monotonic clock, and for how long after that."""

    until: float
    seconds: float


class Postponed:
    """The files of one index that are examined later; ``pause`` is the first pause, in seconds,
    between two attempts at a file at which processes were killed."""

    def __init__(self, catalog: Catalog, index: str, pause: float) -> None:
        self._catalog, self._index, self._pause = catalog, index, pause
        self._written: dict[str, _Seen] = {}
        self._paused: dict[str, _Pause] = {}

    @property
    def written(self) -> frozenset[str]:
        """Paths of files that somebody may still be writing to; compare them again soon."""
        return frozenset(self._written)

    def add(self, path: str) -> None:
        """Note a file that changed while it was examined."""
        self._written[path] = _Seen(None, 0.0)

    def forget(self, new: Sequence[Entry], covers: Callable[[str], bool]) -> None:
        """Forget what is not ``new`` any more, of the paths that somebody has just compared."""
        paths = {entry.path for entry in new}
        for path in self.written - paths:
            if covers(path):
                del self._written[path]

    def is_settled(self, entry: Entry, is_event: bool) -> bool:
        """Whether nobody seems to be writing to a file, judged by two looks at it; ``is_event``
        says that the system has just told of it, so that it may be half written."""
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
            self._written[entry.path] = _Seen(entry.stat, now)
        return is_settled

    def without_paused(
        self, entries: Sequence[Entry], known: Mapping[str, Stat | None]
    ) -> list[Entry]:
        """Without files at which processes were killed, while their pauses last: what takes all the
        memory of the system shall not do so every minute. The others' pauses begin anew, and are
        twice as long. ``known`` is what the catalog has at these paths."""
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
