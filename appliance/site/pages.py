"""Rendering of a project as HTML and JSON, and what project lists share with it; pure functions.

Simple repository API 1.4: PEP 503, 592, 629, 658 with 714, 691, 700, 740, 792. Both forms are
rendered from one value and carry the same facts, as far as HTML has attributes for them.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from appliance.index.model import File, Project
from appliance.index.names import PROVENANCE
from appliance.site.tree import PAGES, STAND_IN_PAGES

API_VERSION = "1.4"
# Increment it when pages, or the tree around them, change: then the whole tree is written again.
PAGE_FORMAT = 2

_Files = list[tuple[File, str]]  # each with its URL

_SAFE = "/!~"  # in paths of URLs
_LEVEL = 6
_GZIP = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # without a time and a name
_LAST = zlib.compress(b"", _LEVEL, -zlib.MAX_WBITS)
_EPOCH = datetime(1970, 1, 1)  # UTC, as all that follows
_SPECIAL = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"})
environment = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
)
_PROJECT = environment.from_string(
    """\
<!DOCTYPE html>
<html lang="en"><!--SERIAL {{ project.serial }}-->
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="{{ version }}">
<meta name="pypi:project-status" content="{{ project.status }}">
{% if project.status_reason %}
<meta name="pypi:project-status-reason" content="{{ project.status_reason }}">
{% endif %}
<title>Links for {{ project.name }}</title>
</head>
<body>
<h1>Links for {{ project.name }}</h1>
{{ links }}</body>
</html>
"""
)


def project_pages(project: Project, packages: str) -> dict[str, bytes]:
    """Return the four files of a project's page by name (see :data:`tree.PAGES`).

    ``packages`` is the URL of the packages directory, relative to the page, ending in ``/``.
    """
    files = [(file, file_url(packages, file)) for file in project.offered]
    return variants([part(_project_html(project, files))], [part(_project_json(project, files))])


def stand_in_pages(project: Project, files: str) -> dict[str, bytes]:
    """Return the same files as they are in the index that the appliance stands in for: by the names
    of :data:`tree.STAND_IN_PAGES`, with URLs by digest below the URL ``files``."""
    links = [(file, files + quote(file.digest_path, safe=_SAFE)) for file in project.offered]
    contents = variants(
        [part(_project_html(project, links))], [part(_project_json(project, links))]
    )
    return dict(zip(STAND_IN_PAGES, contents.values(), strict=True))


def upload_time(file: File) -> str:
    """Return the upload time in the form of PEP 700: UTC, six digits, ``Z``."""
    time = _EPOCH + timedelta(microseconds=file.upload_time)
    return f"{time.isoformat(timespec='microseconds')}Z"


def file_url(packages: str, file: File) -> str:
    """Return the URL of a file; ``+`` is encoded, since some clients decode it to a space."""
    return packages + quote(file.path, safe=_SAFE)


def _project_html(project: Project, files: _Files) -> bytes:
    signed = any(file.signature for file, _ in files)
    links = Markup("".join(_link(file, url, signed) for file, url in files))  # noqa: S704
    return _PROJECT.render(project=project, links=links, version=API_VERSION).encode()


def _link(file: File, url: str, signed: bool) -> str:
    """Return a file's line. Without a template, since there may be tens of thousands."""
    marks = ""
    if file.requires_python is not None:
        marks += f' data-requires-python="{escape(file.requires_python)}"'
    if file.core_metadata is not None:
        marks += f' data-core-metadata="sha256={escape(file.core_metadata)}"'
    if file.yanked is not None:
        marks += f' data-yanked="{escape(file.yanked)}"'
    if signed:
        marks += f' data-gpg-sig="{"true" if file.signature else "false"}"'
    if file.provenance:
        marks += f' data-provenance="{escape(url + PROVENANCE)}"'
    link = f"{escape(url)}#sha256={escape(file.sha256)}"
    return f'<a href="{link}"{marks}>{escape(file.filename)}</a><br>\n'


def escape(text: str) -> str:
    """Return text for HTML, as the templates escape it."""
    return text.translate(_SPECIAL)


def _project_json(project: Project, files: _Files) -> bytes:
    status = {"status": project.status}
    if project.status_reason:
        status["reason"] = project.status_reason
    body = {
        "meta": {"api-version": API_VERSION, "_last-serial": project.serial},
        "name": project.name,
        "project-status": status,
        "versions": project.versions,
        "files": [_file_json(file, url) for file, url in files],
    }
    return dump(body)


def _file_json(file: File, url: str) -> dict[str, Any]:
    """Return a file's entry, without unknown values: uv rejects a page with nulls."""
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": url,
        "hashes": {"sha256": file.sha256},
        "size": file.size,
        "upload-time": upload_time(file),
        "yanked": False if file.yanked is None else file.yanked or True,
    }

    if file.requires_python is not None:
        entry["requires-python"] = file.requires_python
    if file.core_metadata is not None:
        entry["core-metadata"] = {"sha256": file.core_metadata}
    if file.signature:
        entry["gpg-sig"] = True
    if file.provenance:
        entry["provenance"] = url + PROVENANCE
    return entry


def dump(body: Any) -> bytes:
    """Return JSON without spaces, as all pages have it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


class Part(NamedTuple):
    """Bytes of a page, and the same deflated: parts one after the other are one gzip file."""

    plain: bytes
    deflated: bytes


def part(plain: bytes) -> Part:
    """Return bytes of a page as a part."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Part(plain, compressor.compress(plain) + compressor.flush(zlib.Z_FULL_FLUSH))


_LINE_END = part(b"\n")


def variants(html: Sequence[Part], body: Sequence[Part]) -> dict[str, bytes]:
    """Return the forms of one page by the names of :data:`tree.PAGES`, no two of the same size: all
    have one mtime, and nginx makes the ETag of size and mtime, which must differ between
    representations (RFC 9110). An additional newline at its end changes neither document."""
    while True:
        contents = (*_joined(html), *_joined(body))
        sizes = [len(content) for content in contents]
        if len(set(sizes)) == len(sizes):
            return dict(zip(PAGES, contents, strict=True))
        html = [*html, _LINE_END]
        if sizes[2] == sizes[3]:
            body = [*body, _LINE_END]


def _joined(parts: Sequence[Part]) -> tuple[bytes, bytes]:
    """Return a page, and the same compressed (RFC 1952)."""
    plain = b"".join(each.plain for each in parts)
    end = struct.pack("<LL", zlib.crc32(plain), len(plain) & 0xFFFFFFFF)
    return plain, b"".join([_GZIP, *(each.deflated for each in parts), _LAST, end])
