"""What it costs to take files in and to show them: from the folder to the page."""

import http.client
import shutil
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import corpus, servers
from benchmarks.report import Figure, Goal
from benchmarks.servers import Server
from benchmarks.tools import Tools

LIMIT = 600.0
GROUP = "Taking in and starting"
_POLL = 0.005


class NeverSeen(Exception):
    """Something that must become visible did not, within the time allowed."""


def first_intake(tools: Tools, packages: Path, state: Path, count: int) -> Figure:
    """Measure a first start on a folder of ``count`` small wheels, until every page is there."""
    expected = Counter(project for project, _ in corpus.releases(count))
    start = time.perf_counter()
    with servers.pyindex(tools.pyindex, packages, state, "/"):
        _wait(lambda: _complete(state / "www" / "simple", expected), LIMIT)
        taken = time.perf_counter() - start
    return Figure(
        GROUP,
        "first intake of small wheels, all pages published",
        count,
        count / taken,
        "files/s",
        Goal("at least", 2000) if count >= 10_000 else None,
        f"{taken:.1f} s from the start of the process",
    )


def large_intake(tools: Tools, cache: Path, work: Path, rounds: int = 3) -> Figure:
    """Measure large wheels beside ``sha256sum`` of the same files, in turns, all in memory."""
    source = corpus.large(cache, 4, 200)
    files = sorted(source.iterdir())
    size = sum(file.stat().st_size for file in files)
    command = [tools.sha256sum, *files]
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=300, check=True)  # warms up
    ours, theirs = [], []
    for number in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, timeout=300, check=True)
        theirs.append(time.perf_counter() - start)
        state = work / f"large-{number}"
        start = time.perf_counter()
        with servers.pyindex(tools.pyindex, source, state, "/"):
            expected = Counter({f"large-{n}": 1 for n in range(len(files))})
            _wait(lambda: _complete(state / "www" / "simple", expected), LIMIT)  # noqa: B023
            ours.append(time.perf_counter() - start)
    fastest = [size / corpus.MEBI / min(times) for times in (ours, theirs)]
    return Figure(
        GROUP,
        f"first intake of {len(files)} wheels of 200 MiB",
        len(files),
        statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
        "of sha256sum",
        Goal("at least", 0.8),
        f"{fastest[0]:,.0f} against {fastest[1]:,.0f} MiB/s at best",
    )


def unchanged_start(
    tools: Tools, packages: Path, state: Path, count: int, trials: int = 5
) -> Figure:
    """Measure a start on a folder and a state that agree, until a project page is answered."""
    times = []
    for _ in range(trials):
        path = f"/simple/{corpus.MANY_PROJECT}/"
        with servers.pyindex(tools.pyindex, packages, state, path) as server:
            times.append(server.ready_after)
    return Figure(
        GROUP,
        "start with an unchanged folder, first 200 on a project page",
        count,
        statistics.median(times),
        "s",
        Goal("at most", 1),
        f"median of {trials}, slowest {max(times):.2f} s",
    )


def dropped(server: Server, packages: Path, label: str, trials: int) -> list[float]:
    """Copy ``trials`` new files into the folder, each after the last is on its project page.

    Returns the seconds from the end of each copy to the first page that shows it.
    """
    times = []
    for number in range(trials):
        project, version = f"project-{number:05}", f"2.{label}{number}"
        name = corpus.wheel_name(project, version)
        content = corpus.wheel(project, version, bytes(4000))
        (packages / name).write_bytes(content)
        start = time.perf_counter()
        _wait(lambda: name in _page(server, f"/simple/{project}/"), 60)  # noqa: B023
        times.append(time.perf_counter() - start)
    return times


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
    connection = http.client.HTTPConnection(servers.HOST, server.port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _wait(condition: Callable[[], bool], limit: float) -> None:
    """Return when ``condition`` holds; raise NeverSeen after ``limit`` seconds."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise NeverSeen(f"not within {limit:.0f} s")
        time.sleep(_POLL)
