"""Measure, print the tables, write the figures as JSON. Ends 1 when a goal is missed."""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import collecting, corpus, large, reading, servers, tools, uploads, writing
from benchmarks.load import LoadError, Wrk
from benchmarks.report import Figure, Goal, Report, growth, row
from benchmarks.servers import Server
from benchmarks.tools import Tools

CACHE = Path(".cache/bench").absolute()
RESULTS = Path("benchmarks/results")
PARTS = ("serving", "collecting", "uploads")
# What may not grow with the number of files, but for the noise of the measurement.
_STEADY = {
    (reading.EMBEDDED_GROUP, reading.WORKER): Goal("at most", 1.1),
    (writing.GROUP, writing.DROPPED): Goal("at most", 1.5),
    (writing.GROUP, writing.CHANGE): Goal("at most", 1.5),
}
_FAILURES = (tools.ToolError, servers.ServerError, LoadError, writing.NeverSeenError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("benchmarks: terminated"))  # ends servers
    try:
        found = tools.prepare(CACHE)
        report = Report(_machine(found), [])
        for figure in measure(found, options.sizes, options.only):
            print(row(figure.cells()), file=sys.stderr)
            report.figures.append(figure)
    except _FAILURES as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    report.figures.extend(growth(report.figures, _STEADY))
    report.save(options.out)
    print(report.markdown())
    print(f"Written to {options.out}.")
    return 1 if report.missed else 0


def measure(found: Tools, sizes: Sequence[int], only: str | None) -> Iterator[Figure]:
    """Measure the parts that are wanted: ``only`` one of PARTS, or all."""
    with _workspace() as work:
        if only in (None, "collecting"):
            yield from collecting.measure(found, collecting.mirrored(found, CACHE), work)
        if only in (None, "serving"):
            yield from _serving(found, work, sizes)
        if only in (None, "uploads"):
            packages = corpus.small(CACHE, sizes[-1])
            (folder := work / "uploads").mkdir()
            yield from uploads.measure(found, packages, folder, sizes[-1])
            yield from uploads.private_reads(found, packages, folder, sizes[-1])
            yield from large.measure(found, packages, folder)


def _serving(found: Tools, work: Path, sizes: Sequence[int]) -> Iterator[Figure]:
    """Measure with each number of files, and what does not depend on it with the last."""
    for size in sizes:
        packages = corpus.linked(corpus.small(CACHE, size), work / str(size) / "packages")
        yield from _with_size(found, packages, size)
    if len(sizes) > 1:
        yield _across_sizes(found, work, min(sizes), max(sizes))
    yield writing.large_intake(found, CACHE, work)
    yield from _with_nginx(found, packages, sizes[-1])


def _with_size(found: Tools, packages: Path, size: int) -> Iterator[Figure]:
    state = packages.with_name("state")
    pages = state / "www" / "simple"
    yield writing.first_intake(found, packages, state, size)
    yield writing.unchanged_start(found, packages, state, size)
    with servers.pyindex(found.pyindex, packages, state) as ours:
        ours.settle()
        with servers.constant(reading.html(pages), state.with_name("constant.log")) as constant:
            yield from reading.embedded(Wrk(found.wrk), ours, constant, size)
        yield reading.memory(ours, size)
        with _pypiserver(found, packages) as theirs:
            yield from reading.beside_pypiserver(found.wrk, ours, theirs, size)
        yield (seen := writing.dropped(ours, packages, size))
    with _pypiserver(found, packages) as theirs:
        yield writing.dropped_beside(reading.PEER_GROUP, seen, theirs, packages, size)
    yield writing.change(packages, state, size)


def _across_sizes(found: Tools, work: Path, least: int, most: int) -> Figure:
    few, many = (work / str(size) for size in (least, most))
    with (
        servers.pyindex(found.pyindex, few / "packages", few / "state") as fewest,
        servers.pyindex(found.pyindex, many / "packages", many / "state") as mostest,
    ):
        fewest.settle()
        mostest.settle()
        return reading.growth(Wrk(found.wrk), fewest, mostest, most)


def _with_nginx(found: Tools, packages: Path, size: int) -> Iterator[Figure]:
    """Measure nginx on the state of ``packages``, to which one large file is added."""
    state, large = packages.with_name("state"), corpus.wheel_name("large-0", "1.0")
    os.link(corpus.large(CACHE, 4, corpus.LARGE) / large, packages / large)
    ready = f"/packages/{large}"
    with (
        servers.pyindex(found.pyindex, packages, state, ready) as application,
        servers.pyindex_nginx(
            found.nginx, packages.with_name("nginx"), packages, state, application
        ) as ours,
        servers.plain_nginx(
            found.nginx, packages.with_name("plain"), state / "www", packages
        ) as plain,
    ):
        application.settle()
        yield from reading.behind_nginx(Wrk(found.wrk), ours, plain, size, large)
        with servers.pypiron(found.pypiron, packages.with_name("pypiron")) as theirs:
            servers.upload(theirs, [*reading.shared(packages), packages / large])
            yield from reading.beside_pypiron(Wrk(found.wrk), ours, theirs, size, large)


def _pypiserver(found: Tools, packages: Path) -> AbstractContextManager[Server]:
    return servers.pypiserver(found.pypiserver, packages, packages.with_name("pypiserver.log"))


@contextmanager
def _workspace() -> Iterator[Path]:
    """Make a folder for this run beside the corpora, so that they can be linked, not copied."""
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    work.chmod(0o755)
    try:
        yield work
    finally:
        shutil.rmtree(work)


def _machine(found: Tools) -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    machine = {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
    return machine | found.versions


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--sizes",
        type=lambda text: [_size(each) for each in text.split(",")],
        default=[1_000, 10_000],
        help="numbers of files, e.g. 1k,10k,100k (default: 1k,10k)",
    )
    parser.add_argument(
        "--only",
        choices=PARTS,
        help="measure one part: servers and intake, `pyindex mirror`, or uploads (default: all)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json",
        help="file for the figures (default: named by the time, %(default)s)",
    )
    return parser


def _size(text: str) -> int:
    """Read a number of files as people write it: 1k, 10k, 2500."""
    return int(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)


if __name__ == "__main__":
    sys.exit(main())
