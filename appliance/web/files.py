"""Package files, their metadata (PEP 658) and signatures: all of a file, or one range."""

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import falcon

from appliance import headers
from appliance.index import names
from appliance.site.tree import Site
from appliance.web import static
from appliance.web.served import ServedIndex
from appliance.web.standin import StandIn

_UNIT_AND_RANGES = re.compile(r"bytes=(.+)", re.IGNORECASE)
_RANGE_SPEC = re.compile(r" *(?:([0-9]{1,18}) *- *([0-9]{1,18})?|-([0-9]{1,18})) *")


class Files:
    """The accepted files of one index: package files and signatures from its packages directory,
    metadata from the published tree."""

    def __init__(self, index: ServedIndex) -> None:
        self._site, self._index = Site(index.spec), index
        self._headers = headers.PACKAGE_FILE if index.is_open else headers.PRIVATE_FILE
        self._completeness = index.completeness
        self._packages = str(index.spec.indexes[index.name].packages)
        self._metadata = self._site.metadata(index.name, "").removesuffix(f"/{names.METADATA}")

    def on_get(self, req: falcon.Request, resp: falcon.Response, path: str) -> None:
        self._index.check_file(req, path)
        with self._open(path) as file:
            resp.set_headers(self._headers)
            resp.set_header("ETag", file.etag)
            with contextlib.suppress(ValueError, OverflowError):  # a year that HTTP cannot write
                resp.last_modified = datetime.fromtimestamp(file.mtime, UTC)
            if static.is_known(req, file, dated=True):
                resp.status = falcon.HTTP_304
                return

            resp.content_type = _content_type(path)
            if req.method == "HEAD":
                resp.accept_ranges, resp.content_length = "bytes", file.size
            else:
                _send(req, resp, file)

    on_head = on_get

    def _open(self, path: str) -> static.OpenFile:
        is_metadata = path.endswith(names.METADATA)
        package = path.removesuffix(names.METADATA) if is_metadata else path
        if not self._site.is_accepted(self._index.name, package):
            raise self._completeness.absent()
        if is_metadata:
            return self._completeness.open(self._metadata, path)
        return self._completeness.open(self._packages, path, beneath=True)


class FilesByDigest:
    """Files by their digest, as the index arranges them that the appliance stands in for; others
    are ``files`` by their path."""

    def __init__(self, stand_in: StandIn, files: Files) -> None:
        self._stand_in, self._first = stand_in, files
        self._files = {index.name: Files(index) for index in stand_in.indexes}

    def on_get(self, req: falcon.Request, resp: falcon.Response, path: str) -> None:
        if found := self._stand_in.find(path):
            index, path = found
            self._files[index].on_get(req, resp, path)
        else:
            self._first.on_get(req, resp, path)

    on_head = on_get


def _send(req: falcon.Request, resp: falcon.Response, file: static.OpenFile) -> None:
    """Send the file, or the range of it that is asked for."""
    byte_range = _range(req, file)
    if byte_range is None:
        resp.accept_ranges = "bytes"
        start, stop = 0, file.size
    else:
        start, stop = byte_range
        resp.status = falcon.HTTP_206
        resp.content_range = (start, stop - 1, file.size)
    resp.set_stream(file.part(start, stop - start), stop - start)


def _content_type(path: str) -> str:
    if path.endswith(names.SIGNATURE):
        return falcon.MEDIA_TEXT
    if path.endswith(names.PROVENANCE):
        return headers.PROVENANCE
    return "application/octet-stream"


def _range(req: falcon.Request, file: static.OpenFile) -> tuple[int, int] | None:
    """First byte and the byte after the last of the range to send; ``None`` for all of the file,
    also if several ranges are asked for (RFC 9110, 14.2).

    Raises HTTPRangeNotSatisfiable, as nginx does, for a malformed range or one beyond the end.
    """
    header = _UNIT_AND_RANGES.fullmatch(req.env.get("HTTP_RANGE", ""))
    if header is None or not file.size or not _is_unchanged(req.env.get("HTTP_IF_RANGE"), file):
        return None
    ranges = list(_satisfiable(header[1], file.size))
    if not ranges:
        raise falcon.HTTPRangeNotSatisfiable(file.size)
    return ranges[0] if len(ranges) == 1 else None


def _satisfiable(ranges: str, size: int) -> Iterator[tuple[int, int]]:
    for text in ranges.split(","):
        match = _RANGE_SPEC.fullmatch(text)
        if match is None:
            raise falcon.HTTPRangeNotSatisfiable(size)

        first, last, suffix = match.groups()
        if suffix:
            start, stop = max(size - int(suffix), 0), size
        else:
            start, stop = int(first), min(int(last) + 1, size) if last else size
        if start < stop:
            yield start, stop


def _is_unchanged(validator: str | None, file: static.OpenFile) -> bool:
    """Whether the file is the one that If-Range names, or none is named (RFC 9110, 13.1.5)."""
    if validator is None:
        return True
    if validator.endswith('"'):
        return validator == file.etag
    return static.seconds(validator) == file.mtime
