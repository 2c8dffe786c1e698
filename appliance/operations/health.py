"""Health of the indexes of a spec: whether they can serve, and their problems.

It is read from the state directory only. A packages directory on a network file system that does
not respond would block a thread for each request; the watcher reports problems there.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.accounts import htpasswd
from appliance.catalog.database import Catalog, CatalogError
from appliance.catalog.reader import Reader
from appliance.catalog.readiness import PARTLY, scan_mark, vanished_mark
from appliance.incoming.deletions import pending_text
from appliance.operations.certificates import expiring
from appliance.operations.housekeeping import housekeeping_problems
from appliance.operations.report import Report, read_report
from appliance.operations.watchlock import is_watched
from appliance.site.tree import PAGES, Site
from appliance.spec import Spec
from appliance.text import counted

_REQUIRED_MB = 64


@dataclass
class Health:
    """Messages about problems.

    Attributes:
        failing: Files or pages cannot be served.
        starting: An index was not scanned and published yet.
        degraded: Pages are published late or may be wrong.
    """

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
    """Return the health of all indexes of ``spec``. Rejected files are not part of it."""
    result = Health()
    report = _watcher_report(spec, result)

    try:
        with catalog.read() as reader:
            check = _CatalogCheck(spec, reader, report)
            result.failing += check.failing()
            result.starting += check.starting()
            result.degraded += check.degraded()
    except CatalogError as error:
        result.degraded.append(str(error))
        result.failing += _unpublished(spec, list(spec.indexes))

    result.degraded += _shortages(spec)
    result.degraded += expiring(spec)
    result.degraded += housekeeping_problems(spec)
    result.degraded += _unusable_accounts(spec)
    return result


def _unusable_accounts(spec: Spec) -> Iterator[str]:
    """Yield why accounts cannot log in."""
    if spec.accounts.htpasswd is None:
        return
    try:
        problems = htpasswd.read(spec.accounts.htpasswd).problems
    except htpasswd.AccountsError as error:
        # Path's version of exists fails in an unreadable directory.
        verb = "make" if os.path.exists(spec.accounts.htpasswd) else "create"  # noqa: PTH110
        yield f"{error}; no account can log in: {verb} it readable for uid {os.geteuid()}"
    else:
        if problems:
            lines = counted(len(problems), "line")
            where = spec.accounts.htpasswd
            yield f"{where}: {lines} without a usable account; run `pyindex spec check`"


def _watcher_report(spec: Spec, result: Health) -> Report | None:
    """Return the report of a watcher that makes progress; add its problems to ``result``."""
    if not is_watched(spec):
        result.degraded.append("no watcher is running; run `pyindex serve` or `pyindex watch`")
        return None
    report = read_report(spec)
    if report is None:
        return Report(0, 0, "", {}, ())  # it has just started
    if report.is_stale:
        result.degraded.append(
            f"watcher (pid {report.pid}): no progress since {report.time}; check that the disks of"
            " the packages directories and of the state directory respond"
        )
        return None

    for problem in report.problems:
        (result.failing if problem.failing else result.degraded).append(str(problem))
    return report


class _CatalogCheck:
    """Problems in the catalog, given the ``report`` of a watcher if one is running."""

    def __init__(self, spec: Spec, reader: Reader, report: Report | None) -> None:
        self._spec, self._reader, self._report = spec, reader, report
        self._unscanned = [name for name in spec.indexes if not reader.mark(scan_mark(spec, name))]
        self._unpublished_changes = reader.serial() - reader.mark("pages")

    def failing(self) -> Iterator[str]:
        if self._report is None:
            for name in self._unscanned:
                yield f"{name}: packages directory never scanned completely"
        if not self._is_publishing:
            yield from self._pages_missing()

    def starting(self) -> Iterator[str]:
        progress = {} if self._report is None else self._report.indexes
        for name in self._unscanned if self._report is not None else ():
            files = self._reader.counts(name).files
            seen = progress[name].seen if name in progress else 0
            accepted, scanned = counted(files, "file"), counted(seen, "name")
            yield f"{name}: starting: {accepted} accepted, {scanned} scanned so far"
        if self._is_publishing:
            yield from self._pages_missing()

    def degraded(self) -> Iterator[str]:
        for name in self._spec.indexes:
            if self._reader.mark(scan_mark(self._spec, name)) == PARTLY:
                yield (
                    f"{name}: parts of the packages directory not read yet, so that no base answers"
                    " for missing projects; run `pyindex status`"
                )
        if self._unpublished_changes > 0:
            yield f"{self._unpublished_changes} changes not published yet"
        for name in self._spec.indexes:
            if files := self._reader.mark(vanished_mark(name)):
                yield f"{name}: {pending_text(self._reader, name, files)}"

    @property
    def _is_publishing(self) -> bool:
        """Whether a watcher is about to publish changes."""
        return self._report is not None and self._unpublished_changes > 0

    def _pages_missing(self) -> Iterator[str]:
        """Yield a message for each index without pages that was scanned with all of its bases."""
        unscanned = set(self._unscanned)
        scanned = [
            name for name in self._spec.indexes if not unscanned & {*self._spec.lineage(name)}
        ]
        return _unpublished(self._spec, scanned)


def _unpublished(spec: Spec, names: list[str]) -> Iterator[str]:
    site = Site(spec)
    for name in names:
        if not (site.simple(name) / PAGES[0]).is_file():
            yield f"{name}: nothing published yet"


def _shortages(spec: Spec) -> Iterator[str]:
    """Yield problems of the state directory's disk that keep changes from being published."""
    try:
        free = shutil.disk_usage(spec.state).free // 1_000_000
        if os.statvfs(spec.state).f_flag & os.ST_RDONLY:
            yield f"state directory {spec.state}: mounted read-only; remount it read-write"
        elif free < _REQUIRED_MB:
            text = f"only {free} MB free, {_REQUIRED_MB} MB required; free some disk space"
            yield f"{spec.state}: {text}"

    except FileNotFoundError:
        pass  # before the first publication
    except OSError as error:
        yield f"state directory {spec.state}: {error.strerror}"
