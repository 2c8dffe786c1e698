"""XML-RPC: `pip search`, and what mirrors ask for."""

import xmlrpc.client
from pathlib import Path
from typing import Any

import falcon
import pytest
from falcon.testing import Result, TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import spec
from appliance.catalog import search as catalog_search
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.web import changelog
from appliance.web import xmlrpc as search_api
from appliance.web.app import create_app
from tests.conftest import Lab
from tests.dist import make_wheel


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
