"""``pyindex mirror`` beside ``pip download`` and mmw: the same requirements from the same index,
near and at a distance, each into an empty directory with empty caches.

The index was mirrored before from where this machine's pip fetches; while it is measured, nothing
outside of the machine is asked.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from appliance import spec
from appliance.operations.update import update
from appliance.targets.choice import choose
from appliance.targets.target import Target
from benchmarks import corpus, servers
from benchmarks.ports import HOST
from benchmarks.report import Figure, Goal
from benchmarks.tools import ToolError, Tools

GROUP = "Mirror"
ROUND_TRIP, RATE = 0.04, 20e6  # seconds; bytes a second and connection
_LIMIT = 900.0
# The peak of memory of a process is at least that of the process that forked it, so a small one
# starts what is measured.
_LAUNCHER = """\
import json, os, sys, time
result, *command = sys.argv[1:]
start = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawnp(command[0], command, os.environ), 0)
seconds = time.perf_counter() - start
with open(result, "w") as file:
    json.dump([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], file)
sys.exit(os.waitstatus_to_exitcode(status))
"""
# mmw knows one index only; this is the least that makes it ask another one. Its uv would look for
# Pythons to download, which takes seconds where there is no network.
_MMW = """\
import sys
from urllib.parse import urljoin
from mmw.providers.pypi import index, uv
base, *words = sys.argv[1:]
index.SIMPLE_URL = uv.INDEX_URL = base
entry_of, index._file_url_ok = index._parse_entry, lambda url: True
index._parse_entry = lambda project, entry: entry_of(
    project, entry | {"url": urljoin(f"{base}{project}/", entry["url"])}
)
run, uv._run_uv = uv._run_uv, lambda command, *rest: run([*command, "--no-python-downloads"], *rest)
from mmw.cli import app
sys.argv[1:] = words
app()
"""
_MMW_CONFIG = """\
[settings]
mirror_dir = "{directory}/mirror"
max_connections = 16
update_check = false

[[sources]]
provider = "pypi"
pythons = {pythons}
platforms = {platforms}
arches = ["amd64"]
glibc = "2.28"
requirements = {requirements}
"""


@dataclass(frozen=True)
class Matrix:
    """What is fetched: ``requirements`` on CPythons, each on glibc 2.28 and Windows, on x86_64."""

    requirements: tuple[str, ...]
    pythons: tuple[str, ...]
    platforms: tuple[str, ...] = ("manylinux_2_28_x86_64", "win_amd64")

    @property
    def targets(self) -> list[Target]:
        names = [f"cp{python.replace('.', '')}" for python in self.pythons]
        return list(choose([f"{each}-{on}" for each in names for on in self.platforms], None))

    @property
    def first(self) -> "Matrix":
        """One target of it."""
        return Matrix(self.requirements, self.pythons[:1], self.platforms[:1])


FULL = Matrix(
    (
        *("jupyterlab", "scipy", "pandas", "scikit-learn", "matplotlib", "bokeh", "dask"),
        *("xarray", "seaborn", "statsmodels"),
    ),
    ("3.12", "3.13", "3.14"),
)


@dataclass(frozen=True)
class Run:
    """A process that has ended: its seconds, those of CPU, and its peak memory in MiB."""

    seconds: float
    cpu: float
    peak: float


def mirrored(tools: Tools, cache: Path, matrix: Matrix = FULL) -> tuple[Path, Path]:
    """Return packages and state of the index to measure with, mirrored if it is not there yet."""
    directory = cache / f"mirrored-{'-'.join((*matrix.pythons, *matrix.requirements))}"
    packages, state = directory / "packages", directory / "state"
    if not (directory / "complete").exists():
        packages.mkdir(parents=True, exist_ok=True)
        # pip judges markers by the Python that runs it, also for another one.
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        wider = replace(matrix, pythons=tuple(dict.fromkeys((*matrix.pythons, running))))
        _run(_mirror(tools, packages, state, wider), directory, os.environ)
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
        ours.append(_ours(tools, directory, one, url))
        theirs.append(_pip(directory, one, url))
    fetched = _size(work / f"{where}-one-0" / "packages")
    goals = {"near": Goal("at least", 2), "distant": Goal("at least", 6)}
    yield _ratio(f"one target, {where}, pip download", fetched, ours, theirs, goals[where])

    directory = work / f"{where}-all"
    ours = [_ours(tools, directory, matrix, url)]
    fetched = _size(directory / "packages")
    before = _sent(log)
    again = _ours(tools, directory, matrix, url)
    sent = _sent(log) - before
    mmw = _mmw(tools, directory, matrix, url)
    pip = _pip(directory, matrix, url)
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
            _ours(
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


# --- programs ------------------------------------------------------------------------------------


def _mirror(tools: Tools, packages: Path, state: Path, matrix: Matrix) -> list[str | Path]:
    targets = [word for each in matrix.targets for word in ("--target", each.name)]
    places: list[str | Path] = ["--directory", packages, "--state", state]
    return [tools.pyindex, "mirror", *matrix.requirements, *targets, *places]


def _ours(tools: Tools, directory: Path, matrix: Matrix, url: str, *options: str) -> Run:
    packages, state = directory / "packages", directory / "state"
    packages.mkdir(parents=True, exist_ok=True)
    command = [*_mirror(tools, packages, state, matrix), "--index-url", url, *options]
    return _run(command, directory)


def _pip(directory: Path, matrix: Matrix, url: str) -> Run:
    """Run pip for each target; return the sums."""
    runs = []
    for target in matrix.targets:
        into = directory / f"pip-{target.name}"
        into.mkdir(parents=True, exist_ok=True)
        platforms = dict.fromkeys(tag.platform for tag in target.tags if tag.platform != "any")
        command: list[str | Path] = [sys.executable, "-m", "pip", "download", "--quiet"]
        command += ["--no-cache-dir", "--index-url", url, "--dest", into]
        command += ["--only-binary", ":all:", "--implementation", "cp"]
        command += ["--python-version", target.environment["python_version"]]
        command += [word for each in platforms for word in ("--platform", each)]
        runs.append(_run([*command, *matrix.requirements], directory))
    return Run(
        sum(run.seconds for run in runs), sum(run.cpu for run in runs), max(r.peak for r in runs)
    )


def _mmw(tools: Tools, directory: Path, matrix: Matrix, url: str) -> Run:
    names = {"manylinux_2_28_x86_64": "linux-glibc", "win_amd64": "windows"}
    place = directory / "mmw"
    place.mkdir(parents=True)
    config = _MMW_CONFIG.format(
        directory=place,
        pythons=list(matrix.pythons),
        platforms=[names[each] for each in matrix.platforms],
        requirements=list(matrix.requirements),
    )
    (place / "mmw.toml").write_text(config)
    run = _run([tools.mmw, "-c", _MMW, url, "sync", "--quiet"], place)
    if (got := _size(place / "mirror")[1]) < 0.9 * (wanted := _size(directory / "packages")[1]):
        raise ToolError(f"mmw fetched {got:.0f} of {wanted:.0f} MB: see {place}/output")
    return run


def _run(
    command: Sequence[str | Path], directory: Path, environment: Mapping[str, str] | None = None
) -> Run:
    """Run a command in ``directory``, without any setting of pip and uv unless ``environment`` is
    given. Raises ToolError if it fails or takes too long."""
    result = directory / "result"
    with (directory / "output").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER, result, *command],
            cwd=directory,
            env=_environment() if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(_LIMIT)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        text = (directory / "output").read_text(errors="replace")[-2000:]
        raise ToolError(f"{' '.join(map(str, command))[:200]}: exit {code}: {text}")
    return Run(*json.loads(result.read_text()))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
    return kept | {"PIP_CONFIG_FILE": os.devnull}


def _size(directory: Path) -> tuple[int, float]:
    """Return the number of files below ``directory``, and their megabytes."""
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes) / 1e6


def _sent(log: Path) -> int:
    """Return the bytes of all bodies that an index has sent, by its log."""
    return sum(map(int, log.read_text().split()))
