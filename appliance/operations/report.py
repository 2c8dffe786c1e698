"""The report of the watcher for other processes: its progress and its problems."""

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.spec import Spec

# Interval at which the watcher writes its report, ...
_BEAT_SECONDS = 5.0
# ... and the shortest interval, while the report changes.
_PAUSE_SECONDS = 1.0
# A watcher that has not written its report for so long makes no progress.
STALE_SECONDS = 60.0
_PROBLEMS_KEY = "troubles"  # in the file, as other versions read it


@dataclass(frozen=True)
class Problem:
    """Problem of the watcher. If it is ``failing``, files or pages cannot be served, otherwise
    changes are published late. ``index`` is ``None`` if it concerns all indexes."""

    index: str | None
    failing: bool
    text: str

    def __str__(self) -> str:
        return self.text if self.index is None else f"{self.index}: {self.text}"


@dataclass(frozen=True)
class Progress:
    """Progress of an index: whether it was ``scanned`` since the watcher started, and the number of
    entries that the current or last scan has ``seen``."""

    scanned: bool
    seen: int


@dataclass(frozen=True)
class Report:
    """Report of the watcher; ``beat`` is the time at which it was written, by the monotonic clock,
    which all processes share."""

    pid: int
    beat: float
    time: str
    indexes: Mapping[str, Progress]
    problems: tuple[Problem, ...]

    @property
    def is_stale(self) -> bool:
        """Whether the watcher makes no progress, or has written the report before a reboot."""
        return not 0 <= time.monotonic() - self.beat < STALE_SECONDS


def read_report(spec: Spec) -> Report | None:
    """Return the last report of a watcher; ``None`` if none can be read."""
    try:
        fields = json.loads(_path(spec).read_bytes())
        return Report(
            pid=int(fields["pid"]),
            beat=float(fields["beat"]),
            time=str(fields["time"]),
            indexes={name: Progress(**each) for name, each in fields["indexes"].items()},
            problems=tuple(Problem(**each) for each in fields[_PROBLEMS_KEY]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class Reporter:
    """Writes the report."""

    def __init__(self, spec: Spec) -> None:
        self._file = _path(spec)
        self._last: tuple[object, ...] | None = None
        self._written_at = 0.0

    def beat(self, indexes: Mapping[str, Progress], problems: Iterable[Problem]) -> None:
        """Write the report if it has changed or is some seconds old; call it often. Raises
        ``OSError`` if the state directory is not writable."""
        now, content = time.monotonic(), (dict(indexes), tuple(problems))
        if now - self._written_at < (_BEAT_SECONDS if content == self._last else _PAUSE_SECONDS):
            return

        self._written_at = now
        report = Report(os.getpid(), now, time.strftime("%Y-%m-%dT%H:%M:%S%z"), *content)
        fields = asdict(report)
        fields[_PROBLEMS_KEY] = fields.pop("problems")
        # Not synced: after a crash there is another report.
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        temporary.write_text(json.dumps(fields))
        temporary.chmod(0o644)
        temporary.replace(self._file)
        self._last = content


def notify(*lines: str) -> None:
    """Notify systemd if it started this process and requests that (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto("\n".join(lines).encode(), address)
    except OSError:
        pass  # systemd does not read the socket any more


def _path(spec: Spec) -> Path:
    return spec.state / "watcher.json"
