"""What it costs to take files in and to show them: from the folder to the page."""

import http.client
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from appliance import spec
from appliance.catalog.database import Catalog
from appliance.site.publish import Publisher
from benchmarks import corpus, servers
from benchmarks.ports import HOST
from benchmarks.report import Figure, Goal
from benchmarks.servers import Server
from benchmarks.tools import Tools

GROUP = "Intake, start and changes"
DROPPED = "file copied into the packages directory, until its project page shows it"
CHANGE = "yank of a file, until its page is on disk"
_POLL = 0.005
_INTAKE_LIMIT = 600.0
_PAGE_LIMIT = 60.0


class NeverSeenError(Exception):
    """Something that must become visible did not, within the time allowed."""


def first_intake(tools: Tools, packages: Path, state: Path, count: int) -> Figure:
    """Measure a first start on a folder of ``count`` small wheels, until every page is there."""
    expected = Counter(project for project, _ in corpus.releases(count))
    corpus.warm(packages)
    seconds, first, cpu = _take_in(tools, packages, state, expected)
    return Figure(
        GROUP,
        "first intake of small wheels, until the last page",
        count,
        count / seconds,
        "files/s",
        # With few files it is the start of Python that is measured.
        Goal("at least", 2000) if count >= 10_000 else None,
        f"{seconds:.1f} s from the start of the process, first page after {first:.1f} s, "
        f"CPU {cpu:.1f} s",
    )


def large_intake(tools: Tools, cache: Path, work: Path, rounds: int = 3) -> Figure:
    """Measure large wheels beside ``sha256sum`` of the same files, in turns, all in memory."""
    packages = corpus.large(cache, 4, corpus.LARGE)
    files = sorted(packages.iterdir())
    size = sum(file.stat().st_size for file in files) / corpus.MEBI
    expected = Counter(f"large-{number}" for number in range(len(files)))
    corpus.warm(packages)
    ours, theirs = [], []
    for number in range(rounds):
        theirs.append(size / _sha256sum(tools, files))
        ours.append(size / _take_in(tools, packages, work / f"large-{number}", expected)[0])
    return Figure(
        GROUP,
        f"first intake of wheels of {corpus.LARGE} MiB",
        len(files),
        statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        "of sha256sum",
        Goal("at least", 0.8),
        f"{statistics.median(ours):.0f} against {statistics.median(theirs):.0f} MiB/s",
    )


def unchanged_start(tools: Tools, packages: Path, state: Path, count: int) -> Figure:
    """Measure a start on a folder and a state that agree, until a project page is answered."""
    times = []
    for _ in range(5):
        path = f"/simple/{corpus.MANY_PROJECT}/"
        with servers.pyindex(tools.pyindex, packages, state, path) as server:
            times.append(server.ready_after)
    what = "start with an unchanged packages directory, first 200 on a project page"
    return _seconds(GROUP, what, count, times)


def dropped(ours: Server, packages: Path, count: int) -> Figure:
    """Measure how long after a copy into the folder a project page shows the file."""
    times = _drop(ours, packages, "1", 10)
    return _seconds(GROUP, DROPPED, count, times)


def dropped_beside(group: str, ours: Figure, theirs: Server, packages: Path, count: int) -> Figure:
    """Measure the same of a peer; returns how many times sooner ``ours`` was."""
    seconds = statistics.median(_drop(theirs, packages, "2", 3))
    detail = f"ours {ours.value:.2f} s; pypiserver {seconds:.2f} s"
    return Figure(group, DROPPED, count, seconds / ours.value, "times as fast", detail=detail)


def change(packages: Path, state: Path, count: int) -> Figure:
    """Measure one change from its transaction to its page on disk; the root page may lag."""
    index = spec.for_directory(packages, state)
    catalog = Catalog(index.catalog)
    publisher = Publisher(index, catalog)
    times = []
    for number in range(20):
        start = time.perf_counter()
        with catalog.change() as writer:
            name = corpus.wheel_name(f"project-{number:05}", "1.0")
            writer.yank(index.root, name, "measuring")
        publisher.publish()
        times.append(1000 * (time.perf_counter() - start))
    detail = f"median of {len(times)}, slowest {max(times):.1f} ms"
    return Figure(GROUP, CHANGE, count, statistics.median(times), "ms", None, detail)


def _take_in(
    tools: Tools, packages: Path, state: Path, expected: Counter[str]
) -> tuple[float, float, float]:
    """Start on a new state, until each page has its files; return the seconds until then, those
    until the first page, and those of CPU."""
    start = time.perf_counter()
    pages, missing = state / "www" / "simple", dict(expected)
    with servers.pyindex(tools.pyindex, packages, state) as server:
        _wait(lambda: _count(pages / next(iter(missing)) / "index.json", b'"filename"') > 0)
        first = time.perf_counter() - start
        _wait(lambda: _published(pages, missing))
        return time.perf_counter() - start, first, server.cpu()


def _drop(server: Server, packages: Path, label: str, trials: int) -> list[float]:
    """Return the seconds from the end of each copy to the first page that shows it."""
    times = []
    for number in range(trials):
        project, version = f"project-{number:05}", f"2.{label}"
        name = corpus.wheel_name(project, version)
        (packages / name).write_bytes(corpus.wheel(project, version, bytes(4000)))
        start = time.perf_counter()
        while name not in _page(server, f"/simple/{project}/"):
            if time.perf_counter() - start > _PAGE_LIMIT:
                raise NeverSeenError(f"{name}: not on its page within {_PAGE_LIMIT:.0f} s")
            time.sleep(_POLL)
        times.append(time.perf_counter() - start)
    return times


def _seconds(group: str, what: str, count: int, times: list[float]) -> Figure:
    detail = f"median of {len(times)}, slowest {max(times):.2f} s"
    return Figure(group, what, count, statistics.median(times), "s", Goal("at most", 1), detail)


def _sha256sum(tools: Tools, files: list[Path]) -> float:
    start = time.perf_counter()
    command = [tools.sha256sum, *files]
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=300, check=True)
    return time.perf_counter() - start


def _published(pages: Path, missing: dict[str, int]) -> bool:
    """Tell whether each project page has its number of files; forget those that were seen to."""
    for project, files in list(missing.items()):
        if _count(pages / project / "index.json", b'"filename"') != files:
            return False
        del missing[project]
    return True


def _count(page: Path, what: bytes) -> int:
    try:
        return page.read_bytes().count(what)
    except FileNotFoundError:
        return 0


def _page(server: Server, path: str) -> str:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=_PAGE_LIMIT)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _wait(condition: Callable[[], bool]) -> None:
    """Return when ``condition`` holds; raise NeverSeenError when that takes too long."""
    end = time.monotonic() + _INTAKE_LIMIT
    while not condition():
        if time.monotonic() > end:
            raise NeverSeenError(f"pages are not complete within {_INTAKE_LIMIT:.0f} s")
        time.sleep(_POLL)
