"""Stand-in for another index by an index that not every client may read."""

import os
from collections.abc import Iterator

import pytest

from appliance import render
from appliance.operations.update import update
from benchmarks.ports import free_port
from tests.conftest import scanned
from tests.dist import make_wheel
from tests.nginx.certificates import certificate, privileged
from tests.nginx.servers import application, serving
from tests.nginx.sites import load
from tests.nginx.test_stand_in import FILES, INDEX, Site
from tests.web.test_login import ALICE, BOB, write_accounts

pytestmark = privileged
RIGHTS: list[dict[str, object]] = [
    {"read": ["alice"]},
    {"projects": {"foo": {"read": ["alice"]}}},
]


@pytest.fixture(scope="module", params=RIGHTS, ids=["private", "by project"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("private-stand-in")
    number = os.getpid() + RIGHTS.index(request.param)
    address = f"127.{128 + (number >> 16 & 63)}.{number >> 8 & 0xFF}.{number & 0xFF}"
    tls = certificate(directory, f"IP:{address},DNS:{INDEX},DNS:{FILES}")
    write_accounts(directory / "htpasswd")
    settings: dict[str, object] = {
        "url": f"https://{address}/py",
        "accounts": {"htpasswd": "htpasswd"},
        "indexes": {"main": {"packages": "main", **request.param}},
        "nginx": {"stand_in": [INDEX, FILES]},
    }
    given = load(directory, settings, tls, "debian-12")
    given.indexes["main"].packages.mkdir()
    make_wheel(given.indexes["main"].packages, "foo", "1.0")
    update(given)
    scanned(given)
    path, port = directory / "app.sock", free_port()
    text = render.nginx(given, address).replace(render.SOCKET, str(path))
    with (
        application(directory / "pyindex.yml", port, f"unix:{path}"),
        serving(directory / "nginx", text),
    ):
        yield Site(given, address, tls["ca"], port)


def test_stand_in_asks_who_may_read(site: Site) -> None:
    """Pages, and files by digest, are for the readers of the index, whatever the host name."""
    refused = {401, 403} if site.spec.indexes["main"].read == ("alice",) else {404}
    by_digest = site.by_digest("main", "foo")
    for path in ("/simple/foo/", by_digest, f"{by_digest}.metadata"):
        for _ in range(2):
            for headers in ({}, {"Authorization": BOB}):
                for host in (INDEX, FILES):
                    assert site.ask(host, path, headers).status in refused
            for host in (INDEX, FILES):
                assert site.ask(host, path, {"Authorization": ALICE}).status == 200
