"""Uploads beside pypiserver, devpi and pypiron: how many a second, one after another and many at
once, and when a page shows a file whose upload was answered 200; private reads beside public ones.
"""

import http.client
import itertools
import queue
import statistics
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from benchmarks import corpus, servers
from benchmarks.load import Target, Wrk, ratio
from benchmarks.ports import HOST
from benchmarks.report import Figure, Goal, number
from benchmarks.servers import USER, Server, ServerError
from benchmarks.tools import Tools

GROUP = "Uploads of wheels of 6 kB"
PARALLEL = 16
_OURS = "pyindex"
_ROUNDS = 4
_SECONDS = 120.0  # for one answer
_BOUNDARY = "b" * 40
_LOGIN = {"Authorization": "Basic " + b64encode(f"{USER}:{USER}".encode()).decode()}
HEADERS = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"} | _LOGIN
PRIVATE_GROUP = "Private index through nginx, with a password, beside a public one"
_READS = {
    "project page": "/simple/project-00000/",
    "10 kB wheel": f"/packages/{corpus.wheel_name(corpus.PROBE_PROJECT, '1.0')}",
}


@dataclass(frozen=True)
class Place:
    """Where a server takes uploads, where its project pages are, and how many files it is given in
    a round: fewer if it is slow."""

    server: Server
    upload: str
    pages: str
    files: int


@dataclass(frozen=True)
class Upload:
    """A wheel, and the body of the request that uploads it."""

    project: str
    filename: str
    body: bytes


def measure(tools: Tools, packages: Path, work: Path, count: int) -> Iterator[Figure]:
    """Measure with servers that have the ``count`` files of ``packages``; devpi, which would take
    hours to get them, has none."""
    names = (f"upload-{number}" for number in itertools.count())
    with ExitStack() as stack:
        places = _places(tools, packages, work, stack)
        for at_once, how in ((1, "one after another"), (PARALLEL, f"{PARALLEL} at once")):
            yield from _beside(_rates(places, names, at_once), how, count)
        yield from _delays(places, names, count)


def _places(tools: Tools, packages: Path, work: Path, stack: ExitStack) -> dict[str, Place]:
    """Start all servers."""
    own = stack.enter_context(ours(tools, packages, work / "ours"))
    theirs = corpus.linked(packages, work / "pypiserver")
    log = work / "pypiserver.log"
    pypiserver = stack.enter_context(servers.pypiserver(tools.pypiserver, theirs, log))
    pypiron = stack.enter_context(servers.pypiron(tools.pypiron, work / "pypiron"))
    servers.upload(pypiron, sorted(packages.iterdir()))
    devpi = stack.enter_context(servers.devpi(tools.devpi, work / "devpi"))
    index = f"/{servers.DEVPI_INDEX}/"
    return {
        _OURS: Place(own, "/legacy/", "/simple/", 64),
        "pypiserver": Place(pypiserver, "/", "/simple/", 64),
        "pypiron": Place(pypiron, "/legacy/", "/simple/", 64),
        "devpi": Place(devpi, index, f"{index}+simple/", 16),
    }


@contextmanager
def ours(tools: Tools, packages: Path, folder: Path) -> Iterator[Server]:
    """Run our server with the files, which the private index has, too."""
    for name in ("packages", servers.PRIVATE):
        corpus.linked(packages, folder / name)
    with servers.pyindex_accounts(tools.pyindex, folder) as server:
        server.settle()
        yield server


def private_reads(tools: Tools, packages: Path, work: Path, count: int) -> Iterator[Figure]:
    """Measure pages and files of the private index through nginx, with a password, beside the same
    of an index that all may read."""
    folder, wrk = work / "private", Wrk(tools.wrk)
    with (
        ours(tools, packages, folder) as application,
        servers.accounts_nginx(tools.nginx, folder, application) as nginx,
    ):
        for what, path in _READS.items():
            pair = {
                "private": Target(nginx, f"/{servers.PRIVATE}{path}", _LOGIN),
                "public": Target(nginx, path),
            }
            samples = wrk.interleaved(pair)
            value = ratio(*([each.rate for each in side] for side in samples.values()))
            rates = [statistics.median(each.rate for each in side) for side in samples.values()]
            detail = " and ".join(f"{number(rate)} req/s" for rate in rates)
            yield Figure(
                PRIVATE_GROUP, what, count, value, "of public", Goal("at least", 0.8), detail
            )


def _rates(
    places: Mapping[str, Place], names: Iterator[str], at_once: int
) -> dict[str, list[float]]:
    """Return the uploads a second of each round, in turns, forwards and backwards."""
    rates: dict[str, list[float]] = {name: [] for name in places}
    for turn in range(_ROUNDS):
        for name in list(places)[:: -1 if turn % 2 else 1]:
            place = places[name]
            uploads = [_upload(next(names)) for _ in range(place.files)]
            start = time.perf_counter()
            _send_all(place, uploads, at_once)
            rates[name].append(len(uploads) / (time.perf_counter() - start))
    return rates


def _beside(rates: Mapping[str, Sequence[float]], how: str, count: int) -> Iterator[Figure]:
    ours = rates[_OURS]
    for name, theirs in rates.items():
        if name != _OURS:
            detail = f"{number(statistics.median(ours))} and {number(statistics.median(theirs))} /s"
            value = ratio(ours, theirs)
            goal = Goal("at least", 1)
            yield Figure(GROUP, f"{how}, {name}", count, value, "times as fast", goal, detail)


def _delays(places: Mapping[str, Place], names: Iterator[str], count: int) -> Iterator[Figure]:
    """Measure from the answer to the upload until a page shows the file."""
    for name, place in places.items():
        times = [_delay(place, _upload(next(names))) for _ in range(10)]
        what = f"from the answer until a page shows the file, {name}"
        milliseconds = 1000 * statistics.median(times)
        goal = Goal("at most", 0) if name == _OURS else None
        unseen = sum(each > 0 for each in times)
        detail = f"not on the first page that was read after {unseen} of {len(times)} answers"
        yield Figure(GROUP, what, count, milliseconds, "ms", goal, detail)


def _delay(place: Place, upload: Upload) -> float:
    """Return the seconds from the answer to the request for the first page that shows the file:
    0 if it is the first one."""
    _send_all(place, [upload], 1)
    start = time.perf_counter()
    asked = 0.0
    while upload.filename not in _page(place, upload.project):
        time.sleep(0.002)
        asked = time.perf_counter() - start
        if asked > _SECONDS:
            raise ServerError(f"{upload.filename}: not on its page after {_SECONDS:.0f} s")
    return asked


def _page(place: Place, project: str) -> str:
    connection = http.client.HTTPConnection(HOST, place.server.port, timeout=_SECONDS)
    try:
        connection.request("GET", f"{place.pages}{project}/", headers={"Accept": "text/html"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _send_all(place: Place, uploads: Sequence[Upload], at_once: int) -> None:
    """Upload all over ``at_once`` connections. Raises ServerError if one is not answered 200."""
    waiting: queue.SimpleQueue[Upload] = queue.SimpleQueue()
    for upload in uploads:
        waiting.put(upload)
    problems: list[str] = []

    def send() -> None:
        connection = http.client.HTTPConnection(HOST, place.server.port, timeout=_SECONDS)
        try:
            while not problems:
                upload = waiting.get_nowait()
                connection.request("POST", place.upload, upload.body, HEADERS)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != HTTPStatus.OK:
                    problems.append(f"{upload.filename}: {answer.status} {text[:300]!r}")
        except queue.Empty:
            pass
        except OSError as error:
            problems.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise ServerError(f"port {place.server.port}: {problems[0]}")


def _upload(project: str) -> Upload:
    content = corpus.wheel(project, "1.0", bytes(4000))
    filename = corpus.wheel_name(project, "1.0")
    head, tail = around(filename, servers.upload_fields(filename, content))
    return Upload(project, filename, head + content + tail)


def around(filename: str, fields: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return what a form has before and after its file."""
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="content"; filename="{filename}"'
        "\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    return "".join([*parts, head]).encode(), f"\r\n--{_BOUNDARY}--\r\n".encode()
