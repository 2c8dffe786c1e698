"""How fast pages and files are sent: by nginx beside plain nginx, by the embedded server beside
the least that its framework can do, and both jobs beside pypiserver."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from benchmarks import corpus
from benchmarks.load import LoadError, Sample, Target, Wrk, ratio
from benchmarks.report import GROWTH_GROUP, Figure, Goal, number
from benchmarks.servers import Server

NGINX_GROUP = "Through nginx, beside the same nginx sending the same bytes by a plain location"
EMBEDDED_GROUP = "Embedded server, beside the same gunicorn and falcon with a constant page"
RIVAL_GROUP = "Through nginx, beside pypiron, which has 311 of the files"
PEER_GROUP = "Beside pypiserver (waitress, with its cache)"
PROBE_FILE = corpus.wheel_name(corpus.PROBE_PROJECT, "1.0")
PAGE = "project page"
WORKER = "memory of a worker (PSS)"
_SMALL_PROJECT = "project-00000"
_JSON = "application/vnd.pypi.simple.v1+json"
_MANY = f"project page of {corpus.MANY} files"
_PAGES = {PAGE: _SMALL_PROJECT, _MANY: corpus.MANY_PROJECT}
_FORMS = {
    "HTML": ("index.html", {"Accept": "text/html"}),
    "HTML, gzipped": ("index.html.gz", {"Accept": "text/html", "Accept-Encoding": "gzip"}),
    "JSON": ("index.json", {"Accept": _JSON}),
    "JSON, gzipped": ("index.json.gz", {"Accept": _JSON, "Accept-Encoding": "gzip"}),
}


def behind_nginx(wrk: Wrk, ours: Server, plain: Server, count: int, large: str) -> list[Figure]:
    """Measure files and every form of a page; ``large`` is the name of the large file."""
    figures = []
    for what, name in {"10 kB wheel": PROBE_FILE, "200 MB wheel": large}.items():
        path, bulk = f"/packages/{name}", name == large
        for side, prefix in {"plain": "", "cached": "/cached"}.items():
            pair = {"ours": Target(ours, path), side: Target(plain, prefix + path)}
            goal = 0.95 if side == "plain" else 0.85
            figures.append(_against(wrk, NGINX_GROUP, what, count, pair, goal, bulk))
    for what, project in _PAGES.items():
        for form, (name, headers) in _FORMS.items():
            path = f"/simple/{project}/"
            pair = {
                "ours": Target(ours, path, headers),
                "plain": Target(plain, path + name),
            }
            figures.append(_against(wrk, NGINX_GROUP, f"{what}, {form}", count, pair, 0.85))
    return figures


def shared(packages: Path) -> list[Path]:
    """Return the files of the projects that are measured, which a peer that takes uploads gets."""
    projects = (_SMALL_PROJECT, corpus.MANY_PROJECT, corpus.PROBE_PROJECT)
    prefixes = tuple(f"{project.replace('-', '_')}-" for project in projects)
    return sorted(file for file in packages.iterdir() if file.name.startswith(prefixes))


def beside_pypiron(wrk: Wrk, ours: Server, theirs: Server, count: int, large: str) -> list[Figure]:
    """Measure pages in the form that installers of today ask for, and files."""
    headers = {"Accept": _JSON, "Accept-Encoding": "gzip"}
    figures = []
    for what, project in _PAGES.items():
        path = f"/simple/{project}/"
        pair = {"ours": Target(ours, path, headers), "pypiron": Target(theirs, path, headers)}
        figures.append(_beside(wrk, f"{what}, JSON, gzipped", count, pair))
    for what, name in {"10 kB wheel": PROBE_FILE, "200 MB wheel": large}.items():
        pair = {
            side: Target(server, urlsplit(_file_url(server, name)).path)
            for side, server in (("ours", ours), ("pypiron", theirs))
        }
        figures.append(_beside(wrk, what, count, pair, what.startswith("200")))
    return figures


def _file_url(server: Server, name: str) -> str:
    """Return the URL that the file's project page gives for it."""
    page = Target(server, f"/simple/{name.split('-')[0].replace('_', '-')}/", {"Accept": _JSON})
    files = json.loads(page.fetch())["files"]
    url: str = next(file["url"] for file in files if file["filename"] == name)
    return urljoin(page.url, url)


def _beside(wrk: Wrk, what: str, count: int, pair: dict[str, Target], bulk: bool = False) -> Figure:
    samples = (replace(wrk, connections=4) if bulk else wrk).interleaved(pair)
    ours, theirs = (
        [each.throughput if bulk else each.rate for each in side] for side in samples.values()
    )
    return Figure(
        RIVAL_GROUP,
        what,
        count,
        ratio(ours, theirs),
        "times as fast",
        None,
        _made_of(samples, bulk),
    )


def embedded(wrk: Wrk, ours: Server, constant: Server, count: int) -> list[Figure]:
    """Measure a small page and a large one."""
    figures = []
    for what, project in _PAGES.items():
        path = f"/simple/{project}/"
        pair = {"ours": Target(ours, path), "constant": Target(constant, path)}
        figures.append(_against(wrk, EMBEDDED_GROUP, what, count, pair, 0.5))
    return figures


def html(pages: Path) -> list[Path]:
    """Return the HTML files of the pages that are measured."""
    return [pages / project / "index.html" for project in _PAGES.values()]


def memory(ours: Server, count: int) -> Figure:
    """Return what a worker holds after all of that."""
    rss, pss = ours.memory()
    return Figure(EMBEDDED_GROUP, WORKER, count, pss, "MiB", detail=f"RSS {number(rss)} MiB")


def growth(wrk: Wrk, fewest: Server, most: Server, count: int) -> Figure:
    """Measure the page of a project of the same size in a large index and in a small one."""
    path = f"/simple/{_SMALL_PROJECT}/"
    samples = wrk.interleaved({"large index": Target(most, path), "small": Target(fewest, path)})
    value = ratio(*([each.rate for each in side] for side in samples.values()))
    unit, goal = "of that with the fewest", Goal("at least", 0.9)
    return Figure(GROWTH_GROUP, PAGE, count, value, unit, goal, _made_of(samples))


def beside_pypiserver(program: Path, ours: Server, theirs: Server, count: int) -> list[Figure]:
    """Measure pages and a file of each."""
    # Few connections: what pypiserver has queued it works off after wrk is gone.
    wrk = Wrk(program, threads=1, connections=4, rounds=2)
    figures = []
    paths = {
        PAGE: f"/simple/{_SMALL_PROJECT}/",
        _MANY: f"/simple/{corpus.MANY_PROJECT}/",
        "10 kB wheel": f"/packages/{PROBE_FILE}",
    }
    for what, path in paths.items():
        samples = wrk.interleaved({"ours": Target(ours, path), "pypiserver": Target(theirs, path)})
        rates = [statistics.median(each.rate for each in side) for side in samples.values()]
        times = rates[0] / rates[1] if rates[1] else math.inf
        figures.append(
            Figure(PEER_GROUP, what, count, times, "times as fast", None, _made_of(samples))
        )
    return figures


def _against(
    wrk: Wrk,
    group: str,
    what: str,
    count: int,
    pair: dict[str, Target],
    goal: float,
    bulk: bool = False,
) -> Figure:
    """Measure two targets that send the same bytes, by requests or, for ``bulk``, by bytes."""
    bodies = [target.fetch() for target in pair.values()]
    if len(set(bodies)) != 1:
        raise LoadError(f"{what}: {' and '.join(pair)} do not send the same bytes")
    samples = (replace(wrk, connections=4) if bulk else wrk).interleaved(pair)
    ours, theirs = (
        [each.throughput if bulk else each.rate for each in s] for s in samples.values()
    )
    unit = f"of {list(pair)[1]}"
    made_of = _made_of(samples, bulk)
    return Figure(group, what, count, ratio(ours, theirs), unit, Goal("at least", goal), made_of)


def _made_of(samples: dict[str, list[Sample]], bulk: bool = False) -> str:
    return "; ".join(f"{name} {_summary(each, bulk)}" for name, each in samples.items())


def _summary(samples: Sequence[Sample], bulk: bool) -> str:
    rate, p99, cost, throughput = (
        statistics.median(values)
        for values in zip(*((s.rate, s.p99, s.cost, s.throughput) for s in samples), strict=True)
    )
    if bulk:
        return f"{number(throughput / corpus.MEBI)} MiB/s"
    spent = f", CPU {number(1e6 * cost)} µs" if math.isfinite(cost) else ""
    return f"{number(rate)} req/s, p99 {number(p99)} ms{spent}"
