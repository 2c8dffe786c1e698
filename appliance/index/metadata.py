"""Core metadata (METADATA, PKG-INFO), within bounds: the one place that reads it.

:mod:`packaging.metadata` takes the fields apart. Ours are the bounds, which it has none of, and
what becomes of a field that may be there only once and is there more often, which it leaves out: as
for installers, its first value counts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from packaging.metadata import parse_email

from appliance.errors import Rejected
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
    """The fields of a release, by the names that :class:`packaging.metadata.RawMetadata` has.

    Attributes:
        fields: What packaging reads.
        others: The values of other fields, by their names in lower case: of unknown ones, and of
            those that are repeated though they must not be.
        body: What follows the fields, which is the description.
        is_utf8: Whether the bytes are what the standard wants.
    """

    fields: dict[str, Any]
    others: dict[str, list[str]]
    body: str
    is_utf8: bool

    def text(self, name: str) -> str | None:
        """A field of one value, as it stands there."""
        value = self.fields.get(name)
        if value is None:
            value = next(iter(self.others.get(name.replace("_", "-"), ())), None)
        return value if isinstance(value, str) else None

    def line(self, name: str) -> str | None:
        """The same on one line; empty and UNKNOWN are what old tools write for nothing. Raises
        :class:`Rejected` if it has control characters."""
        line = " ".join((self.text(name) or "").split())
        if has_controls(line):
            raise Rejected(f"control characters in the metadata field {_spelled(name)}")
        return None if line in ("", "UNKNOWN") else line

    def texts(self, name: str) -> list[str]:
        """All values of a field that may have many."""
        return list(self.fields.get(name, ()))

    @property
    def description(self) -> str:
        """The description, which once was a field. Where the fields end by another rule than ours,
        it begins with the rest of them."""
        return (self.text("description") or "") + self.body

    @property
    def project_urls(self) -> dict[str, str]:
        """URLs by their labels."""
        pairs = (text.partition(",") for text in self.others.get("project-url", ()))
        repeated = {label.strip(): url.strip() for label, _, url in pairs}
        return repeated or dict(self.fields.get("project_urls", {}))


def parse(raw: bytes, source: str = "METADATA") -> CoreMetadata:
    """Take the fields of ``raw`` apart.

    Raises :class:`Rejected`, naming the field, for more than anybody writes: what is shown on a
    page is bounded here, and so is the time that it takes. ``source`` is what errors call it.
    """
    headers, body = _split(raw, source)
    try:
        text, is_utf8 = headers.decode(), True
        description = body.decode()
    except UnicodeDecodeError:
        text, description = headers.decode("utf-8", "replace"), body.decode("utf-8", "replace")
        is_utf8 = False

    fields, others = parse_email(text)
    metadata = CoreMetadata(dict(fields), others, description, is_utf8)
    _check(metadata, source)
    return metadata


def _check(metadata: CoreMetadata, source: str) -> None:
    for name, value in _values(metadata):
        limit = _LIMITS.get(name, MAX_FIELD)
        if len(value) > limit:
            field = f"the field {_spelled(name)[:40]} of its {source}"
            raise Rejected(f"{field} is longer than {limit:,} characters")
    if len(metadata.fields) + len(metadata.others) > MAX_NAMES:
        raise Rejected(f"its {source} has more than {MAX_NAMES} different fields")


def _values(metadata: CoreMetadata) -> Iterator[tuple[str, str]]:
    """Each value with the name of its field in lower case."""
    for name, value in (*metadata.fields.items(), *metadata.others.items()):
        values = [value] if isinstance(value, str) else value
        if isinstance(value, dict):
            values = [*value, *value.values()]
        for each in values:
            if isinstance(each, str):  # of a Content-Type that nobody has: parts of a mail
                yield name.replace("_", "-"), each


def _spelled(name: str) -> str:
    return name.replace("_", "-").title()


def _split(raw: bytes, source: str) -> tuple[bytes, bytes]:
    """The fields and what follows the first empty line."""
    found = _BODY.search(raw)
    headers, body = (raw[: found.start()], raw[found.end() :]) if found else (raw, b"")
    if len(headers) > MAX_HEADERS:
        raise Rejected(f"its {source} has more than {MAX_HEADERS // MIB} MiB of fields")
    if headers.count(b"\n") + headers.count(b"\r") > MAX_LINES:
        raise Rejected(f"its {source} has more than {MAX_LINES:,} lines of fields")
    return headers, body
