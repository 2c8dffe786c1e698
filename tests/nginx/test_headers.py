"""Headers that both nginx and the application add: those of ``appliance.headers``."""

import pytest

from appliance.headers import CLIENT_FILE, PACKAGE_FILE, PAGE, SECURITY, Headers
from tests.nginx import sites
from tests.nginx.sites import Pair

SENT: list[tuple[str, int, Headers]] = [
    ("/simple/", 200, PAGE),
    (sites.PAGE, 200, PAGE),
    (sites.WHEEL, 200, PACKAGE_FILE),
    (f"{sites.WHEEL}.metadata", 200, PACKAGE_FILE),
    (f"{sites.WHEEL}.asc", 200, PACKAGE_FILE),
    ("/-/pip.conf", 200, CLIENT_FILE),
    ("/", 200, ()),
    ("/simple/Foo_Bar/", 301, ()),
    ("/simple/nothing/", 404, ()),
    ("/packages/nothing", 404, ()),
]


@pytest.mark.parametrize(("path", "status", "own"), SENT)
def test_servers_send_same_headers(pair: Pair, path: str, status: int, own: Headers) -> None:
    """Both servers send each header of ``appliance.headers`` once with every answer."""
    for server in (pair.nginx, pair.application):
        answer = server.ask(path)
        assert answer.status == status
        expected = {name.lower(): value for name, value in SECURITY + own}
        assert {name: answer.headers[name] for name in expected} == expected
