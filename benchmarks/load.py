"""Load from wrk: one sample a call, and rounds that take turns, so that a ratio of two servers
is of one and the same minute on the machine."""

import math
import re
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.ports import HOST
from benchmarks.servers import Command, Server

_LONGEST = 24
_REQUESTS = 20  # one after the other, that a sample should have time for
_UNITS = {
    "us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6,
    "B": 1.0, "KB": 1024.0, "MB": 1024.0**2, "GB": 1024.0**3, "": 1.0, "k": 1e3, "M": 1e6,
}  # fmt: skip


class LoadError(Exception):
    """The server under load did not answer as it must, so there is nothing to measure."""


@dataclass(frozen=True)
class Target:
    """One request to a server, to be repeated."""

    server: Server
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return the URL that is asked for."""
        return f"http://{HOST}:{self.server.port}{self.path}"

    def fetch(self) -> bytes:
        """Return the body of one answer; raise OSError when there is none."""
        request = urllib.request.Request(self.url, headers=dict(self.headers))
        with urllib.request.urlopen(request, timeout=60) as response:
            body: bytes = response.read()
            return body


@dataclass(frozen=True)
class Sample:
    """What wrk saw: requests and bytes per second, latencies in milliseconds; and how many cores
    the server kept busy meanwhile, which tells what a request costs whoever else is at work."""

    rate: float
    throughput: float
    p50: float
    p99: float
    cores: float = 0.0

    @property
    def cost(self) -> float:
        """Return the seconds of CPU that a request costs the server."""
        return self.cores / self.rate if self.rate else math.inf


@dataclass(frozen=True)
class Wrk:
    """How hard wrk drives a server."""

    program: Path
    threads: int = 2
    connections: int = 32
    seconds: int = 1
    rounds: int = 7

    def sample(self, target: Target, duration: int) -> Sample:
        """Return what ``duration`` seconds gave; raise LoadError on errors in them."""
        command: Command = [self.program, f"-t{self.threads}", f"-c{self.connections}"]
        command += [f"-d{duration}s", "--latency", "--timeout", "60s"]
        command += [part for pair in target.headers.items() for part in ("-H", ": ".join(pair))]
        command.append(target.url)
        start, cpu = time.perf_counter(), target.server.cpu()
        run = subprocess.run(command, capture_output=True, text=True, timeout=duration + 90)
        cores = (target.server.cpu() - cpu) / (time.perf_counter() - start)
        return replace(parse(run.stdout + run.stderr), cores=cores)

    def interleaved(self, targets: Mapping[str, Target]) -> dict[str, list[Sample]]:
        """Warm each target up, then sample all in turns, forwards and backwards."""
        lengths = {name: self._warm_up(target) for name, target in targets.items()}
        samples: dict[str, list[Sample]] = {name: [] for name in targets}
        for number in range(self.rounds):
            for name in list(targets)[:: -1 if number % 2 else 1]:
                samples[name].append(self.sample(targets[name], lengths[name]))
        return samples

    def _warm_up(self, target: Target) -> int:
        """Return how many seconds to sample: more, within bounds, for one that needs seconds."""
        start = time.perf_counter()
        target.fetch()
        needed = math.ceil(_REQUESTS * (time.perf_counter() - start))
        if needed <= self.seconds:
            self.sample(target, 1)
        return min(max(needed, self.seconds), _LONGEST)


def parse(output: str) -> Sample:
    """Return what wrk printed, as numbers; raise LoadError when it tells of failed requests."""
    if failure := re.search(r"Non-2xx.*|Socket errors.*|unable.*", output):
        raise LoadError(failure[0])

    def value(pattern: str) -> float:
        if (found := re.search(pattern + r"\s+([\d.]+)([a-zA-Z]*)", output)) is None:
            raise LoadError(f"wrk gave no {pattern!r}:\n{output}")
        return float(found[1]) * _UNITS[found[2]]

    return Sample(value("Requests/sec:"), value("Transfer/sec:"), value("50%"), value("99%"))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the rounds' ratios: a pair of neighbours shares the machine's mood."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
