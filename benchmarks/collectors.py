"""Programs that collect, run once each: ``pyindex mirror``, ``pip download`` and mmw."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.targets.choice import choose
from appliance.targets.target import Target
from benchmarks.tools import ToolError, Tools

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


@dataclass(frozen=True)
class Run:
    """A process that has ended: its seconds, those of CPU, and its peak memory in MiB."""

    seconds: float
    cpu: float
    peak: float


def mirror(tools: Tools, packages: Path, state: Path, matrix: Matrix) -> list[str | Path]:
    targets = [word for each in matrix.targets for word in ("--target", each.name)]
    places: list[str | Path] = ["--directory", packages, "--state", state]
    return [tools.pyindex, "mirror", *matrix.requirements, *targets, *places]


def ours(tools: Tools, directory: Path, matrix: Matrix, url: str, *options: str) -> Run:
    packages, state = directory / "packages", directory / "state"
    packages.mkdir(parents=True, exist_ok=True)
    command = [*mirror(tools, packages, state, matrix), "--index-url", url, *options]
    return run(command, directory)


def pip(directory: Path, matrix: Matrix, url: str) -> Run:
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
        runs.append(run([*command, *matrix.requirements], directory))
    return Run(
        sum(run.seconds for run in runs), sum(run.cpu for run in runs), max(r.peak for r in runs)
    )


def mmw(tools: Tools, directory: Path, matrix: Matrix, url: str) -> Run:
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
    done = run([tools.mmw, "-c", _MMW, url, "sync", "--quiet"], place)
    if (got := size(place / "mirror")[1]) < 0.9 * (wanted := size(directory / "packages")[1]):
        raise ToolError(f"mmw fetched {got:.0f} of {wanted:.0f} MB: see {place}/output")
    return done


def run(
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


def size(directory: Path) -> tuple[int, float]:
    """Return the number of files below ``directory``, and their megabytes."""
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes) / 1e6
