"""Fixtures of the web application."""

import pytest
from falcon.testing import TestClient

from appliance.web.app import create_app
from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel


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
