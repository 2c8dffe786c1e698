"""The list of all files and its division into pages."""

import re

import falcon
import pytest
from falcon.testing import TestClient

from appliance.web import browse
from appliance.web.app import create_app
from appliance.web.browse import Packages
from appliance.web.login import Login
from appliance.web.served import served_index
from tests.conftest import Lab
from tests.dist import make_wheel

NAMES = [f"p{number}-1.0+a.b-py2.py3-none-any.whl" for number in range(7)]


@pytest.mark.parametrize("at_a_time", [1, 2, 1000])
@pytest.mark.parametrize(
    ("a_page", "sizes"), [(3, [3, 3, 1]), (7, [7]), (8, [7]), (1, [1] * 7), (6, [6, 1])]
)
def test_list_pages_link_to_next(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, a_page: int, sizes: list[int], at_a_time: int
) -> None:
    """Each page of the list links to the next one, and all together have every file once."""
    monkeypatch.setattr(browse, "_FILES_AT_A_TIME", at_a_time)
    (lab.packages / "a & b").mkdir()
    for name in NAMES:
        make_wheel(lab.packages / "a & b", name.partition("-")[0], "1.0+a.b")
    lab.once()
    app = falcon.App()
    index = served_index(lab.spec, lab.catalog, Login(lab.spec, lab.catalog), lab.index)
    app.add_route("/packages/", Packages(index, a_page))
    listed: list[str] = []
    query = ""
    for size in sizes:
        text = TestClient(app).simulate_get("/packages/", query_string=query).text
        files = re.findall(r'#sha256=\w+">a &amp; b/(.*?)</a>', text)
        assert len(files) == size
        listed += files
        following = re.search(r'<a href="\?(after=[^"]*)">More files</a>', text)
        query = following[1] if following else ""
    assert query == ""
    assert listed == NAMES


def test_list_waits_for_first_scan(lab: Lab) -> None:
    """The list of files answers 503 until the index was scanned."""
    make_wheel(lab.packages, "foo", "1.0")
    answer = TestClient(create_app(lab.spec)).simulate_get("/packages/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    lab.once()
    assert TestClient(create_app(lab.spec)).simulate_get("/packages/").text.count("<a ") == 1
