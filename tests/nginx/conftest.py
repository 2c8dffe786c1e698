"""Appliance that most of these tests only read."""

from collections.abc import Iterator

import pytest

from appliance import render, spec
from benchmarks.ports import HOST
from tests.nginx.servers import Server, application, serving
from tests.nginx.sites import Pair, make_spec, nginx_port

# Settings of an operator around the site that must not change its answers.
SURROUNDINGS = """
    gzip on; gzip_types *; gzip_vary on; gzip_static always; gzip_min_length 1;
    charset utf-8; charset_types *; default_type text/x-around;
    open_file_cache max=100; open_file_cache_valid 1h; etag on; sendfile on; tcp_nopush on;
    map $http_upgrade $connection_upgrade { default upgrade; "" close; }
"""


@pytest.fixture(
    scope="package",
    params=[("", ""), ("/team/py.pi", SURROUNDINGS)],
    ids=["plain", "prefix and surroundings"],
)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    prefix, surroundings = request.param
    directory = tmp_path_factory.mktemp("site")
    path = make_spec(directory, prefix)
    given = spec.load(path)
    port, behind = nginx_port(given), given.server.port
    with (
        application(path, behind),
        serving(directory / "nginx", render.nginx(given, HOST), surroundings),
    ):
        yield Pair(given, Server(port, prefix), Server(behind))
