"""Whether an index can serve, and what stands in the way.

It reads the state only, never a packages directory: a network file system that hangs would take a
thread with each question. What is wrong there, the watcher reports.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.catalog.database import Catalog, CatalogError
from appliance.catalog.reader import Reader
from appliance.catalog.readiness import PARTLY, scan_mark, vanished_mark
from appliance.incoming.deletions import vanished
from appliance.operations.report import Report, read_report
from appliance.operations.watch import is_alive
from appliance.site.tree import PAGES, Site
from appliance.spec import Spec

_WANTED_MB = 64


@dataclass
class Health:
    """Sentences on what is wrong: ``failing`` while files or pages cannot be served, ``starting``
    until every index was scanned and published, ``degraded`` while something is served late or
    may be wrong."""

    failing: list[str] = field(default_factory=list)
    starting: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        for name in ("failing", "starting", "degraded"):
            if getattr(self, name):
                return name
        return "ok"

    @property
    def problems(self) -> list[str]:
        return self.failing + self.starting + self.degraded


def health(spec: Spec, catalog: Catalog) -> Health:
    """The health of all indexes of ``spec``. Rejected files are not part of it."""
    found = Health()
    report = _watcher(spec, found)
    try:
        with catalog.read() as reader:
            _catalog(spec, reader, report, found)
    except CatalogError as error:
        found.degraded.append(str(error))
        _pages(spec, list(spec.indexes), found.failing)
    found.degraded += _shortages(spec)
    return found


def _watcher(spec: Spec, found: Health) -> Report | None:
    """The report of a watcher that makes progress; adds what it says, or that there is none."""
    if not is_alive(spec):
        found.degraded.append("no watcher is running: run `pyindex serve` or `pyindex watch`")
        return None
    report = read_report(spec)
    if report is None:
        return Report(0, 0, "", {}, ())  # it has just started
    if report.is_stale:
        found.degraded.append(
            f"the watcher makes no progress since {report.time} (process {report.pid}): a packages"
            " directory or the state hangs, or it was stopped"
        )
        return None
    for trouble in report.troubles:
        (found.failing if trouble.failing else found.degraded).append(str(trouble))
    return report


def _catalog(spec: Spec, reader: Reader, report: Report | None, found: Health) -> None:
    unscanned = [name for name in spec.indexes if not reader.mark(scan_mark(spec, name))]
    for name in unscanned:
        _, files = reader.counts(name)
        if report is None:
            found.failing.append(f"{name}: its packages directory was never scanned in full")
        else:
            seen = report.indexes[name].seen if name in report.indexes else 0
            found.starting.append(
                f"{name}: starting: {files:,} files accepted, {seen:,} names scanned so far"
            )
    for name in spec.indexes:
        if reader.mark(scan_mark(spec, name)) == PARTLY:
            found.degraded.append(
                f"{name}: a part of its packages directory could not be read yet, so that no base"
                " answers in its place: see `pyindex status`"
            )
    behind = reader.serial() - reader.mark("pages")
    waiting = found.starting if report is not None and behind > 0 else found.failing
    scanned = [name for name in spec.indexes if not {*spec.lineage(name)} & {*unscanned}]
    _pages(spec, scanned, waiting)
    if behind > 0:
        found.degraded.append(f"{behind} changes are not published yet")
    for name in spec.indexes:
        if files := reader.mark(vanished_mark(name)):
            found.degraded.append(f"{name}: {vanished(reader, name, files)}")


def _pages(spec: Spec, names: list[str], problems: list[str]) -> None:
    site = Site(spec)
    for name in names:
        if not (site.simple(name) / PAGES[0]).is_file():
            problems.append(f"{name}: nothing is published yet")


def _shortages(spec: Spec) -> Iterator[str]:
    """What keeps changes from being taken in, a sentence each."""
    try:
        left = shutil.disk_usage(spec.state).free // 1_000_000
        if os.statvfs(spec.state).f_flag & os.ST_RDONLY:
            yield f"state {spec.state} is on a file system that is mounted read-only"
        elif left < _WANTED_MB:
            yield (
                f"{left} MB are left on the disk of {spec.state}, and {_WANTED_MB} MB are wanted:"
                " free some space"
            )
    except FileNotFoundError:
        pass  # nothing was published yet
    except OSError as error:
        yield f"state {spec.state}: {error.strerror}"
