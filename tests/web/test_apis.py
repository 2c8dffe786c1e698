"""APIs other than the simple API: JSON, XML-RPC, list of files, health, metrics, home page."""

import os
import xmlrpc.client
from pathlib import Path
from typing import Any

import falcon
import pytest
from falcon.testing import Result, TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.metadata import parse_email

from appliance import spec
from appliance.catalog import search as catalog_search
from appliance.catalog.metadata import KeptMetadata
from appliance.catalog.readiness import scan_mark
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.operations.watchlock import watching
from appliance.web import changelog
from appliance.web import xmlrpc as search_api
from appliance.web.app import create_app
from tests.attacks.files import WHEEL, wheel
from tests.conftest import Lab, scanned
from tests.dist import make_sdist, make_wheel
from tests.metrics import metrics


@pytest.fixture
def client(lab: Lab) -> TestClient:
    """Client of an index with a few projects."""
    make_wheel(lab.packages, "Flask-Cors", "1.0", summary="Cross origin sharing", requires=["six"])
    make_wheel(lab.packages, "Flask-Cors", "2.0rc1", summary="Cross origin sharing")
    make_sdist(lab.packages, "Flask-Cors", "0.9", summary="Cross")
    make_wheel(lab.packages, "flask", "1.1+local", summary="A micro <framework> for sharing")
    make_wheel(lab.packages, "werkzeug", "1.0", summary="Tools under flask")
    (lab.packages / "sub dir").mkdir()
    make_wheel(lab.packages / "sub dir", "six", "1.16", summary="Python 2 and 3")
    lab.once()
    return TestClient(create_app(lab.spec))


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


def call(client: TestClient, path: str, body: str | bytes) -> Result:
    return client.simulate_post(path, body=body, headers={"Content-Type": "text/xml"})


def search(client: TestClient, query: str, path: str = "/pypi") -> list[str]:
    """Return the hits of a call as made by ``pip search``, as names with versions."""
    request = xmlrpc.client.dumps(({"name": [query], "summary": [query]}, "or"), "search")
    answer = call(client, path, request)
    assert str(answer.content_type).startswith("text/xml")
    [hits] = xmlrpc.client.loads(answer.text)[0]
    assert isinstance(hits, list)
    assert all(set(hit) == {"_pypi_ordering", "name", "version", "summary"} for hit in hits)
    return [f"{hit['name']} {hit['version']}" for hit in hits]


def test_search_ranks_names_before_summaries(client: TestClient) -> None:
    """A search lists an exact name first, then names with that prefix, then other matches."""
    assert search(client, "flask") == ["flask 1.1+local", "Flask-Cors 1.0", "werkzeug 1.0"]
    assert search(client, "FLASK_CORS") == ["Flask-Cors 1.0"]
    assert search(client, "sharing") == ["flask 1.1+local", "Flask-Cors 1.0"]
    assert search(client, "cross sharing") == ["Flask-Cors 1.0"]
    assert search(client, "100% _") == []
    assert search(client, "nothing") == []


def test_long_search_returns_names(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that exceeds its time limit returns matches of names only."""
    monkeypatch.setattr(search_api, "_SECONDS", -1.0)
    monkeypatch.setattr(catalog_search, "_STEPS", 1)
    assert search(client, "six") == ["six 1.16"]
    assert search(client, "sharing") == []
    assert search(client, "") == []


@pytest.mark.parametrize("path", ["/", "/pypi", "/pypi/", "/RPC2", "/main/pypi"])
def test_search_answers_at_every_path_of_pip(client: TestClient, path: str) -> None:
    """A search answers at the path of the index URL and at /RPC2, as pip requires."""
    assert search(client, "six", path) == ["six 1.16"]


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BAD_CALLS = [
    (f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "ha">{LAUGHS}]><x>&l9;</x>', 400),
    ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>', 400),
    ('<!DOCTYPE x SYSTEM "http://localhost:1/x.dtd"><x/>', 400),
    ("", 411),
    ("no xml", 400),
    ("<methodCall>", 400),
    ("<methodCall></methodCall>", 400),
    ("<methodCall><params><param><value><int>x</int></value></param></params></methodCall>", 400),
    ("<a>" * 20_000, 400),
    ("<methodCall>" + "x" * 70_000, 413),
]


@pytest.mark.parametrize(("body", "status"), BAD_CALLS)
def test_bad_xml_is_rejected(client: TestClient, body: str, status: int) -> None:
    """The server rejects entity bombs, external references and invalid calls with a 4xx status."""
    answer = call(client, "/RPC2", body)
    assert answer.status_code == status
    assert b"root:" not in answer.content


def test_invalid_call_is_fault(client: TestClient) -> None:
    """An unknown method or an invalid argument is a fault with the code of PyPI."""
    calls: list[tuple[str, Any, int]] = [
        ("nix", (), -32601),
        ("search", ("x",), -32500),
        ("search", ({"name": list("abcdefghijk")},), -32500),
        ("search", ({"name": "x" * 101},), -32500),
        ("changelog_since_serial", (), -32500),
        ("changelog_since_serial", ("x",), -32500),
        ("changelog_since_serial", (True,), -32500),
    ]
    for method, parameters, code in calls:
        answer = call(client, "/RPC2", xmlrpc.client.dumps(parameters, method))
        with pytest.raises(xmlrpc.client.Fault) as caught:
            xmlrpc.client.loads(answer.text)
        assert caught.value.faultCode == code


PIECES = [
    *("<methodCall>", "</methodCall>", "<methodName>search</methodName>", "<params>", "</params>"),
    *("<param>", "</param>", "<value>", "</value>", "<array>", "<data>", "</data>", "</array>"),
    *("<struct>", "<member>", "<name>name</name>", "<name>", "</member>", "</struct>", "<int>"),
    *("9" * 5000, "</int>", "<bigdecimal>x</bigdecimal>", "<base64>x</base64>", "<nil/>", "x"),
    *("<double>nan</double>", "<dateTime.iso8601>1</dateTime.iso8601>", "<fault>", "</fault>"),
    *("<boolean>1</boolean>", "<ex:i8>1</ex:i8>", "&#0;", "&x;", "<![CDATA[", "]]>", "<!--"),
]


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=20))
def test_any_body_has_answer(client: TestClient, pieces: list[str]) -> None:
    """Any combination of XML-RPC elements gets status 200 or 400."""
    answer = call(client, "/RPC2", "".join(pieces) or " ")
    assert answer.status_code in (200, 400)


def asked(client: TestClient, method: str, *parameters: Any, path: str = "/pypi") -> Any:
    """Return the answer to a call, parsed by the standard library."""
    answer = call(client, path, xmlrpc.client.dumps(parameters, method))
    return xmlrpc.client.loads(answer.text)[0][0]


def test_mirror_reads_projects_and_changes(client: TestClient, lab: Lab) -> None:
    """A mirror reads published projects, serials and changes in the forms of PyPI."""
    projects = asked(client, "list_packages_with_serial")
    assert projects == {
        name: int(client.simulate_get(f"/simple/{name}/").headers["x-pypi-last-serial"])
        for name in ("flask", "flask-cors", "six", "werkzeug")
    }
    last = asked(client, "changelog_last_serial")
    assert last == max(projects.values())
    lines = asked(client, "changelog_since_serial", 0)
    assert [line[4] for line in lines] == sorted(line[4] for line in lines)
    assert {line[0] for line in lines} == set(projects)
    assert ["six", "1.16", "added six-1.16-py2.py3-none-any.whl"] in [
        [name, version, action] for name, version, _, action, _ in lines
    ]
    assert all(type(line[2]) is int and type(line[4]) is int for line in lines)
    assert asked(client, "changelog_since_serial", last) == []
    assert asked(client, "changelog_since_serial", -1) == lines

    decisions.yank(lab.spec, lab.index, "six==1.16", "broken & <bad>")
    [line] = asked(client, "changelog_since_serial", last)
    assert line[0] == "six"
    assert line[4] == asked(client, "list_packages_with_serial")["six"]
    with lab.catalog.change() as writer:  # not published yet
        writer.set_status(lab.index, "six", "archived", None)
    assert asked(client, "changelog_since_serial", line[4]) == []
    assert asked(client, "changelog_last_serial") == line[4]


def test_mirror_reads_projects_of_bases(tmp_path: Path) -> None:
    """A mirror of an index with bases reads each project once, with the serial of its page."""
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "state: s\nindexes: {main: {packages: m, bases: [base]}, base: {packages: b}}\n"
    )
    for directory, name in (("m", "both"), ("m", "own"), ("b", "both"), ("b", "theirs")):
        (tmp_path / directory).mkdir(exist_ok=True)
        make_wheel(tmp_path / directory, name, "1.0" if directory == "m" else "2.0")
    given = spec.load(path)
    update(given)
    client = TestClient(create_app(given))
    for prefix, names in (("", ["both", "own", "theirs"]), ("/base", ["both", "theirs"])):
        serials = {
            name: int(client.simulate_get(f"{prefix}/simple/{name}/").headers["x-pypi-last-serial"])
            for name in names
        }
        assert asked(client, "list_packages_with_serial", path=f"{prefix}/pypi") == serials
        lines = asked(client, "changelog_since_serial", 0, path=f"{prefix}/pypi")
        assert {line[0] for line in lines} == set(names)


def test_mirror_reads_no_private_project_of_a_base(tmp_path: Path) -> None:
    """A mirror of an index gets no project of a base whose name is private to the index, in lists
    and changes as on pages; a mirror of the base does."""
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "state: s\nindexes:\n"
        "  main: {packages: m, bases: [base], policy: {private: [acme-*]}}\n"
        "  base: {packages: b}\n"
    )
    for directory, name in (("m", "acme-own"), ("b", "acme-other"), ("b", "theirs")):
        (tmp_path / directory).mkdir(exist_ok=True)
        make_wheel(tmp_path / directory, name, "1.0")
    given = spec.load(path)
    update(given)
    client = TestClient(create_app(given))
    for prefix, names in (("", {"acme-own", "theirs"}), ("/base", {"acme-other", "theirs"})):
        assert set(asked(client, "list_packages_with_serial", path=f"{prefix}/pypi")) == names
        lines = asked(client, "changelog_since_serial", 0, path=f"{prefix}/pypi")
        assert {line[0] for line in lines} == names


def test_changelog_in_batches_is_complete(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """XML-RPC answers read in batches of any size have all entries once, up to the limit."""
    for name in "abcdefg":
        make_wheel(lab.packages, name, "1.0")
    lab.once()
    client = TestClient(create_app(lab.spec))
    whole = asked(client, "list_packages_with_serial"), asked(client, "changelog_since_serial", 0)
    for part in (1, 3, 7, 8):
        monkeypatch.setattr(changelog, "_BATCH", part)
        assert asked(client, "list_packages_with_serial") == whole[0]
        assert asked(client, "changelog_since_serial", 0) == whole[1]
    monkeypatch.setattr(changelog, "_MOST_CHANGES", 5)
    assert asked(client, "changelog_since_serial", 0) == whole[1][:5]


def test_search_replaces_invalid_xml_characters(lab: Lab) -> None:
    """A search replaces characters of a summary that XML does not allow."""
    make_wheel(lab.packages, "foo", "1.0", summary="a \ufffe foo \U0001f40d")
    lab.once()
    client = TestClient(create_app(lab.spec))
    request = xmlrpc.client.dumps(({"name": "foo"},), "search")
    [hits] = xmlrpc.client.loads(call(client, "/pypi", request).text)[0]
    assert isinstance(hits, list)
    assert hits[0]["summary"] == "a \ufffd foo \U0001f40d"


def test_post_requires_xml(client: TestClient) -> None:
    """A POST of a form to the root answers 415."""
    assert client.simulate_post("/", body=b"a=b").status == falcon.HTTP_415


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


def test_health_lists_problems(lab: Lab) -> None:
    """Health answers 503 before the first publication, and later 200 with the problems."""
    client = TestClient(create_app(lab.spec))
    answer = client.simulate_get("/health")
    assert answer.status_code == 503
    assert "main: nothing published yet" in answer.json["problems"]

    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    with watching(lab.spec):
        answer = client.simulate_get("/health")
        assert (answer.status_code, answer.json) == (200, {"status": "ok", "problems": []})
        (lab.packages / "bad-1.0.zip").write_bytes(b"")
        lab.once()
        answer = client.simulate_get("/health")
        assert answer.status_code == 200
        assert answer.json["problems"] == ["1 file rejected; run `pyindex status`"]
    problems = client.simulate_get("/health").json["problems"]
    assert "no watcher is running; run `pyindex serve` or `pyindex watch`" in problems


def test_ready_waits_for_full_scan(lab: Lab) -> None:
    """Readiness answers 503 with the reason until every index was scanned and published."""
    client = TestClient(create_app(lab.spec))
    assert client.simulate_get("/ready").status_code == 503
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    lab.catalog.set_mark(scan_mark(lab.spec, lab.index), 0)
    answer = client.simulate_get("/ready")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "main: packages directory never scanned completely" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    scanned(lab.spec)
    answer = client.simulate_get("/ready")
    assert (answer.status_code, answer.text) == (200, "ready\n")


def test_metrics_match_catalog(client: TestClient, lab: Lab) -> None:
    """Metrics have the values of the catalog in Prometheus' text format, each after its type."""
    scanned(lab.spec)
    (lab.packages / "flask-0.1.zip").write_bytes(b"")
    lab.once()
    answer = client.simulate_get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = metrics(answer.text)
    with lab.catalog.read() as reading:
        serial = reading.serial()
        size = sum(file.size for file in reading.files_after(lab.index))
    requests = {f'pyindex_requests_total{{status="{kind}xx"}}': 0 for kind in range(1, 6)}
    assert values == requests | {
        'pyindex_projects{index="main"}': 4,
        'pyindex_files{index="main"}': 6,
        'pyindex_bytes{index="main"}': size,
        'pyindex_rejected_files{index="main"}': 1,
        'pyindex_scanned{index="main"}': 1,
        "pyindex_serial": serial,
        "pyindex_published_serial": serial,
        "pyindex_publish_lag_seconds": 0,
        "pyindex_watcher_running": 0,
        "pyindex_problems": 1,  # no watcher
    }


def test_metrics_count_requests(client: TestClient) -> None:
    """Requests are counted by the status of their answers, those of errors too."""
    for path in ("/simple/flask/", "/simple/flask/", "/simple/nothing-here/", "/simple/Flask/"):
        client.simulate_get(path)
    values = metrics(client.simulate_get("/metrics").text)
    counted = [values[f'pyindex_requests_total{{status="{kind}xx"}}'] for kind in range(1, 6)]
    assert sum(counted) == 4
    assert counted[0] == counted[4] == 0
    assert all(counted[1:4])


def test_metrics_show_unpublished_changes(client: TestClient, lab: Lab) -> None:
    """The age of the oldest change that is not published is above 0 until it is."""
    with lab.catalog.change() as writer:
        writer.set_status(lab.index, "flask", "archived", None)
    assert metrics(client.simulate_get("/metrics").text)["pyindex_publish_lag_seconds"] > 0
    lab.once()
    assert metrics(client.simulate_get("/metrics").text)["pyindex_publish_lag_seconds"] == 0


def test_damaged_catalog_does_not_stop_pages(
    client: TestClient, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """The server with a damaged catalog serves pages, and its log names the remedy."""
    for part in lab.spec.state.glob("catalog.sqlite*"):
        part.unlink()
    lab.spec.catalog.write_bytes(b"no database" * 1000)
    answer = client.simulate_get("/pypi/flask/json")
    assert answer.status_code == 503
    assert "the log says why" in answer.text
    assert str(lab.spec.state) not in answer.text
    assert "pyindex rebuild" in caplog.text
    assert client.simulate_get("/simple/flask/").status_code == 200
    assert client.simulate_get("/health").json["status"] == "degraded"
