"""Indexes that not every client may read, without nginx."""

import json
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from falcon.testing import Result, TestClient

from appliance.catalog.database import Catalog
from appliance.spec import IndexSection, Spec
from appliance.web.app import create_app
from tests.conftest import Lab
from tests.dist import make_wheel
from tests.web.test_login import ALICE, BOB, WRONG, basic, with_accounts

PATHS = (
    *("/", "/main/", "/packages/", "/simple/", "/main/simple/"),
    *("/simple/foo/", "/main/simple/foo/", "/pypi/foo/json", "/pypi/foo/1.0/json", "/foo/json"),
)
OF_FILE = ("", ".metadata", ".asc", ".provenance")
SEARCH = (
    "<methodCall><methodName>search</methodName><params><param><value><struct><member>"
    "<name>name</name><value><string>x</string></value></member></struct></value></param>"
    "</params></methodCall>"
)
LISTING = "<methodCall><methodName>list_packages_with_serial</methodName></methodCall>"
CHANGES = (
    "<methodCall><methodName>changelog_since_serial</methodName><params><param><value><int>0</int>"
    "</value></param></params></methodCall>"
)


def client(lab: Lab, directory: Path, **section: object) -> TestClient:
    """Return a client of the lab's application, with accounts and other keys of its index."""
    spec: Spec = with_accounts(lab, directory / "htpasswd", **section)
    return TestClient(create_app(spec))


def get(client: TestClient, path: str, header: str | None = None, **headers: str) -> Result:
    sent = {**headers, **({"Authorization": header} if header else {})}
    return client.simulate_get(path, headers=sent)


def call(client: TestClient, body: str, header: str | None = None) -> Result:
    sent = {"Content-Type": "text/xml", **({"Authorization": header} if header else {})}
    return client.simulate_post("/pypi", body=body, headers=sent)


@pytest.fixture
def published(lab: Lab) -> list[str]:
    """Two projects, and the paths of the files of foo."""
    wheels = [make_wheel(lab.packages, name, "1.0") for name in ("foo", "secret-x")]
    for wheel in wheels:
        wheel.with_name(f"{wheel.name}.asc").write_bytes(b"-----BEGIN PGP SIGNATURE-----")
    lab.once()
    Catalog(lab.spec.catalog)
    return [f"/packages/{wheels[0].name}{suffix}" for suffix in OF_FILE[:3]]


def test_private_index_answers_members_alone(
    lab: Lab, tmp_path: Path, published: list[str]
) -> None:
    """Every URL of a private index needs an account with the right to read, and no cache keeps its
    answer for others."""
    private = client(lab, tmp_path, read=["alice"])
    for path in (*PATHS, *published):
        missing = get(private, path)
        assert (path, missing.status_code) == (path, 401)
        assert missing.headers["www-authenticate"] == 'Basic realm="pypi"'
        assert get(private, path, WRONG).status_code == 401
        assert get(private, path, BOB).status_code == 403
        answer = get(private, path, ALICE)
        assert (path, answer.status_code) == (path, 200)
        assert "private" in answer.headers["cache-control"]
        assert "public" not in answer.headers["cache-control"]
    for body in (SEARCH, LISTING, CHANGES):
        assert call(private, body).status_code == 401
        assert call(private, body, ALICE).status_code == 200


def test_actor_may_have_any_characters(lab: Lab, tmp_path: Path) -> None:
    """nginx is told the account of a reader in UTF-8, whatever characters it has."""
    private = client(lab, tmp_path, read=["members"])
    digest = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"жора:{digest}\n")
    lab.once()
    answer = get(private, "/simple/", basic("жора", "x"), **{"X-Log": "actor"})
    assert answer.status_code == 200
    assert answer.headers["x-actor"].encode("latin-1").decode() == "жора"


def test_unknown_paths_of_private_index_need_login(lab: Lab, tmp_path: Path) -> None:
    """Without an account, nothing distinguishes a project that exists from another."""
    private = client(lab, tmp_path, read=["members"])
    lab.once()
    for path in ("/simple/unknown/", "/packages/unknown-1.0.zip", "/pypi/unknown/json"):
        assert get(private, path).status_code == 401
        assert get(private, path, ALICE).status_code == 404


HIDDEN = {"secret-*": {"read": ["alice"]}}


def answer(result: Result) -> tuple[Any, ...]:
    """Return what a client can see of an answer."""
    hidden = ("secret-x", "secret_x"), ("absent-x", "absent_x")
    text = result.text
    for one, other in zip(*hidden, strict=True):
        text = text.replace(one, other)
    return result.status_code, text, sorted(result.headers.items())


@pytest.mark.usefixtures("published")
def test_hidden_project_is_absent(lab: Lab, tmp_path: Path) -> None:
    """A client without the right gets the answer for a project that does not exist."""
    hiding = client(lab, tmp_path, projects=HIDDEN)
    wheel = "/packages/{}-1.0-py2.py3-none-any.whl"
    paths = ["/simple/{}-x/", "/pypi/{}-x/json", "/pypi/{}-x/1.0/json", "/{}-x/json"]
    paths += [wheel.replace("{}", "{}_x") + suffix for suffix in OF_FILE]
    for header in (None, BOB):
        for path in paths:
            secret = get(hiding, path.format("secret"), header)
            assert secret.status_code == 404
            assert answer(secret) == answer(get(hiding, path.format("absent"), header))
    for path in (path for path in paths if not path.endswith("provenance")):
        assert get(hiding, path.format("secret"), ALICE).status_code == 200, path


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(("header", "is_visible"), [(None, False), (BOB, False), (ALICE, True)])
def test_lists_leave_hidden_projects_out(
    lab: Lab, tmp_path: Path, header: str | None, is_visible: bool
) -> None:
    """Project lists, listings, search and the journal have what the client may read."""
    hiding = client(lab, tmp_path, projects=HIDDEN)
    accept = {"Accept": "application/vnd.pypi.simple.v1+json", "Accept-Encoding": "gzip"}
    texts = [
        get(hiding, "/simple/", header).text,
        get(hiding, "/simple/", header, **accept).text,
        get(hiding, "/packages/", header).text,
        *(call(hiding, body, header).text for body in (SEARCH, LISTING, CHANGES)),
    ]
    for text in texts:
        assert ("secret" in text) == is_visible
    assert json.loads(texts[1])["projects"][0]["name"] == "foo"
    assert ("2 projects" in get(hiding, "/", header).text) is False
    if header == BOB:
        assert get(hiding, "/simple/", WRONG).status_code == 401


def test_index_is_as_private_as_its_bases(lab: Lab, tmp_path: Path) -> None:
    """An index shows nothing of a base to a client that may not read the base."""
    private = with_accounts(lab, tmp_path / "htpasswd", read=["alice"])
    (tmp_path / "open").mkdir()
    above = IndexSection(packages=tmp_path / "open", bases=("main",))
    make_wheel(lab.packages, "foo", "1.0")
    spec = private.model_copy(update={"indexes": {**private.indexes, "open": above}})
    lab.spec = spec
    lab.once()
    above_it = TestClient(create_app(spec))
    assert get(above_it, "/open/simple/foo/").status_code == 401
    assert get(above_it, "/open/simple/foo/", BOB).status_code == 403
    assert get(above_it, "/open/simple/foo/", ALICE).status_code == 200


def test_monitoring_of_private_index_is_internal(lab: Lab, tmp_path: Path) -> None:
    """Health and metrics of an appliance with a private index are for nginx.internal alone."""
    private = client(lab, tmp_path, read=["members"])
    lab.once()
    for path in ("/health", "/ready", "/metrics"):
        outside = private.simulate_get(path, remote_addr="192.0.2.1")
        through = private.simulate_get(
            path, remote_addr="127.0.0.1", headers={"X-Forwarded-For": "127.0.0.1, 192.0.2.1"}
        )
        assert (outside.status_code, through.status_code) == (403, 403)
        assert private.simulate_get(path, remote_addr="127.0.0.1").status_code != 403
