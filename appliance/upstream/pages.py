"""Project lists, project pages and pages of links, read into values: JSON (PEP 691, 700, 714, 740,
792) and HTML (PEP 503, 592, 658)."""

import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.spec.faults import quoted
from appliance.upstream import unreadable, urls
from appliance.upstream.model import RemoteFile, RemoteIndex, RemoteProject

JSON = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_JSON_TYPES = (JSON, "application/vnd.pypi.simple.latest+json", "application/json")
_HTML_TYPES = (
    "application/vnd.pypi.simple.v1+html",
    "application/vnd.pypi.simple.latest+html",
    "text/html",
    "application/xhtml+xml",
)
_FRAGMENT = re.compile("[#&](sha512|sha384|sha256|sha224|sha1|md5)=([0-9a-fA-F]+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse(name: str, content: bytes, content_type: str, url: str, index: str) -> RemoteProject:
    """The project ``name`` from the page at ``url``.

    Raises :class:`UpstreamError` for a page that is no project page of the simple API 1.x.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _JSON_TYPES:
        return _parse_json(name, content, url, index)
    if kind in _HTML_TYPES:
        return _parse_html(name, content, content_type, url, index)
    got = quoted(kind) if kind else "none"
    raise unreadable.error_at(
        url, f"expected a content type such as {JSON} or text/html, got {got}"
    )


def parse_list(content: bytes, url: str) -> RemoteIndex:
    """The project list in JSON from the page at ``url``.

    Raises :class:`UpstreamError` for a page that is no project list of the simple API 1.x.
    """
    try:
        page = _List.model_validate_json(content)
    except ValidationError as invalid:
        raise unreadable.error_at(url, unreadable.problem_of(invalid, "a project list")) from None
    unreadable.check_version(page.meta.version, url)
    return RemoteIndex(page.meta.version, tuple(project.name for project in page.projects))


def links(content: bytes, content_type: str, url: str) -> tuple[RemoteFile, ...]:
    """The files of an HTML page of links."""
    return _parse_html("", content, content_type, url, url).files


# --- JSON ----------------------------------------------------------------------------------------


class _Lenient(BaseModel):
    """Unknown keys are permitted (PEP 629), other types than stated are not."""

    model_config = ConfigDict(strict=True, frozen=True)


class _Meta(_Lenient):
    version: Annotated[str, Field(alias="api-version")]


class _Status(_Lenient):
    status: str = "active"


_Hashes = dict[str, str]


class _File(_Lenient):
    filename: str
    url: str
    hashes: _Hashes
    size: Annotated[int, Field(ge=0)] | None = None
    requires_python: Annotated[str | None, Field(alias="requires-python")] = None
    yanked: bool | str | None = None
    upload_time: Annotated[datetime | None, Field(alias="upload-time", strict=False)] = None
    core_metadata: Annotated[bool | _Hashes | None, Field(alias="core-metadata")] = None
    old_metadata: Annotated[bool | _Hashes | None, Field(alias="dist-info-metadata")] = None
    provenance: str | None = None


class _Page(_Lenient):
    meta: _Meta
    files: tuple[_File, ...]
    status: Annotated[_Status, Field(alias="project-status")] = _Status()


class _Listed(_Lenient):
    name: str


class _List(_Lenient):
    meta: _Meta
    projects: tuple[_Listed, ...]


class _Versioned(_Lenient):
    """The part of a page that every version has (PEP 629)."""

    meta: _Meta


def _parse_json(name: str, content: bytes, url: str, index: str) -> RemoteProject:
    try:
        page = _Page.model_validate_json(content)
    except ValidationError as invalid:
        with contextlib.suppress(ValidationError):
            unreadable.check_version(_Versioned.model_validate_json(content).meta.version, url)
        raise unreadable.error_at(url, unreadable.problem_of(invalid, "a project page")) from None
    unreadable.check_version(page.meta.version, url)
    files = tuple(_remote(file, url, index) for file in page.files)
    return RemoteProject(name, files, page.status.status)


def _remote(file: _File, url: str, index: str) -> RemoteFile:
    metadata = file.core_metadata if file.core_metadata is not None else file.old_metadata
    hashes = metadata if isinstance(metadata, dict) else {}
    return RemoteFile(
        filename=file.filename,
        url=unreadable.link(url, file.url),
        hashes=_lower(file.hashes),
        size=file.size,
        requires_python=file.requires_python or None,
        yanked=_yanked(file.yanked),
        upload_time=None if file.upload_time is None else _microseconds(file.upload_time),
        has_metadata=metadata is True or bool(hashes),
        metadata_hashes=_lower(hashes),
        provenance=_provenance(url, file.provenance),
        index=index,
    )


def _provenance(base: str, link: str | None) -> str | None:
    """The URL of a provenance. PEP 740 wants it in full, and not every index does that."""
    try:
        return urls.absolute(base, link) if link else None
    except ValueError:
        return None  # a file is more than its provenance


def _yanked(value: bool | str | None) -> str | None:
    """The reason: ``""`` for a yank without one, ``None`` without a yank."""
    return value if isinstance(value, str) else "" if value else None


def _microseconds(time: datetime) -> int:
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def _lower(hashes: Mapping[str, str]) -> dict[str, str]:
    return {algorithm.lower(): digest.lower() for algorithm, digest in hashes.items()}


# --- HTML ----------------------------------------------------------------------------------------


def _parse_html(
    name: str, content: bytes, content_type: str, url: str, index: str
) -> RemoteProject:
    charset = re.search(r"charset=[\"']?([\w-]+)", content_type, re.I)
    try:
        text = content.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        text = content.decode("utf-8", "replace")
    reader = _Reader(url, index)
    reader.feed(text)
    reader.close()
    if version := reader.meta.get("pypi:repository-version"):
        unreadable.check_version(version, url)
    return RemoteProject(
        name, tuple(reader.files), reader.meta.get("pypi:project-status", "active")
    )


class _Reader(HTMLParser):
    """Collects the links and the ``pypi:`` values of a page."""

    def __init__(self, url: str, index: str) -> None:
        super().__init__()
        self._base, self._has_base, self._index = url, False, index
        self.files: list[RemoteFile] = []
        self.meta: dict[str, str] = {}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(reversed(attributes))  # the first of several counts
        match tag:
            case "base" if values.get("href") and not self._has_base:
                self._base = unreadable.link(self._base, values["href"] or "")
                self._has_base = True
            case "meta" if values.get("name") and values.get("content"):
                self.meta.setdefault(values["name"] or "", values["content"] or "")
            case "a" if values.get("href"):
                self._add(values["href"] or "", values)

    def _add(self, link: str, values: Mapping[str, str | None]) -> None:
        try:
            url = urls.absolute(self._base, link)
        except ValueError:
            return  # mailto: and others
        metadata = values.get("data-core-metadata", values.get("data-dist-info-metadata"))
        has_metadata = metadata is not None and metadata.lower() != "false"
        self.files.append(
            RemoteFile(
                filename=urls.filename(url),
                url=url,
                hashes=_digest("".join(link.partition("#")[1:])),
                requires_python=values.get("data-requires-python") or None,
                yanked=(values["data-yanked"] or "") if "data-yanked" in values else None,
                has_metadata=has_metadata,
                metadata_hashes=_digest(f"#{metadata}") if has_metadata else {},
                provenance=_provenance(self._base, values.get("data-provenance")),
                index=self._index,
            )
        )


def _digest(fragment: str) -> dict[str, str]:
    """The digest in a fragment, as pip reads it."""
    match = _FRAGMENT.search(fragment)
    return {match[1]: match[2].lower()} if match else {}
