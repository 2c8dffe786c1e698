"""URLs of a devpi index that an index has replaced."""

from pathlib import Path

import pytest
from falcon.testing import TestClient

from appliance import spec
from appliance.operations.update import update
from appliance.web.app import create_app
from tests.dist import make_wheel

WHEEL = "foo-1.0+x-py2.py3-none-any.whl"
SPEC = """
url: https://index.example/x
state: state
indexes:
  main: {packages: main, formerly: [root/dev, Alice.B/prod-1]}
  team: {packages: team, formerly: [bob/dev]}
"""
REDIRECTS = [
    ("/root/dev/+simple", "/x/simple/"),
    ("/root/dev/+simple/", "/x/simple/"),
    ("/root/dev/+simple/Foo_Bar", "/x/simple/foo-bar/"),
    ("/root/dev/+simple/foo/", "/x/simple/foo/"),
    ("/root/dev/+f/6b0/180330049f091/foo-1.0%2Bx-py3-none-any.whl", None),
    ("/Alice.B/prod-1/+simple/foo/", "/x/simple/foo/"),
    ("/bob/dev/+simple/foo/", "/x/team/simple/foo/"),
    ("/bob/dev/+f/6b0/180330049f091/foo-1.0.tar.gz", "/x/team/packages/foo-1.0.tar.gz"),
]


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    for name in ("main", "team"):
        (tmp_path / name).mkdir()
        make_wheel(tmp_path / name, "foo", "1.0+x")
    (tmp_path / "pyindex.yml").write_text(SPEC)
    given = spec.load(tmp_path / "pyindex.yml")
    update(given)
    return TestClient(create_app(given))


@pytest.mark.parametrize(("path", "target"), REDIRECTS)
def test_old_url_is_redirected(client: TestClient, path: str, target: str | None) -> None:
    """Pages and files of the devpi index are redirected to those of the index, HEAD too."""
    for method in ("GET", "HEAD"):
        answer = client.simulate_request(method, path)
        assert answer.status_code == 301
        location = target or "/x/packages/foo-1.0%2Bx-py3-none-any.whl"
        assert answer.headers["location"] == location
    assert client.simulate_get(location.removeprefix("/x")).status_code in (200, 404)


ABSENT = [
    "/root/other/+simple/foo/",
    "/carol/dev/+simple/",
    "/root/dev/+simple/%0d%0aX-Header:%20y/",
    "/root/dev/+simple/..%2f..%2f/",
    "/root/dev/+f/6b0/foo-1.0.tar.gz",
]


@pytest.mark.parametrize("path", ABSENT)
def test_other_url_is_absent(client: TestClient, path: str) -> None:
    """URLs of other indexes, and names of no projects, are not redirected elsewhere."""
    answer = client.simulate_get(path)
    assert answer.status_code == 404
    assert "location" not in answer.headers
