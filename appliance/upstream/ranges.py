"""Ranges of bytes (RFC 9110, 14)."""

import re
from collections.abc import Mapping
from typing import NamedTuple

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)\Z")


class Range(NamedTuple):
    """The bytes of a file from ``start`` to before ``stop``, and its ``size``; each ``None`` if the
    server does not say."""

    start: int | None = None
    stop: int | None = None
    size: int | None = None


def span(start: int, stop: int | None = None) -> str:
    """The header Range for bytes from ``start`` on, to before ``stop`` if there is one."""
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"


def content_range(headers: Mapping[str, str]) -> Range:
    """Read the header Content-Range of a response with status 206 or 416."""
    match = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
    if match is None:
        return Range()
    start, last, size = (int(text) if text and text != "*" else None for text in match.groups())
    return Range(start, None if last is None else last + 1, size)
