"""Answers beside the simple API: JSON, list of files, home page, redirects."""

import os
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import TestClient
from packaging.metadata import parse_email

from appliance import spec
from appliance.catalog.metadata import KeptMetadata
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.web.app import create_app
from tests.attacks.files import WHEEL, wheel
from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel


def test_json_api_describes_project(client: TestClient, lab: Lab) -> None:
    """The JSON API has PyPI's keys, the latest final release, and digests and URL per file."""
    answer = client.simulate_get("/pypi/flask-cors/json")
    body = answer.json
    assert answer.headers["x-pypi-last-serial"] == str(body["last_serial"])
    assert body["info"]["name"] == "Flask-Cors"
    assert body["info"]["version"] == "1.0"
    assert body["info"]["summary"] == "Cross origin sharing"
    assert body["info"]["requires_dist"] == ["six"]
    assert list(body["releases"]) == ["0.9", "1.0", "2.0rc1"]
    [file] = body["urls"]
    assert file["packagetype"] == "bdist_wheel"
    assert file["python_version"] == "py2.py3"
    assert file["url"].startswith("http://falconframework.org/packages/Flask_Cors-1.0")
    assert set(file["digests"]) == {"md5", "sha256", "blake2b_256"}
    assert (
        file["upload_time_iso_8601"] == f"{file['upload_time']}.{file['upload_time_iso_8601'][20:]}"
    )


def test_json_api_describes_release(client: TestClient) -> None:
    """The JSON API finds a release by any spelling and omits the list of releases."""
    for version in ("2.0rc1", "2.0-RC.1"):
        body = client.simulate_get(f"/pypi/flask-cors/{version}/json").json
        assert body["info"]["version"] == "2.0rc1"
        assert "releases" not in body
        assert [file["filename"][:16] for file in body["urls"]] == ["Flask_Cors-2.0rc"]


def test_json_api_opens_no_package_file(lab: Lab) -> None:
    """The JSON API answers from stored metadata, so a pipe instead of a file is harmless."""
    make_wheel(lab.packages, "foo", "2.0", summary="Wheel", requires=["six"])
    make_sdist(lab.packages, "bar", "1.0", summary="Source", requires=["six"])
    make_sdist(lab.packages, "old", "1.0", summary="Before", requires_python=">=2.7")
    lab.once()
    for path in list(lab.packages.iterdir()):
        path.unlink()
        os.mkfifo(path)
    Path(KeptMetadata(lab.spec.state).path(lab.index, "old-1.0.tar.gz")).unlink()
    client = TestClient(create_app(lab.spec))

    def info(name: str) -> list[Any]:
        fields = client.simulate_get(f"/pypi/{name}/json").json["info"]
        return [fields["summary"], fields["requires_python"], fields["requires_dist"]]

    assert info("foo") == ["Wheel", None, ["six"]]
    assert info("bar") == ["Source", None, ["six"]]
    assert info("old") == ["Before", ">=2.7", None]  # from the catalog


METADATA = b"""Metadata-Version: 2.1
Name: foo
Version: 1.0
Summary: A thing
Keywords: one,two
Author: A. Person
Author-email: a@example.org
License: MIT
Classifier: Programming Language :: Python :: 2
Classifier: Programming Language :: Python :: 3
Platform: any
Requires-Dist: six
Provides-Extra: all
Project-URL: Source, https://example.org/source?a=1,2
Home-page: https://example.org
Description-Content-Type: multipart/mixed; boundary=x

--x
A long description.
"""


def test_json_api_has_same_fields_as_packaging(lab: Lab) -> None:
    """The JSON API has the same metadata fields as the parser of packaging."""
    wheel(METADATA)(lab.packages / WHEEL)
    lab.once()
    fields = TestClient(create_app(lab.spec)).simulate_get("/pypi/foo/json").json["info"]
    read, _ = parse_email(METADATA.replace(b"multipart/mixed; boundary=x", b"text/plain"))
    for name in ("summary", "author", "author_email", "license", "classifiers", "requires_dist"):
        assert fields[name] == read[name]
    for name in ("provides_extra", "project_urls", "home_page", "description"):
        assert fields[name] == read[name]  # type: ignore[literal-required]
    assert fields["keywords"] == ",".join(read["keywords"])
    assert fields["platform"] == ",".join(read["platforms"])
    assert (fields["maintainer"], fields["license_expression"], fields["dynamic"]) == (
        "",
        None,
        None,
    )


def test_release_has_files_of_every_spelling(lab: Lab) -> None:
    """A release has the files of all spellings and the metadata of the requested one."""
    for version in ("1.0", "1.0.0"):
        make_wheel(lab.packages, "plain", version, summary=f"This is {version}")
    lab.once()
    client = TestClient(create_app(lab.spec))
    both = ["plain-1.0-py2.py3-none-any.whl", "plain-1.0.0-py2.py3-none-any.whl"]
    for asked, answered in (("1.0", "1.0"), ("1.0.0", "1.0.0"), ("1", "1.0"), ("v1.0.0", "1.0.0")):
        body = client.simulate_get(f"/pypi/plain/{asked}/json").json
        assert [file["filename"] for file in body["urls"]] == both
        assert (body["info"]["version"], body["info"]["summary"]) == (
            answered,
            f"This is {answered}",
        )
    body = client.simulate_get("/pypi/plain/json").json
    assert {version: len(files) for version, files in body["releases"].items()} == {
        "1.0": 1,
        "1.0.0": 1,
    }
    assert [file["filename"] for file in body["urls"]] == both


def test_json_api_skips_yanked_release(client: TestClient, lab: Lab) -> None:
    """The JSON API skips a yanked release as the latest and has the reason of the yank."""
    decisions.yank(lab.spec, lab.index, "flask-cors==1.0", "broken")
    latest = client.simulate_get("/pypi/flask-cors/json").json["info"]["version"]
    assert latest == "0.9"  # a final release precedes a later pre-release
    info = client.simulate_get("/pypi/flask-cors/1.0/json").json["info"]
    assert (info["yanked"], info["yanked_reason"]) == (True, "broken")


PLACES = [
    ("/pypi/flask-cors/json", 200, None),
    ("/pypi/flask-cors/json/", 200, None),
    ("/flask-cors/json", 200, None),
    ("/main/pypi/flask-cors/json", 200, None),
    ("/pypi/Flask.Cors/json", 301, "/pypi/flask-cors/json"),
    ("/pypi/Flask.Cors/1.0/json", 301, "/pypi/flask-cors/1.0/json"),
    (
        "/pypi/Flask.Cors/1%0D%0AX:%20y%E2%98%83/json",
        301,
        "/pypi/flask-cors/1%0D%0AX%3A%20y%E2%98%83/json",
    ),
    ("/Flask_Cors/json", 301, "/pypi/flask-cors/json"),
    ("/pypi/nothing/json", 404, None),
    ("/pypi/flask-cors/9.9/json", 404, None),
    ("/pypi/..%2F..%2Fetc/json", 404, None),
    ("/pypi/%3Cscript%3E/json", 404, None),
    ("/flask-cors", 301, "/simple/flask-cors/"),
    ("/Flask_Cors/", 301, "/simple/flask-cors/"),
    ("/", 200, None),
    ("/packages/", 200, None),
    ("/pypi", 405, None),
    ("/simple/", 200, None),
    ("/simple/flask-cors/", 200, None),
    ("/packages/sub dir/six-1.16-py2.py3-none-any.whl", 200, None),
    ("/packages/sub dir/six-1.16-py2.py3-none-any.whl.metadata", 200, None),
    ("/pypi/flask-cors/1.0/json", 200, None),
    ("/-/pip.conf", 200, None),
    ("/main/-/pip.conf", 200, None),
    ("/main", 301, "/main/"),
    ("/packages", 301, "/packages/"),
    ("/main/packages?x=y", 301, "/main/packages/?x=y"),
    ("/favicon.ico", 404, None),
    ("/robots.txt", 404, None),
    ("/health", 200, None),
    ("/a/b/c/d", 404, None),
]


@pytest.mark.parametrize(("path", "status", "location"), PLACES)
def test_each_path_answers_get_and_head(
    client: TestClient, path: str, status: int, location: str | None
) -> None:
    """Each path redirects unnormalized names, answers 404 for unknown ones, and allows HEAD."""
    got, asked = client.simulate_get(path), client.simulate_head(path)
    assert (got.status_code, got.headers.get("location")) == (status, location)
    assert status == 200 or got.headers["content-type"].startswith("text/plain")
    assert asked.status_code == status
    assert asked.content == b""
    # HEAD may omit a length that is known only after the content was made (RFC 9110, 9.3.2).
    assert {"content-length": got.headers.get("content-length"), **asked.headers} == {
        "content-length": None,
        **got.headers,
    }


def test_list_has_every_file(client: TestClient) -> None:
    """The list of files links to every file in the order of paths."""
    text = client.simulate_get("/packages/").text
    assert text.count("<a ") == 6
    assert 'href="sub%20dir/six-1.16-py2.py3-none-any.whl#sha256=' in text
    assert (
        client.simulate_get("/packages/sub%20dir/six-1.16-py2.py3-none-any.whl").status_code == 200
    )


def test_list_omits_quarantined_projects(lab: Lab) -> None:
    """The list of files omits quarantined projects (PEP 792) and marks yanked files."""
    make_wheel(lab.packages, "bad", "1.0")
    make_wheel(lab.packages, "good", "1.0", requires_python=">=3.8")
    make_wheel(lab.packages, "good", "2.0")
    lab.once()
    decisions.set_status(lab.spec, lab.index, "bad", "quarantined", None)
    decisions.yank(lab.spec, lab.index, "good==2.0", 'a "reason" <b>')
    lines = TestClient(create_app(lab.spec)).simulate_get("/packages/").text.splitlines()
    first, second = [line for line in lines if line.startswith("<a ")]
    assert "good-1.0" in first
    assert ' data-requires-python="&gt;=3.8">' in first
    assert "yanked" not in first
    assert ' data-yanked="a &quot;reason&quot; &lt;b&gt;">' in second


NO_ADDRESSES = ["x:abc", "x:99999", "x:-1", "[x", "[::1]:y", "x]:80"]


@pytest.mark.parametrize("host", NO_ADDRESSES)
def test_invalid_host_header_is_rejected(client: TestClient, host: str) -> None:
    """An invalid Host header answers 400 with the reason on every page that shows the address."""
    for path in ("/", "/main/", "/pypi/flask/json", "/pypi/flask/1.1+local/json", "/-/uv.toml"):
        answer = client.simulate_get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert "the header Host is not an address" in answer.text


def test_home_page_shows_client_commands(client: TestClient, lab: Lab) -> None:
    """The home page shows the index URL in commands for pip, uv and poetry."""
    text = client.simulate_get("/", host="pypi.lab.example").text
    for fragment in (
        "4 projects",
        "6 files",
        "pip install --index-url http://pypi.lab.example/simple/ --trusted-host pypi.lab.example",
        "uv pip install --default-index http://pypi.lab.example/simple/",
        "poetry source add --priority=primary",
    ):
        assert fragment in text


def test_url_from_spec_overrides_headers(tmp_path: Path) -> None:
    """With ``url`` in the spec no header of a client changes a link."""
    (tmp_path / "p").mkdir()
    make_wheel(tmp_path / "p", "foo", "1.0")
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "url: https://pypi.lab.example/python/\nstate: state\nindexes: {main: {packages: p}}\n"
    )
    given = spec.load(path)
    update(given)
    client = TestClient(create_app(given))
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    for url_path in ("/", "/pypi/foo/json"):
        text = client.simulate_get(url_path, headers=headers).text
        assert "evil" not in text
        assert "https://pypi.lab.example/python/" in text
    assert client.simulate_get("/pypi/Foo/json").headers["location"] == "/python/pypi/foo/json"
