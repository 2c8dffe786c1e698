"""``pyindex mirror`` beside ``pip download`` and mmw: the same requirements from the same index,
near and at a distance, each into an empty directory with empty caches.

The index was mirrored before from where this machine's pip fetches; while it is measured, nothing
outside of the machine is asked.
"""

import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from appliance import spec
from appliance.operations.update import update
from benchmarks import collectors, corpus, servers
from benchmarks.collectors import Matrix, Run
from benchmarks.ports import HOST
from benchmarks.report import Figure, Goal
from benchmarks.tools import Tools

GROUP = "Mirror"
ROUND_TRIP, RATE = 0.04, 20e6  # seconds; bytes a second and connection
FULL = Matrix(
    (
        *("jupyterlab", "scipy", "pandas", "scikit-learn", "matplotlib", "bokeh", "dask"),
        *("xarray", "seaborn", "statsmodels"),
    ),
    ("3.12", "3.13", "3.14"),
)


def mirrored(tools: Tools, cache: Path, matrix: Matrix = FULL) -> tuple[Path, Path]:
    """Return packages and state of the index to measure with, mirrored if it is not there yet."""
    directory = cache / f"mirrored-{'-'.join((*matrix.pythons, *matrix.requirements))}"
    packages, state = directory / "packages", directory / "state"
    if not (directory / "complete").exists():
        packages.mkdir(parents=True, exist_ok=True)
        # pip judges markers by the Python that runs it, also for another one.
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        wider = replace(matrix, pythons=tuple(dict.fromkeys((*matrix.pythons, running))))
        collectors.run(collectors.mirror(tools, packages, state, wider), directory, os.environ)
        (directory / "complete").touch()
    return packages, state


def measure(
    tools: Tools,
    upstream: tuple[Path, Path],
    work: Path,
    matrix: Matrix = FULL,
    wheels: tuple[int, int] = (20, 400),
) -> Iterator[Figure]:
    """Measure with one target and with all, near and at a distance; then the peak of memory.

    ``upstream`` has the packages and the state of the index to fetch from, ``wheels`` the sizes of
    two wheels in MiB.
    """
    with servers.index_nginx(tools.nginx, work / "near", *upstream) as near:
        yield from _beside(tools, work, matrix, "near", near.port, near.port, rounds=3)
        with servers.distant(near, work / "distance.log", ROUND_TRIP, RATE) as far:
            yield from _beside(tools, work, matrix, "distant", far.port, near.port, rounds=1)
    yield _memory(tools, work, wheels)


def _beside(
    tools: Tools, work: Path, matrix: Matrix, where: str, port: int, counted: int, rounds: int
) -> Iterator[Figure]:
    """Measure from the index on ``port``: one target against pip, then all against both."""
    url = f"http://{HOST}:{port}/simple/"
    log = work / "near" / "access"
    one = matrix.first
    ours, theirs = [], []
    for number in range(rounds):
        directory = work / f"{where}-one-{number}"
        ours.append(collectors.ours(tools, directory, one, url))
        theirs.append(collectors.pip(directory, one, url))
    fetched = collectors.size(work / f"{where}-one-0" / "packages")
    goals = {"near": Goal("at least", 2), "distant": Goal("at least", 6)}
    yield _ratio(f"one target, {where}, pip download", fetched, ours, theirs, goals[where])

    directory = work / f"{where}-all"
    ours = [collectors.ours(tools, directory, matrix, url)]
    fetched = collectors.size(directory / "packages")
    before = _sent(log)
    again = collectors.ours(tools, directory, matrix, url)
    sent = _sent(log) - before
    mmw = collectors.mmw(tools, directory, matrix, url)
    pip = collectors.pip(directory, matrix, url)
    count, what = fetched[0], f"{len(matrix.targets)} targets, {where}"
    goal = Goal("at least", 10) if where == "distant" else None
    yield _ratio(f"{what}, pip download for one after the other", fetched, ours, [pip], goal)
    yield _ratio(f"{what}, mmw", fetched, ours, [mmw], Goal("at least", 1))
    yield Figure(
        GROUP,
        f"{what}, repeated run with nothing new",
        count,
        again.seconds / ours[0].seconds,
        "of the first",
        Goal("at most", 0.1),
        f"{_text(again)} after {_text(ours[0])}",
    )
    yield Figure(
        GROUP, f"{what}, repeated run, sent by the index", count, sent, "bytes", Goal("at most", 0)
    )


def _ratio(
    what: str,
    fetched: tuple[int, float],
    ours: Sequence[Run],
    theirs: Sequence[Run],
    goal: Goal | None,
) -> Figure:
    pairs = zip(ours, theirs, strict=True)
    value = statistics.median(their.seconds / our.seconds for our, their in pairs)
    detail = f"{fetched[1]:.0f} MB; ours {_text(*ours)}; theirs {_text(*theirs)}"
    return Figure(GROUP, what, fetched[0], value, "times as fast", goal, detail)


def _text(*runs: Run) -> str:
    seconds = statistics.median(run.seconds for run in runs)
    cpu = statistics.median(run.cpu for run in runs)
    return f"{seconds:.1f} s (CPU {cpu:.1f} s)"


def _memory(tools: Tools, work: Path, wheels: tuple[int, int]) -> Figure:
    """Measure the peak of memory with a small wheel, and with a large one."""
    packages, state = work / "wheels" / "packages", work / "wheels" / "state"
    packages.mkdir(parents=True)
    for size in wheels:
        content = corpus.wheel(f"wheel-{size}", "1.0", os.urandom(size * corpus.MEBI))
        (packages / corpus.wheel_name(f"wheel-{size}", "1.0")).write_bytes(content)
    update(spec.for_directory(packages, state))

    target = FULL.first
    with servers.index_nginx(tools.nginx, work / "wheels-nginx", packages, state) as server:
        small, large = (
            collectors.ours(
                tools,
                work / f"peak-{size}",
                Matrix((f"wheel-{size}",), target.pythons, target.platforms),
                f"http://{HOST}:{server.port}/simple/",
                "--no-deps",
            )
            for size in wheels
        )
    detail = f"{small.peak:.0f} MiB, then {large.peak:.0f} MiB"
    return Figure(
        GROUP,
        f"peak of memory with a wheel of {wheels[1]} MiB",
        1,
        large.peak / small.peak,
        f"of that with {wheels[0]} MiB",
        Goal("at most", 1.1),
        detail,
    )


def _sent(log: Path) -> int:
    """Return the bytes of all bodies that an index has sent, by its log."""
    return sum(map(int, log.read_text().split()))
