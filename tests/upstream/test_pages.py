"""Project pages: what is read from good ones, and messages about broken ones."""

import json
from collections.abc import Mapping
from typing import Any

import pypi_simple
import pytest

from appliance.upstream import RemoteFile, UpstreamError
from appliance.upstream.pages import parse

URL = "https://index.example/simple/foo/"
JSON = "application/vnd.pypi.simple.v1+json"
DIGEST = "ab" * 32
FILE: dict[str, Any] = {"filename": "foo-1.0.tar.gz", "url": "foo-1.0.tar.gz", "hashes": {}}


def page(*files: object, **others: object) -> bytes:
    return json.dumps({"meta": {"api-version": "1.4"}, "files": files, **others}).encode()


def test_json_page_is_read() -> None:
    """All fields of the simple API are read from JSON."""
    file = FILE | {
        "filename": "foo-1.0-py3-none-any.whl",
        "url": "../../files/foo%2B1.whl",
        "hashes": {"SHA256": DIGEST.upper()},
        "size": 7,
        "requires-python": ">=3.8",
        "yanked": "broken",
        "upload-time": "2020-09-13T12:26:40.123456Z",
        "core-metadata": {"sha256": DIGEST},
        "provenance": "https://index.example/p",
        "unknown": [1],
    }
    content = page(file, **{"project-status": {"status": "archived", "reason": "old"}})
    project = parse("foo", content, JSON, URL, "https://index.example/simple/")
    assert project.status == "archived"
    assert project.files == (
        RemoteFile(
            filename="foo-1.0-py3-none-any.whl",
            url="https://index.example/files/foo%2B1.whl",
            hashes={"sha256": DIGEST},
            size=7,
            requires_python=">=3.8",
            yanked="broken",
            upload_time=1_600_000_000_123_456,
            has_metadata=True,
            metadata_hashes={"sha256": DIGEST},
            provenance="https://index.example/p",
            index="https://index.example/simple/",
        ),
    )


# (fields of JSON, attributes)
OPTIONAL: list[tuple[Mapping[str, object], Mapping[str, object]]] = [
    ({}, {"yanked": None, "has_metadata": False, "size": None, "upload_time": None}),
    ({"yanked": True}, {"yanked": ""}),
    ({"yanked": False}, {"yanked": None}),
    ({"yanked": ""}, {"yanked": ""}),
    ({"core-metadata": True}, {"has_metadata": True, "metadata_hashes": {}}),
    ({"dist-info-metadata": {"sha256": DIGEST}}, {"metadata_hashes": {"sha256": DIGEST}}),
    ({"core-metadata": False, "dist-info-metadata": True}, {"has_metadata": False}),
    ({"requires-python": None, "size": None, "provenance": None}, {"requires_python": None}),
    ({"upload-time": "2020-09-13T12:26:40"}, {"upload_time": 1_600_000_000_000_000}),
    ({"url": "https://u:p@f.example/x#sha256=1"}, {"url": "https://u:p@f.example/x"}),
    ({"url": "https://f.example/a b"}, {"url": "https://f.example/a%20b"}),
]


@pytest.mark.parametrize(("fields", "attributes"), OPTIONAL)
def test_optional_fields_are_read(
    fields: Mapping[str, object], attributes: Mapping[str, object]
) -> None:
    """Optional fields of JSON have the values of the simple API."""
    (file,) = parse("foo", page({**FILE, **fields}), JSON, URL, "").files
    assert {name: getattr(file, name) for name in attributes} == attributes


BROKEN: list[tuple[bytes, str, str]] = [
    (b"", JSON, "not JSON: Invalid JSON: EOF while parsing a value at line 1 column 0"),
    (b"{", JSON, "not JSON: Invalid JSON: EOF while parsing an object at line 1 column 1"),
    (b"[]", JSON, "not JSON: expected an object, got a list"),
    (b"{}", JSON, "not a project page: meta: missing"),
    (b'{"meta": {}}', JSON, "not a project page: meta.api-version: missing"),
    (b'{"meta": {"api-version": "1.0"}}', JSON, "not a project page: files: missing"),
    (
        b'{"meta": {"api-version": "2.0"}}',
        JSON,
        "expected version 1.x of the simple API, got '2.0'",
    ),
    (
        page(meta={"api-version": 1.0}),
        JSON,
        "not a project page: meta.api-version: expected a valid string, got '1.0'",
    ),
    (page("foo"), JSON, "not a project page: files[0]: expected an object, got 'foo'"),
    (page(FILE, {}), JSON, "not a project page: files[1].filename: missing"),
    (
        page(FILE | {"size": "7"}),
        JSON,
        "not a project page: files[0].size: expected a valid integer, got '7'",
    ),
    (
        page(FILE | {"size": -1}),
        JSON,
        "not a project page: files[0].size: expected greater than or equal to 0, got '-1'",
    ),
    (
        page(FILE | {"hashes": {"sha256": 7}}),
        JSON,
        "not a project page: files[0].hashes.sha256: expected a valid string, got '7'",
    ),
    (
        page(FILE | {"upload-time": "soon"}),
        JSON,
        "not a project page: files[0].upload-time: expected a valid datetime or date, input is too"
        " short, got 'soon'",
    ),
    (
        page(FILE | {"url": "mailto:x"}),
        JSON,
        "expected a link to http://, https:// or file:// and a host, got 'mailto:x'",
    ),
    (
        page(FILE | {"url": "file:///etc/foo-1.0.tar.gz"}),
        JSON,
        "expected a link to http:// or https://, got 'file:///etc/foo-1.0.tar.gz'",
    ),
    (b"x", "text/plain", f"expected a content type such as {JSON} or text/html, got 'text/plain'"),
    (b"x", "", f"expected a content type such as {JSON} or text/html, got none"),
    (
        b'<meta name="pypi:repository-version" content="2.0">',
        "text/html",
        "expected version 1.x of the simple API, got '2.0'",
    ),
    (
        b'<base href="mailto:x">',
        "text/html",
        "expected a link to http://, https:// or file:// and a host, got 'mailto:x'",
    ),
]


@pytest.mark.parametrize(("content", "content_type", "problem"), BROKEN)
def test_broken_page_is_reported(content: bytes, content_type: str, problem: str) -> None:
    """A broken page is an error with its URL and what is wrong."""
    with pytest.raises(UpstreamError) as caught:
        parse("foo", content, content_type, URL, "")
    assert str(caught.value) == f"{URL}: {problem}; check the URL of the index"


HTML = f"""<!DOCTYPE html><html><head>
<meta name="pypi:repository-version" content="1.4">
<meta name="pypi:project-status" content="deprecated">
<base href="https://files.example/a/">
</head><body>
<a href="foo-1.0.tar.gz#sha256={DIGEST}" data-requires-python="&gt;=3.8">foo-1.0.tar.gz</a>
<a href="foo-1.1-py3-none-any.whl#md5={"cd" * 16}" data-yanked="bad &amp; old"
   data-core-metadata="sha256={DIGEST}">foo-1.1-py3-none-any.whl</a>
<a href="/b/foo-1.2%2Bx-py3-none-any.whl" data-yanked data-dist-info-metadata="true">any text</a>
<a href="foo-1.3-py3-none-any.whl" data-core-metadata="false">foo-1.3-py3-none-any.whl</a>
<a href="mailto:x">mail</a> <a href="file:///foo-1.4.tar.gz">local</a> <a>nothing</a> <p>unclosed
"""


def test_html_page_is_read() -> None:
    """Links, attributes, the base and the status are read from HTML."""
    project = parse("foo", HTML.encode(), "text/html; charset=utf-8", URL, "")
    assert project.status == "deprecated"
    assert project.files == (
        RemoteFile(
            "foo-1.0.tar.gz",
            "https://files.example/a/foo-1.0.tar.gz",
            {"sha256": DIGEST},
            requires_python=">=3.8",
        ),
        RemoteFile(
            "foo-1.1-py3-none-any.whl",
            "https://files.example/a/foo-1.1-py3-none-any.whl",
            {"md5": "cd" * 16},
            yanked="bad & old",
            has_metadata=True,
            metadata_hashes={"sha256": DIGEST},
        ),
        RemoteFile(
            "foo-1.2+x-py3-none-any.whl",
            "https://files.example/b/foo-1.2%2Bx-py3-none-any.whl",
            yanked="",
            has_metadata=True,
        ),
        RemoteFile("foo-1.3-py3-none-any.whl", "https://files.example/a/foo-1.3-py3-none-any.whl"),
    )


def test_html_page_agrees_with_pypi_simple() -> None:
    """pypi-simple reads the same from HTML, but for the name, which it takes from the text."""
    project = parse("foo", HTML.encode(), "text/html", URL, "")
    other = pypi_simple.ProjectPage.from_html("foo", HTML, base_url=URL)
    theirs = [
        (
            file.url,
            file.requires_python,
            dict(file.digests),
            file.is_yanked,
            file.yanked_reason or "",
        )
        for file in other.packages
        if file.url.startswith("https:")
    ]
    ours = [
        (file.url, file.requires_python, file.hashes, file.yanked is not None, file.yanked or "")
        for file in project.files
    ]
    assert ours == theirs
