"""What a process that examines files is given, and what it may answer.

Work goes to it as pickles. Its answers are lines of JSON, one for each file: the process has read
what strangers wrote, so that an answer may say anything, and is made a value here or nowhere.
"""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.errors import PyindexError
from appliance.incoming.entries import Entry
from appliance.incoming.outcomes import Accepted, Changing, Gone, MetadataRead, Outcome
from appliance.index.model import Code, File, Rejection
from appliance.index.names import is_name, normalize
from appliance.text import has_controls

MAX_ANSWER = 16 << 20
"""Bytes of a line: metadata of 8 MiB in base64, and room for the rest."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What examining one file may cost: seconds of CPU and of waiting, more for large files, and
    bytes of memory."""

    cpu_seconds: int = 20
    cpu_bytes_a_second: int = 4_000_000
    wait_seconds: float = 120
    wait_bytes_a_second: int = 1_000_000
    memory: int = 1 << 30

    def cpu(self, size: int) -> int:
        return self.cpu_seconds + size // self.cpu_bytes_a_second

    def wait(self, size: int) -> float:
        return self.wait_seconds + size / self.wait_bytes_a_second


@dataclass(frozen=True, slots=True)
class Work:
    """Files below the directory ``root`` to examine in turn; with ``metadata_only`` nothing but
    their metadata is asked for."""

    root: str
    entries: list[Entry]
    limits: Limits
    metadata_only: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one file: its outcome, the core metadata inside it if it is accepted, and for
    the log ``notes``, and the ``trace`` of an error."""

    outcome: Outcome | MetadataRead
    metadata: bytes | None = None
    notes: tuple[str, ...] = ()
    trace: str | None = None


class NonsenseError(PyindexError):
    """A process answered what no process of ours does."""


def encode(answer: Answer) -> bytes:
    """An answer as a line of JSON."""
    outcome = answer.outcome
    fields: dict[str, Any] = {"kind": _KINDS[type(outcome)], "notes": answer.notes}
    if isinstance(outcome, Accepted):
        fields["file"] = {name: getattr(outcome.file, name) for name in _FACTS}
    elif isinstance(outcome, Rejection):
        fields |= {"code": outcome.code, "reason": outcome.reason, "retry": outcome.retry}
    metadata = outcome.metadata if isinstance(outcome, MetadataRead) else answer.metadata
    if metadata is not None:
        fields["metadata"] = base64.b64encode(metadata).decode()
    if answer.trace is not None:
        fields["trace"] = answer.trace
    return json.dumps(fields).encode() + b"\n"


def decode(line: bytes, entry: Entry) -> Answer:
    """The answer for the file at ``entry`` in a line of JSON. Raises :class:`NonsenseError`."""
    try:
        fields = json.loads(line)
        return Answer(
            outcome=_OUTCOMES[fields["kind"]](entry, fields),
            metadata=_metadata(fields),
            notes=tuple(_text(note) for note in fields["notes"]),
            trace=None if fields.get("trace") is None else str(fields["trace"]),
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise NonsenseError(f"nonsense from a process that examines files: {error}") from error


# --- outcomes ------------------------------------------------------------------------------------

_HEX = {length: re.compile(f"[0-9a-f]{{{length}}}") for length in (32, 64)}


def _metadata(fields: dict[str, Any]) -> bytes | None:
    text = fields.get("metadata")
    return None if text is None else base64.b64decode(_text(text), validate=True)


def _accepted(entry: Entry, fields: dict[str, Any]) -> Accepted:
    facts = fields["file"]
    file = File(
        path=entry.path,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        inode=entry.inode,
        upload_time=upload_time(entry),
        **{name: check(facts[name]) for name, check in _FACTS.items()},
    )
    if file.filename != entry.path.rpartition("/")[2]:
        raise ValueError("another file")
    return Accepted(file)


def _rejected(entry: Entry, fields: dict[str, Any]) -> Rejection:
    code, reason, retry = Code(fields["code"]), _text(fields["reason"]), _boolean(fields["retry"])
    return rejection(entry, code, reason, retry)


def rejection(entry: Entry, code: Code, reason: str, retry: bool = False) -> Rejection:
    """The rejection of the file at ``entry``."""
    return Rejection(entry.path, code, reason, entry.size, entry.mtime_ns, entry.inode, retry)


_LATEST = 253_402_300_799_000_000  # microseconds: the end of the year 9999


def upload_time(entry: Entry) -> int:
    return min(max(0, entry.mtime_ns // 1000), _LATEST)


_KINDS: dict[type, str] = {
    Accepted: "accepted",
    Rejection: "rejected",
    Changing: "changing",
    Gone: "gone",
    MetadataRead: "metadata",
}
_OUTCOMES: dict[str, Callable[[Entry, dict[str, Any]], Outcome | MetadataRead]] = {
    "accepted": _accepted,
    "rejected": _rejected,
    "changing": lambda entry, _: Changing(entry.path),
    "gone": lambda entry, _: Gone(entry.path),
    "metadata": lambda _, fields: MetadataRead(_metadata(fields)),
}


# --- the facts of a file -------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"no text: {value!r}")
    return value


def _plain(value: object) -> str:
    text = _text(value)
    if has_controls(text):
        raise ValueError(f"control characters: {text!r}")
    return text


def _project(value: object) -> str:
    """A normalised name: its pages are in a directory that is called so."""
    text = _text(value)
    if not is_name(text) or normalize(text) != text:
        raise ValueError(f"no project: {text!r}")
    return text


def _digest(length: int) -> Callable[[object], str]:
    def check(value: object) -> str:
        text = _text(value)
        if not _HEX[length].fullmatch(text):
            raise ValueError(f"no digest: {text!r}")
        return text

    return check


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"neither true nor false: {value!r}")
    return value


def _optional(check: Callable[[object], str]) -> Callable[[object], str | None]:
    return lambda value: None if value is None else check(value)


# What a file says of itself; whoever asked knows where it is and when it was written.
_FACTS: dict[str, Callable[[object], Any]] = {
    "filename": _plain,
    "project": _project,
    "name": _plain,
    "version": _plain,
    "kind": _plain,
    "python_version": _plain,
    "sha256": _digest(64),
    "md5": _digest(32),
    "blake2b_256": _digest(64),
    "requires_python": _optional(_plain),
    "summary": _optional(_plain),
    "signature": _boolean,
    "core_metadata": _optional(_digest(64)),
}
