"""What the watcher is at, and what it has trouble with, where others can read it."""

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.spec import Spec

# The watcher writes its report so often, ...
_BEAT_SECONDS = 5.0
# ... and no more often than this, whatever happens.
_PAUSE_SECONDS = 1.0
# One that has not written it for so long is taken for stuck.
STALE_SECONDS = 60.0


@dataclass(frozen=True)
class Trouble:
    """What the watcher could not do. ``failing`` says that files or pages cannot be served,
    otherwise what changes shows late; ``index`` is ``None`` if it is about all."""

    index: str | None
    failing: bool
    text: str

    def __str__(self) -> str:
        return self.text if self.index is None else f"{self.index}: {self.text}"


@dataclass(frozen=True)
class Progress:
    """Whether an index's directory was scanned since the watcher started; ``seen`` counts the
    entries of the scan that runs, or of the last."""

    scanned: bool
    seen: int


@dataclass(frozen=True)
class Report:
    """``beat`` is when it was written, by ``time.monotonic()``, which all processes share."""

    pid: int
    beat: float
    time: str
    indexes: Mapping[str, Progress]
    troubles: tuple[Trouble, ...]

    @property
    def is_stale(self) -> bool:
        """Whether the watcher makes no progress, or the report is of one before a reboot."""
        return not 0 <= time.monotonic() - self.beat < STALE_SECONDS


def read_report(spec: Spec) -> Report | None:
    """The last report of a watcher; ``None`` if there is none that can be read."""
    try:
        found = json.loads(_place(spec).read_bytes())
        return Report(
            pid=int(found["pid"]),
            beat=float(found["beat"]),
            time=str(found["time"]),
            indexes={name: Progress(**each) for name, each in found["indexes"].items()},
            troubles=tuple(Trouble(**each) for each in found["troubles"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class Reporter:
    """Writes the report, and tells the service manager."""

    def __init__(self, spec: Spec) -> None:
        self._file = _place(spec)
        self._last: tuple[object, ...] | None = None
        self._at = 0.0

    def beat(self, indexes: Mapping[str, Progress], troubles: Iterable[Trouble]) -> None:
        """Call it often: it writes when something changed, and every few seconds. Raises
        ``OSError`` if the state cannot be written."""
        now, what = time.monotonic(), (dict(indexes), tuple(troubles))
        if now - self._at < (_BEAT_SECONDS if what == self._last else _PAUSE_SECONDS):
            return
        self._at = now
        report = Report(os.getpid(), now, time.strftime("%Y-%m-%dT%H:%M:%S%z"), *what)
        # Not synced: after a crash there is another.
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(report)))
        temporary.chmod(0o644)
        temporary.replace(self._file)
        self._last = what


def notify(*lines: str) -> None:
    """Tell systemd, if it started us and wants to know (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
            one.sendto("\n".join(lines).encode(), address)
    except OSError:
        pass  # nobody listens any more


def _place(spec: Spec) -> Path:
    return spec.state / "watcher.json"
