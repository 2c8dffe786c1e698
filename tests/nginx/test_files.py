"""What nginx sends itself is what the application would have sent: files."""

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
def test_files_are_the_same_from_both(
    pair: Pair, path: str, headers: dict[str, str], status: int
) -> None:
    """Validators, conditions and ranges, and every header of the answer."""
    whole = pair.both(path)
    known = {"etag": whole.headers["etag"], "modified": whole.headers["last-modified"]}
    answer = pair.both(path, {name: value.format(**known) for name, value in headers.items()})
    assert answer.status == status
    assert pair.both(path, method="HEAD").headers == whole.headers


DIFFERENT = [
    # RFC 9110 lets If-None-Match alone decide; nginx wants both to agree.
    ("GET", {"If-None-Match": "*", "If-Modified-Since": "Mon, 03 Feb 2003 04:05:06 GMT"}, 200, 304),
    # RFC 9110 knows ranges for GET only; nginx describes the part.
    ("HEAD", {"Range": "bytes=0-1"}, 206, 200),
]


@pytest.mark.parametrize(("method", "headers", "nginx", "application"), DIFFERENT)
def test_where_nginx_is_known_to_differ(
    pair: Pair, method: str, headers: dict[str, str], nginx: int, application: int
) -> None:
    """No client that we know asks so, and neither answer harms one that does."""
    assert pair.nginx.ask(WHEEL, headers, method).status == nginx
    assert pair.application.ask(WHEEL, headers, method).status == application


UNSATISFIABLE = ["bytes=99999999-", "bytes=-0", "bytes=9-5", "bytes=x", "bytes=1-2,", "bytes=1"]


@pytest.mark.parametrize("wanted", UNSATISFIABLE)
def test_both_refuse_the_same_ranges(pair: Pair, wanted: str) -> None:
    """416 with the file's size; only the text differs."""
    for server in (pair.nginx, pair.application):
        answer = server.ask(f"{WHEEL}.asc", {"Range": wanted})
        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */29")


def test_nginx_alone_serves_files(pair: Pair) -> None:
    """Files, metadata and signatures cost no Python; it is asked where a format is named."""
    for path in (WHEEL, f"{WHEEL}.metadata", f"{WHEEL}.asc", f"/main{WHEEL}"):
        assert pair.sender(path) == "nginx"
    assert pair.sender(f"{PAGE}?format={JSON}") == "application"
    assert pair.sender(PAGE, {"Accept": f"{JSON};q=0.5"}) == "application"


def test_a_client_that_leaves_costs_no_descriptor(pair: Pair) -> None:
    """A download that is cut off is closed on both sides; nginx keeps the file at hand, once."""
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
    """The processes that have ``path`` open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # either may be gone meanwhile
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if descriptor.readlink() == path:
                        found.append(process.name)
    return found
