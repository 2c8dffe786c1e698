"""Package files from nginx and from the application: equal answers."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from appliance.web.negotiate import JSON
from benchmarks.ports import HOST
from tests.conftest import eventually
from tests.nginx.servers import PATIENCE
from tests.nginx.sites import LARGE, PAGE, WHEEL, Pair

FUTURE = "Mon, 03 Feb 2098 04:05:06 GMT"

CONDITIONS: list[tuple[dict[str, str], int]] = [
    ({}, 200),
    ({"If-None-Match": "{etag}"}, 304),
    ({"If-None-Match": 'W/"x",W/{etag}'}, 304),
    ({"If-None-Match": '"x"'}, 200),
    ({"If-Modified-Since": "Mon, 03 Feb 2020 04:05:05 GMT"}, 200),
    ({"If-Modified-Since": "{modified}"}, 304),
    ({"If-Modified-Since": FUTURE}, 304),
    ({"Range": "bytes=0-0"}, 206),
    ({"Range": "bytes=5-9"}, 206),
    ({"Range": "bytes=0-"}, 206),
    ({"Range": "bytes=-5"}, 206),
    ({"Range": "bytes=-99999999"}, 206),
    ({"Range": "bytes=5-9,99999999-"}, 206),
    ({"Range": "bytes=0-1,3-4"}, 200),
    ({"Range": "lines=0-1"}, 200),
    ({"Range": "bytes=1-2", "If-Range": "{etag}"}, 206),
    ({"Range": "bytes=1-2", "If-Range": "{modified}"}, 206),
    ({"Range": "bytes=1-2", "If-Range": '"x"'}, 200),
    ({"Range": "bytes=1-2", "If-Range": FUTURE}, 200),
    ({"Range": "bytes=1-2", "If-None-Match": "{etag}"}, 304),
    ({"Accept": "image/png", "Accept-Encoding": "gzip"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), CONDITIONS)
@pytest.mark.parametrize("path", [WHEEL, f"{WHEEL}.metadata", f"{WHEEL}.asc", LARGE])
def test_servers_send_same_files(
    pair: Pair, path: str, headers: dict[str, str], status: int
) -> None:
    """Both servers send the same status, headers and body for conditions and ranges."""
    whole = pair.both(path)
    known = {"etag": whole.headers["etag"], "modified": whole.headers["last-modified"]}
    answer = pair.both(path, {name: value.format(**known) for name, value in headers.items()})
    assert answer.status == status
    assert pair.both(path, method="HEAD").headers == whole.headers


DIFFERENT = [
    # RFC 9110 lets If-None-Match alone decide; nginx requires both to agree.
    ("GET", {"If-None-Match": "*", "If-Modified-Since": "Mon, 03 Feb 2003 04:05:06 GMT"}, 200, 304),
    # RFC 9110 defines ranges for GET only; nginx describes the range for HEAD too.
    ("HEAD", {"Range": "bytes=0-1"}, 206, 200),
]


@pytest.mark.parametrize(("method", "headers", "nginx", "application"), DIFFERENT)
def test_known_differences_of_nginx(
    pair: Pair, method: str, headers: dict[str, str], nginx: int, application: int
) -> None:
    """nginx differs from the application only in two conditions that no known client sends."""
    assert pair.nginx.ask(WHEEL, headers, method).status == nginx
    assert pair.application.ask(WHEEL, headers, method).status == application


UNSATISFIABLE = ["bytes=99999999-", "bytes=-0", "bytes=9-5", "bytes=x", "bytes=1-2,", "bytes=1"]


@pytest.mark.parametrize("header", UNSATISFIABLE)
def test_servers_reject_same_ranges(pair: Pair, header: str) -> None:
    """Both servers answer 416 with the size of the file to the same ranges."""
    for server in (pair.nginx, pair.application):
        answer = server.ask(f"{WHEEL}.asc", {"Range": header})
        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */29")


def test_nginx_serves_files_without_application(pair: Pair) -> None:
    """nginx serves files, metadata and signatures without the application."""
    for path in (WHEEL, f"{WHEEL}.metadata", f"{WHEEL}.asc", f"/main{WHEEL}"):
        assert pair.sender(path) == "nginx"
    assert pair.sender(f"{PAGE}?format={JSON}") == "application"
    assert pair.sender(PAGE, {"Accept": f"{JSON};q=0.5"}) == "application"


def test_aborted_download_leaks_no_descriptor(pair: Pair) -> None:
    """An aborted download leaves at most the one descriptor that nginx caches."""
    held = Path(pair.spec.indexes["main"].packages, LARGE[10:])
    for server in (pair.application, pair.nginx):
        for _ in range(8):
            with socket.create_connection((HOST, server.port), timeout=PATIENCE) as connection:
                request = f"GET {server.prefix}{LARGE} HTTP/1.1\r\nHost: x\r\n\r\n"
                connection.sendall(request.encode())
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
                assert _holders(held)
    eventually(lambda: len(_holders(held)) <= 1)


def _holders(path: Path) -> list[str]:
    """Return the ids of the processes that have ``path`` open."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # process or descriptor may have ended
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if descriptor.readlink() == path:
                        pids.append(process.name)
    return pids
