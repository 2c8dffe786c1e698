"""Core metadata (METADATA, PKG-INFO), within bounds: the one place that reads it.

:mod:`packaging.metadata` parses the fields. It has no bounds, and leaves out fields that are
repeated though they must not be: both are added here. Of a repeated field the first value counts,
as for installers.
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
# The largest of 967 common wheels: 80 kB of fields in 1,383 lines, nearly all of it the
# license; 20 different fields, 75 kB of License, 0.5 kB of any other. Before Metadata 2.1 the
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
        fields: The fields that packaging returns.
        others: The values of other fields, by their names in lower case: of unknown ones, and of
            those that are repeated though they must not be.
        body: The text after the fields, which is the description.
        is_utf8: Whether the bytes are UTF-8, as the standard requires.
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
        """A field of one value on one line; ``None`` also for an empty one and for UNKNOWN, which
        old tools write instead. Raises :class:`Rejected` if it has control characters."""
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
    """The core metadata in ``raw``; errors call it ``source``.

    Raises :class:`Rejected`, naming the field, for more than the bounds allow. They bound the text
    on pages and the time to parse it.
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
        for text in values:
            if isinstance(text, str):  # with an absurd Content-Type they are parts of a mail
                yield name.replace("_", "-"), text


def _spelled(name: str) -> str:
    return name.replace("_", "-").title()


def _split(raw: bytes, source: str) -> tuple[bytes, bytes]:
    """The fields and the body, which an empty line separates."""
    gap = _BODY.search(raw)
    headers, body = (raw[: gap.start()], raw[gap.end() :]) if gap else (raw, b"")
    if len(headers) > MAX_HEADERS:
        raise Rejected(f"its {source} has more than {MAX_HEADERS // MIB} MiB of fields")
    if headers.count(b"\n") + headers.count(b"\r") > MAX_LINES:
        raise Rejected(f"its {source} has more than {MAX_LINES:,} lines of fields")
    return headers, body
