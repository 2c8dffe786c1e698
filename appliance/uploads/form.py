"""Forms of upload clients (multipart/form-data, RFC 7578), parsed as they arrive.

The file goes to a sink, the few fields that matter are kept, all others are only counted: no size
of a form changes how much memory it takes.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from appliance.text import printable
from appliance.uploads.refused import Refused

FORM = "multipart/form-data"
LARGEST_FIELDS = 1 << 24
"""Limit in bytes of all parts of a form but the file."""

_PARTS = 10_000  # a project with all classifiers and many requirements has a tenth of it
_FIELD = 1 << 12
_ATTESTATIONS = 1 << 20
_SIGNATURE = 1 << 16
_FIRST_LINE = 1 << 10
_LONGEST_BOUNDARY = 200
# The name of a file part, and the fields that are kept; distutils of Python 2.7 misspells one.
_CONTENT = "content"
_KEPT = {
    **dict.fromkeys((":action", "protocol_version", "protcol_version"), _FIELD),
    **dict.fromkeys(("name", "version", "filetype", "requires_python"), _FIELD),
    **dict.fromkeys(("md5_digest", "sha256_digest", "blake2_256_digest"), _FIELD),
    "attestations": _ATTESTATIONS,
    "gpg_signature": _SIGNATURE,
}
_ABSENT = ("", "UNKNOWN")  # distutils writes the latter for a missing value


class Sink(Protocol):
    """Receiver of the bytes of the file in a form."""

    def write(self, data: bytes) -> None:
        """Take the next bytes. May raise :class:`Refused` or ``OSError``."""


@dataclass(frozen=True, slots=True)
class Form:
    """A complete form: its ``fields`` without empty ones, and the name of its file, if any."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None

    def get(self, name: str) -> str | None:
        """Return a field; ``None`` if it is missing or has no value."""
        return self.fields.get(name)

    @property
    def action(self) -> str:
        return self.fields.get(":action", "")


class FormReader:
    """Parser of one form with the given Content-Type, whose file goes to ``sink``.

    Raises :class:`Refused` for what is no such form, or exceeds a limit.
    """

    def __init__(self, content_type: str, sink: Sink) -> None:
        self._boundary = _boundary(content_type)
        self._sink = sink
        self._parser = PushMultipartParser(self._boundary, max_segment_count=_PARTS)
        self._beginning: bytes | None = b""  # until the first boundary
        self._has_bare_newlines = False
        self._fields: dict[str, bytearray] = {}
        self._filename: str | None = None
        self._part: MultipartSegment | None = None
        self._remaining = LARGEST_FIELDS

    def feed(self, data: bytes) -> None:
        """Parse the next bytes."""
        if self._beginning is not None:
            self._beginning += data
            if not self._has_first_line(self._beginning):
                return
            data, self._beginning = self._beginning, None
        if self._has_bare_newlines:
            data = _with_line_ends(data)
        self._parse(data)

    def finish(self) -> Form:
        """Return the form. Raises :class:`Refused` if it is not complete."""
        if self._beginning is not None or not self._parser.closed:
            self._end()
        texts = {name: _text(name, raw) for name, raw in self._fields.items()}
        fields = {name: text for name, text in texts.items() if text not in _ABSENT}
        return Form(fields, self._filename)

    def _end(self) -> None:
        try:
            self._parser.close()
        except MultipartError as error:
            raise _malformed(error) from None

    def _has_first_line(self, data: bytes) -> bool:
        """Return whether the line of the first boundary is there, and note how it ends: `setup.py
        register` ends lines with LF. It is searched for in as many bytes, however many arrive."""
        start = data.find(b"--" + self._boundary, 0, _FIRST_LINE)
        end = data.find(b"\n", start, _FIRST_LINE) if start >= 0 else -1
        if end < 0:
            if len(data) >= _FIRST_LINE:
                raise Refused(400, "The form does not begin with its boundary")
            return False
        self._has_bare_newlines = data[end - 1 : end] != b"\r"
        return True

    def _parse(self, data: bytes) -> None:
        try:
            for event in self._parser.parse(data) if data else ():
                self._take(event)
        except MultipartError as error:
            raise _malformed(error) from None

    def _take(self, event: Any) -> None:
        """Take a part's beginning, the bytes in it, or its end (``None``)."""
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is not None and self._part is not None:
            self._add(self._part.name, bytes(event))

    def _begin(self, part: MultipartSegment) -> None:
        self._part = part
        self._count(sum(len(name) + len(value) for name, value in part.headerlist))
        if part.name == _CONTENT and part.filename is not None:
            if self._filename is not None:
                raise Refused(400, "The form has two files")
            if self._has_bare_newlines:
                raise Refused(400, "The form has a file, and lines that end with LF")
            self._filename = part.filename
        elif part.name in _KEPT:
            if part.name in self._fields:
                raise Refused(400, f"The form has two fields named {part.name}")
            self._fields[part.name] = bytearray()

    def _add(self, name: str, data: bytes) -> None:
        if self._part is not None and name == _CONTENT and self._part.filename is not None:
            self._sink.write(data)
            return
        self._count(len(data))
        if name in self._fields:
            self._fields[name] += data
            if len(self._fields[name]) > _KEPT[name]:
                raise Refused(400, f"The field {name} is longer than {_KEPT[name]} bytes")

    def _count(self, size: int) -> None:
        self._remaining -= size
        if self._remaining < 0:
            raise Refused(400, f"The fields of the form have more than {LARGEST_FIELDS} bytes")


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary: bytes = options.get("boundary", "").encode("latin-1", "replace")
    if kind != FORM or not 0 < len(boundary) <= _LONGEST_BOUNDARY or b"\n" in boundary:
        raise Refused(400, f"Expected a form ({FORM}) with a boundary, as upload clients send it")
    return boundary


def _with_line_ends(data: bytes) -> bytes:
    return data.replace(b"\r", b"").replace(b"\n", b"\r\n")


def _text(name: str, raw: bytearray) -> str:
    """Return a field as text; a signature with a character for each byte, as it is kept."""
    if name == "gpg_signature":
        return raw.decode("latin-1")
    text = raw.decode("utf-8", "replace").strip()
    return text if name == "attestations" else printable(text)


def _malformed(error: MultipartError) -> Refused:
    return Refused(400, f"The form is malformed or incomplete: {error}")
