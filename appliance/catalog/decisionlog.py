"""The decision log: ``<state>/decisions.jsonl``, an append-only second copy of all decisions.

A lost or damaged catalog is rebuilt from the package files, which contain no decisions. Each line
has the SHA-256 of the line before (``previous``), so that changed and removed lines are detected.
The log is updated from the journal after the catalog has committed and before the command returns.
A kill in between leaves it behind by decisions that were not acknowledged; the next start or the
next decision appends them.

A line with ``yanks`` and ``statuses`` is a snapshot of all decisions. The first line is one, and
each command that replaces all decisions (a restore) writes one.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.atomic import sync_paths
from appliance.catalog import schema
from appliance.catalog.reader import Reader
from appliance.index.model import STATUSES, Change, Decisions
from appliance.locks import lock

NAME = "decisions.jsonl"
_NANOSECONDS_PER_MICROSECOND = 1000


@dataclass(frozen=True, slots=True)
class Log:
    """Readable lines of the log, and a message for each line that is unreadable or doubtful."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def serial(self) -> int:
        """The highest serial; 0 if there is none."""
        return max((line["serial"] for line in self.lines), default=0)

    def decisions(self, since: int = 0) -> Decisions:
        """Return the decisions in force after all lines, or those made after serial ``since``."""
        return replay(line for line in self.lines if line["serial"] > since)


def path(state: Path) -> Path:
    return state / NAME


def read(state: Path) -> Log:
    """Return the log, empty if there is none; raises ``OSError`` if it cannot be read."""
    return _parsed(path(state), _lines(_content(state)))


def last_serial(state: Path) -> int:
    """Return the serial of the last readable line; 0 if there is none."""
    return _last(_lines(_content(state))) or 0


def _content(state: Path) -> bytes:
    try:
        return path(state).read_bytes()
    except FileNotFoundError:
        return b""


def append_new(state: Path, reader: Reader) -> None:
    """Append the journal's decisions that the log does not have yet; they are durable on return.
    Raises ``OSError`` and leaves the log unchanged if that fails."""
    with _locked(state) as descriptor:
        lines, end = _sound(descriptor)
        logged = _last(lines, reader.serial())
        if logged is not None or _last(lines) is not None:
            texts = [_text(change, reader) for change in reader.decisions_since(logged or 0)]
        else:
            now = time.time_ns() // _NANOSECONDS_PER_MICROSECOND
            texts = [_snapshot(reader, reader.serial(), now, "snapshot")]

        previous = _digest(lines[-1]) if lines else ""
        new = []
        for text in filter(_is_sound, texts):
            line = json.dumps(text | {"previous": previous}).encode()
            new.append(line + b"\n")
            previous = _digest(line)

        _append(descriptor, b"".join(new), end)


def replay(lines: Iterable[dict[str, Any]]) -> Decisions:
    """Return the decisions in force after ``lines``, in their order."""
    decided = Decisions()
    for line in lines:
        index, project = line["index"], line["project"]
        if "yanks" in line:
            decided = _snapshot_of(line)
        elif line["action"] == "status":
            status, _, reason = line["detail"].partition(": ")
            decided.statuses[index, project] = (status, reason or None)
        elif line["action"] == "owned":
            decided.owners[index, project] = line["detail"]
        else:
            yanked = line["action"] == "yanked"
            decided.yanks[index, line["filename"]] = line["detail"] if yanked else None
    return decided


def _snapshot_of(line: dict[str, Any]) -> Decisions:
    """Return the decisions of a snapshot line."""
    return Decisions(
        True,
        {(index, filename): reason for index, filename, reason in line["yanks"]},
        {(index, name): (status, reason) for index, name, status, reason in line["statuses"]},
        {(index, name): account for index, name, account in line.get("owners", [])},
    )


def replay_changes(changes: Iterable[Change]) -> Decisions:
    """Return the decisions among the lines of a journal."""
    lines = (_line(change) for change in changes)
    return replay(line for line in lines if _is_sound(line))


def is_behind(log: Log, reader: Reader) -> bool:
    """Return whether the journal has decisions that the log lacks, as it has for a moment."""
    last = reader.serial()
    logged = max((line["serial"] for line in log.lines if line["serial"] <= last), default=0)
    return bool(reader.decisions_since(logged))


def _text(change: Change, reader: Reader) -> dict[str, Any]:
    if change.action == "restored":
        return _snapshot(reader, change.serial, change.time, change.action)
    return _line(change)


def _line(change: Change) -> dict[str, Any]:
    names = (
        *("serial", "time", "index", "project", "action", "filename", "version", "detail"),
        *("actor", "address"),
    )
    return {name: getattr(change, name) for name in names}


def _snapshot(reader: Reader, serial: int, time: int, action: str) -> dict[str, Any]:
    """Return a line with all decisions in force. It may include later ones already: applying a
    decision twice changes nothing."""
    now = reader.decisions()
    return {
        "serial": serial,
        "time": time,
        "index": "",
        "project": "",
        "action": action,
        "yanks": [[*key, reason] for key, reason in sorted(now.yanks.items())],
        "statuses": [[*key, *status] for key, status in sorted(now.statuses.items())],
        "owners": [[*key, account] for key, account in sorted(now.owners.items())],
    }


# --- the file ----------------------------------------------------------------------------------


@contextmanager
def _locked(state: Path) -> Iterator[int]:
    """Open the file with an exclusive lock, which ends with the process."""
    is_new = not path(state).exists()
    descriptor = os.open(path(state), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        lock(descriptor)
        if is_new:
            sync_paths([str(state)])
        yield descriptor
    finally:
        os.close(descriptor)


def _sound(descriptor: int) -> tuple[list[bytes], int]:
    """Return the complete lines and their end offset. A last line cut off by a kill is left out: it
    was not acknowledged. (A line that lacks only its newline is complete.)"""
    content = b""
    while chunk := os.pread(descriptor, 1 << 20, len(content)):
        content += chunk
    lines = _lines(content)
    return lines, sum(len(line) + 1 for line in lines)


def _lines(content: bytes) -> list[bytes]:
    *lines, rest = content.split(b"\n")
    if rest and _parse(rest) is not None:
        lines.append(rest)
    return lines


def _append(descriptor: int, content: bytes, end: int) -> None:
    """Write ``content`` at ``end`` and drop everything after it."""
    size = os.fstat(descriptor).st_size
    if not content and size == end:
        return

    try:
        os.ftruncate(descriptor, min(size, end))
        if size < end:  # the newline of the last line
            content = b"\n" + content

        rest, offset = memoryview(content), min(size, end)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            rest, offset = rest[written:], offset + written
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, min(size, end))
        raise


def _last(lines: list[bytes], at_most: int = schema.SERIALS) -> int | None:
    """Return the serial of the last readable line that has none above ``at_most``: higher ones are
    those of another catalog."""
    for raw in reversed(lines):
        line = _parse(raw)
        if line is not None and line["serial"] <= at_most:
            return int(line["serial"])
    return None


def _parsed(path: Path, lines: list[bytes]) -> Log:
    log, previous = Log(), ""
    for number, raw in enumerate(lines, 1):
        expected, previous = previous, _digest(raw)
        line = _parse(raw)
        if line is None:
            log.problems.append(f"{path}: line {number} not readable; skipped")
            continue

        log.lines.append(line)
        if line["previous"] != expected:
            log.problems.append(
                f"{path}: line {number} does not match the digest of the line before: a line was"
                " changed or removed; still applied"
            )
    return log


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if _is_sound(line) and isinstance(line.get("previous"), str) else None


def _is_sound(line: Any) -> bool:
    """Return whether :func:`replay` can use the line."""
    if not isinstance(line, dict) or not all(isinstance(line.get(n), str) for n in _TEXTS):
        return False

    serial = line.get("serial")
    if not isinstance(serial, int) or not 0 <= serial < schema.SERIALS:
        return False

    match line["action"]:
        case "yanked":
            return isinstance(line.get("filename"), str) and isinstance(line.get("detail"), str)
        case "unyanked":
            return isinstance(line.get("filename"), str)
        case "status":
            detail = line.get("detail")
            return isinstance(detail, str) and detail.partition(": ")[0] in STATUSES
        case "owned":
            return isinstance(line.get("detail"), str)
        case _:  # a snapshot; older ones have no owners
            is_snapshot = _are(line.get("yanks"), 3) and _are(line.get("statuses"), 4)
            return is_snapshot and _are(line.get("owners", []), 3)


_TEXTS = ("index", "project", "action")


def _are(rows: Any, length: int) -> bool:
    """Return whether ``rows`` is a list of lists of ``length`` texts; the last of four may be
    null."""
    return isinstance(rows, list) and all(
        isinstance(row, list)
        and len(row) == length
        and all(isinstance(value, str) for value in row[:3])
        and (length == 3 or (row[2] in STATUSES and isinstance(row[3], str | None)))
        for row in rows
    )
