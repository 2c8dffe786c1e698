"""Hostile forms: each is refused with its reason, leaves nothing, and stops no other upload."""

from html import escape
from pathlib import Path

import pytest

from tests.attacks.forms import UPLOADS, WHEEL
from tests.dist import make_wheel
from tests.uploads.forms import CONTENT_TYPE, of_file
from tests.uploads.test_web import Site, login

SCRIPT = '"><script>alert(1)</script>'
PAGES = ("/", "/simple/", "/simple/shown/", "/packages/")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("forms"))


@pytest.mark.parametrize("name", UPLOADS)
def test_hostile_form_is_refused_and_leaves_nothing(site: Site, name: str) -> None:
    """A hostile form gets status 400 with its reason, and no file or directory of it remains."""
    wheel = make_wheel(site.root, "foo", "1.0").read_bytes()
    answer = site.post(UPLOADS[name].body(wheel))
    assert answer.status.startswith("400 ")
    assert UPLOADS[name].reason in answer.status
    assert "set-cookie" not in answer.headers
    assert list((site.root / "main").iterdir()) == []


def test_good_form_is_accepted_after_hostile_ones(site: Site) -> None:
    """The same server accepts the file that hostile forms have sent."""
    assert site.post(site.wheel()).status == "200 OK"
    assert (site.root / "main" / WHEEL).exists()


@pytest.mark.parametrize("header", ["null", "http://evil.example"])
def test_form_of_browser_is_refused(site: Site, header: str) -> None:
    """A page of another site cannot upload with the password that a browser has stored."""
    sent = {"Content-Type": CONTENT_TYPE, "Origin": header} | login("alice")
    answer = site.post(site.wheel(), **sent)
    assert answer.status == "403 Uploads from browsers are not accepted"


def test_metadata_is_text_on_pages(site: Site, tmp_path: Path) -> None:
    """Metadata of an upload cannot add markup to a page, nor a header to an answer."""
    wheel = make_wheel(tmp_path, "shown", "1.0", summary=SCRIPT)
    assert site.post(of_file(wheel, "shown", "1.0")).status == "200 OK"
    for path in PAGES:
        answer = site.client.simulate_get(path)
        assert (path, answer.status_code, SCRIPT in answer.text) == (path, 200, False)
    document = site.client.simulate_get("/pypi/shown/json")
    assert document.json["info"]["summary"] == SCRIPT
    assert document.headers["content-type"].startswith("application/json")
    assert document.headers["x-content-type-options"] == "nosniff"
    assert escape(SCRIPT) not in document.text
