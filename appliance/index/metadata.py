"""Core metadata (METADATA, PKG-INFO), within bounds: the one place that parses it."""

import re
from dataclasses import dataclass
from email.parser import HeaderParser

from appliance.errors import Refused
from appliance.text import has_controls

MIB = 1024 * 1024
MAX_METADATA = 8 * MIB
# The largest of 967 wheels that people use: 80 kB of fields in 1,383 lines, nearly all of it the
# licence; 20 different fields, 75 kB of License, 0.5 kB of any other. Before Metadata 2.1 the
# description was a field, too.
MAX_HEADERS = 1 * MIB
MAX_LINES = 20_000
MAX_NAMES = 100
MAX_FIELD = 64 * 1024
_LIMITS = {"requires-python": 256, "description": MAX_HEADERS, "license": MAX_HEADERS}
_BODY = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class CoreMetadata:
    """Fields by their names in lower case, each with its values in order, and the description.
    ``is_utf8`` is whether the bytes are what the standard wants."""

    fields: dict[str, list[str]]
    description: str
    is_utf8: bool

    def get(self, name: str) -> str | None:
        """One field on one line; empty and UNKNOWN are what old tools write for nothing. Raises
        :class:`Refused` if it has control characters."""
        text = " ".join(self.fields.get(name.lower(), ("",))[0].split())
        if has_controls(text):
            raise Refused(f"control characters in the metadata field {name}")
        return None if text in ("", "UNKNOWN") else text

    def all(self, name: str) -> list[str]:
        return self.fields.get(name.lower(), [])


def parse(raw: bytes, source: str = "METADATA") -> CoreMetadata:
    """Take the fields of ``raw`` apart as installers do, with the standard library's parser.

    Raises :class:`Refused`, naming the field, for more than anybody writes: what is shown on a
    page is bounded here, and so is the time that it takes. ``source`` is what errors call it.
    """
    headers, body = _split(raw, source)
    try:
        text, is_utf8 = headers.decode(), True
        description = body.decode()
    except UnicodeDecodeError:
        text, description = headers.decode("utf-8", "replace"), body.decode("utf-8", "replace")
        is_utf8 = False
    message = HeaderParser().parsestr(text)
    fields: dict[str, list[str]] = {}
    for name, value in message.raw_items():
        key = name.lower()
        fields.setdefault(key, []).append(value)
        if len(value) > _LIMITS.get(key, MAX_FIELD):
            limit = f"{_LIMITS.get(key, MAX_FIELD):,}"
            raise Refused(
                f"the field {name[:40]} of its {source} is longer than {limit} characters"
            )
    if len(fields) > MAX_NAMES:
        raise Refused(f"its {source} has more than {MAX_NAMES} different fields")
    # Where the fields end by another rule than ours, what follows is the description, too.
    return CoreMetadata(fields, str(message.get_payload()) + description, is_utf8)


def _split(raw: bytes, source: str) -> tuple[bytes, bytes]:
    """The fields and what follows the first empty line."""
    found = _BODY.search(raw)
    headers, body = (raw[: found.start()], raw[found.end() :]) if found else (raw, b"")
    if len(headers) > MAX_HEADERS:
        raise Refused(f"its {source} has more than {MAX_HEADERS // MIB} MiB of fields")
    if headers.count(b"\n") + headers.count(b"\r") > MAX_LINES:
        raise Refused(f"its {source} has more than {MAX_LINES:,} lines of fields")
    return headers, body
