"""The work that is sent to an examiner, and its answers.

Work is sent as pickles. Answers are lines of JSON, one for each file. The examiner has read
untrusted bytes, so its answers are not trusted either: :func:`decode` checks all of their fields.
"""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from appliance.errors import PyindexError
from appliance.incoming.entries import Entry
from appliance.incoming.outcomes import Accepted, Changing, Deleted, MetadataRead, Outcome
from appliance.index.model import Code, File, Rejection
from appliance.index.names import is_name, normalize
from appliance.text import has_controls

MAX_ANSWER = 16 << 20
"""Bytes of a line: metadata of 8 MiB in base64, and room for the rest."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the examination of one file: seconds of CPU time and of waiting, more for large
    files, and bytes of memory."""

    cpu_seconds: int = 20
    cpu_bytes_a_second: int = 4_000_000
    wait_seconds: float = 120
    wait_bytes_a_second: int = 1_000_000
    memory: int = 1 << 30

    def cpu(self, size: int) -> int:
        return self.cpu_seconds + size // self.cpu_bytes_a_second

    def wait(self, size: int) -> float:
        return self.wait_seconds + size / self.wait_bytes_a_second


class Part(StrEnum):
    """The part of a file that is read instead of its examination."""

    METADATA = "metadata"  # its core metadata
    BUILD = "build"  # the files of an sdist that say how to build it, see archive.read_build_files


@dataclass(frozen=True, slots=True)
class Work:
    """Files below the directory ``root`` to examine; or to read only ``part`` of each."""

    root: str
    entries: list[Entry]
    limits: Limits
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer for one file: its outcome, its core metadata if it is accepted, and for the log
    ``notes`` and the ``trace`` of an error."""

    outcome: Outcome | MetadataRead
    metadata: bytes | None = None
    notes: tuple[str, ...] = ()
    trace: str | None = None


class InvalidAnswerError(PyindexError):
    """An answer that no intact examiner gives."""


def encode(answer: Answer) -> bytes:
    """Encode an answer as a line of JSON."""
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
    """Decode the answer for the file at ``entry``. Raises :class:`InvalidAnswerError`."""
    try:
        fields = json.loads(line)
        return Answer(
            outcome=_OUTCOMES[fields["kind"]](entry, fields),
            metadata=_metadata(fields),
            notes=tuple(map(str, fields["notes"])),
            trace=None if fields.get("trace") is None else str(fields["trace"]),
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise InvalidAnswerError(f"invalid answer from an examiner: {error}") from error


# --- outcomes ------------------------------------------------------------------------------------


def rejection(entry: Entry, code: Code, reason: str, retry: bool = False) -> Rejection:
    """Return a rejection of the file at ``entry``."""
    return Rejection(entry.path, code, reason, entry.size, entry.mtime_ns, entry.inode, retry)


def _rejected(entry: Entry, fields: dict[str, Any]) -> Rejection:
    reason, retry = fields["reason"], fields["retry"]
    if not isinstance(reason, str) or not isinstance(retry, bool):
        raise TypeError("expected a reason and a boolean")
    return rejection(entry, Code(fields["code"]), reason, retry)


def _metadata(fields: dict[str, Any]) -> bytes | None:
    text = fields.get("metadata")
    return None if text is None else base64.b64decode(text, validate=True)


_KINDS: dict[type, str] = {
    Accepted: "accepted",
    Rejection: "rejected",
    Changing: "changing",
    Deleted: "gone",
    MetadataRead: "metadata",
}
_OUTCOMES: dict[str, Callable[[Entry, dict[str, Any]], Outcome | MetadataRead]] = {
    "accepted": lambda entry, fields: Accepted(_file(entry, fields["file"])),
    "rejected": _rejected,
    "changing": lambda entry, _: Changing(entry.path),
    "gone": lambda entry, _: Deleted(entry.path),
    "metadata": lambda _, fields: MetadataRead(_metadata(fields)),
}


# --- a file that is accepted ---------------------------------------------------------------------

# The facts in a file; its path and mtime are those of the entry.
_TEXTS = ("filename", "project", "name", "version", "kind", "python_version")
_OPTIONAL_TEXTS = ("requires_python", "summary")
_COMPANIONS = ("signature", "provenance")
_DIGESTS = ("sha256", "blake2b_256", "md5")
_FACTS = (*_TEXTS, *_OPTIONAL_TEXTS, *_DIGESTS, "core_metadata", *_COMPANIONS)
_THREE_DIGESTS = re.compile(r"[0-9a-f]{64} [0-9a-f]{64} [0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LATEST = 253_402_300_799_000_000  # microseconds: the end of the year 9999


def _file(entry: Entry, facts: dict[str, Any]) -> File:
    """Return the file at ``entry`` with ``facts``. Raises ``ValueError``, ``TypeError`` or
    ``LookupError`` for facts that cannot be in a catalog, on a page or in a path."""
    facts = {name: facts[name] for name in _FACTS}
    optional = [facts[name] for name in _OPTIONAL_TEXTS if facts[name] is not None]
    texts = "".join([*(facts[name] for name in _TEXTS), *optional])  # TypeError unless all are text
    if has_controls(texts):
        raise ValueError(f"control characters: {texts!r}")
    if facts["filename"] != entry.path.rpartition("/")[2] or not _is_normal(facts["project"]):
        raise ValueError(f"file name or project: {facts['filename']!r}, {facts['project']!r}")

    if not _THREE_DIGESTS.fullmatch(" ".join([facts[name] for name in _DIGESTS])):
        raise ValueError("invalid digests")
    if facts["core_metadata"] is not None and not _SHA256.fullmatch(facts["core_metadata"]):
        raise ValueError("invalid digest of the metadata")
    if not all(isinstance(facts[name], bool) for name in _COMPANIONS):
        raise TypeError(f"expected a boolean for {', '.join(_COMPANIONS)}")

    return File(
        path=entry.path,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        inode=entry.inode,
        upload_time=upload_time(entry),
        **facts,
    )


@lru_cache(maxsize=1024)
def _is_normal(project: str) -> bool:
    """Return whether a name is normalized: it names the directory of the project's pages."""
    return is_name(project) and normalize(project) == project


def upload_time(entry: Entry) -> int:
    """Return the mtime of a file in microseconds since the epoch, from 1970 to the year 9999."""
    return min(max(0, entry.mtime_ns // 1000), _LATEST)
