"""The access logs of web servers: who fetched package files, and when."""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from appliance.errors import PyindexError
from appliance.index.matching import is_meant

_COMBINED = re.compile(
    r'(?P<client>\S+) \S+ (?P<user>.*?) \[(?P<time>[^]]+)\] "(?P<request>(?:[^"\\]|\\.)*)"'
    r" (?P<status>[0-9]{3}) (?P<sent>[0-9]+|-)"
    r'(?: "(?:[^"\\]|\\.)*" "(?P<agent>(?:[^"\\]|\\.)*)")?(?: "(?P<actor>(?:[^"\\]|\\.)*)")?'
)
_ESCAPED = re.compile(r"(?:\\x[0-9A-Fa-f]{2})+")  # as nginx writes quotes and bytes
_TIME = "%d/%b/%Y:%H:%M:%S %z"
_FETCHED = (200, 206, 304)  # 304: the client has it
_NUMBER = re.compile(r"\.([0-9]+)(?:\.gz)?$")


@dataclass(frozen=True, slots=True)
class Fetch:
    """A package file that was sent to a client, in whole or in part, or that the client had.

    Attributes:
        time: With a zone.
        client: The address.
        actor: Account and token of the client, if the index required them; otherwise the user that
            the client stated, which nothing checked; "" without any.
        filename: Name of the file.
        path: Path of the URL.
        status: 200, 206 for a part, or 304 if the client had it.
        sent: Bytes of the answer.
        agent: The User-Agent.
    """

    time: datetime
    client: str
    actor: str
    filename: str
    path: str
    status: int
    sent: int
    agent: str


@dataclass
class Unread:
    """The number of lines that are no log entries, as where a log was cut."""

    lines: int = 0


def log_files(paths: Iterable[Path]) -> list[Path]:
    """Return the logs at ``paths``, and those that were rotated there, oldest first. Raises
    :class:`PyindexError` for a path without a log."""
    found: list[Path] = []
    for path in paths:
        rotated = [each for each in path.parent.glob(f"{path.name}*") if each.is_file()]
        if not rotated:
            raise PyindexError(f"{path}: no such log; pass --log FILE")
        found += sorted(rotated, key=_order)
    return found


def _order(path: Path) -> tuple[int, str]:
    """Numbers of rotated logs fall with time, dates in their names rise."""
    match = _NUMBER.search(path.name)
    number = int(match[1]) if match else 0
    return (-number, path.name) if number < 10_000 else (-10_000, path.name)


def fetches(paths: Iterable[Path], what: str, since: float, unread: Unread) -> Iterator[Fetch]:
    """Yield the fetches of a file by its name, or of those of a release by ``PROJECT==VERSION``,
    since a time in seconds since the epoch. Lines that are no entries are counted in ``unread``.

    Raises ``OSError`` for a log that cannot be read, and :class:`PyindexError` for a damaged one.
    """
    for line in chain.from_iterable(map(_lines, paths)):
        if "/packages/" not in line:
            continue
        entry = _entry(line)
        if entry is None:
            unread.lines += 1
        elif entry.time.timestamp() >= since:
            yield from _fetches(entry, what)


def _lines(path: Path) -> Iterator[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as lines:
            yield from lines
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PyindexError(f"{path}: damaged: {error}; repair or remove it") from None


class _Entry(NamedTuple):
    time: datetime
    client: str
    user: str
    actor: str
    request: str
    status: int
    sent: int
    agent: str


def _fetches(entry: _Entry, what: str) -> Iterator[Fetch]:
    """Yield the fetch that an entry is about, if it is one of a file that ``what`` means."""
    if entry.status not in _FETCHED or not entry.request.startswith("GET "):
        return
    path = _path(entry.request)
    filename = path.rpartition("/")[2]
    if "/packages/" not in path or not is_meant(what, filename):
        return
    yield Fetch(
        time=entry.time,
        client=entry.client,
        actor=entry.actor or entry.user,
        filename=filename,
        path=path,
        status=entry.status,
        sent=entry.sent,
        agent=entry.agent,
    )


def _path(request: str) -> str:
    """Return the path of the URL in a request line; "" without one: clients send anything."""
    target = request.partition(" ")[2]
    try:
        return unquote(urlsplit(target.rpartition(" ")[0] or target).path)
    except ValueError:
        return ""


def _entry(line: str) -> _Entry | None:
    """Return the entry in a line, of either form; ``None`` if it is none."""
    try:
        return _of_json(line) if line.startswith("{") else _of_line(line)
    except (ValueError, KeyError, TypeError):
        return None


def _of_json(line: str) -> _Entry:
    value = json.loads(line)
    texts = ("client", "user", "request", "agent")
    client, user, request, agent = (str(value[name]) for name in texts)
    return _Entry(
        time=datetime.fromisoformat(value["time"]),
        client=client,
        user=user,
        actor=str(value.get("actor", "")),
        request=request,
        status=int(value["status"]),
        sent=int(value["sent"]),
        agent=agent,
    )


def _of_line(line: str) -> _Entry | None:
    match = _COMBINED.match(line)
    if match is None:
        return None
    sent, user = match["sent"], match["user"]
    return _Entry(
        time=datetime.strptime(match["time"], _TIME),
        client=match["client"],
        user="" if user == "-" else user,
        actor=_known(match["actor"]),
        request=match["request"],
        status=int(match["status"]),
        sent=0 if sent == "-" else int(sent),
        agent=_ESCAPED.sub(_unescaped, _known(match["agent"])),
    )


def _known(text: str | None) -> str:
    return "" if text in (None, "-") else str(text)


def _unescaped(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("\\x", "")).decode(errors="replace")
