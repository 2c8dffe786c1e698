"""One small site, served in each of the two ways."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance import render, spec
from benchmarks.ports import HOST
from tests.nginx.servers import Server, application, listens, running, serving
from tests.nginx.sites import make_spec, nginx_port

PYINDEX = Path(sys.executable).with_name("pyindex")


@contextmanager
def embedded(directory: Path, before: Sequence[str] = ()) -> Iterator[Server]:
    """``pyindex serve``, after the words ``before``; what it writes is in ``log``."""
    path = make_spec(directory)
    port = spec.load(path).server.port
    command = [*before, str(PYINDEX), "serve", "-c", str(path), "--threads", "4", "--no-nginx"]
    with running(command, directory / "log", lambda: listens(port)):
        yield Server(port)


@contextmanager
def behind_nginx(directory: Path) -> Iterator[Server]:
    """nginx, and behind it the application; what that writes is in ``gunicorn.log``."""
    path = make_spec(directory)
    given = spec.load(path)
    site = serving(directory / "nginx", render.nginx(given, HOST))
    with application(path, given.server.port), site:
        yield Server(nginx_port(given))


WAYS = {"embedded": embedded, "nginx": behind_nginx}
