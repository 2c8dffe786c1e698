"""Opening the catalog of a spec for changes: a missing one is created, with a serial that was never
used and with the decisions in the decision log.

Clients rely on serials that never decrease, and the ETag of a page consists of its serial and size
(see :func:`appliance.site.tree.page_time`). A catalog that began at 1 again would give other bytes
an old ETag, and mirrors would wait for a serial that has long passed. So a new catalog begins after
the serials of published pages, decision log and backups, and after the clock: units of ten seconds
since 2026, which an index exceeds only with more changes than that since its start.

An index that did exceed it, and lost state directory, pages, log and backups together, reuses
serials. There are 3.2 million units a year, and room for 80 million serials.
"""

import contextlib
import logging
import re
import time
from itertools import islice

from appliance import atomic
from appliance.catalog import decisionlog, schema
from appliance.catalog.database import Catalog
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.index.names import COMPANIONS
from appliance.operations.backup import last_backup_serial
from appliance.site import tree
from appliance.site.tree import PAGES, Site
from appliance.spec import Spec
from appliance.text import has_controls

log = logging.getLogger(__name__)

_START = 1_767_225_600  # 2026-01-01T00:00:00Z
_UNIT_SECONDS = 10
_LATEST = 60_000_000  # limit of the clock: a wrong one must leave room for changes
_PATHS = 10_000  # at a time
_LISTED = re.compile(rb'"_last-serial": ?([0-9]{1,8})\b')


def open_catalog(spec: Spec, create: bool = False) -> Catalog:
    """Open the catalog; advance it to the published serial and the logged decisions, and append
    missing decisions to the log.

    ``create`` creates a missing catalog. Raises :class:`CatalogError`. A decision log that cannot
    be written is only logged: it prevents decisions, which report it themselves.
    """
    known = max(published(spec), _logged(spec))
    catalog = Catalog(spec.catalog, create)
    with catalog.read() as reader:
        last = reader.serial()
    if last < known or (create and last == 0):
        _advance_serial(spec, catalog, known)
    try:
        with catalog.read() as reader:
            decisionlog.append_new(spec.state, reader)
    except OSError as error:
        log.warning("%s: %s", decisionlog.path(spec.state), error.strerror)
    return catalog


def _logged(spec: Spec) -> int:
    """Return the last serial of the decision log. An unreadable log is an error only without a
    catalog: a new one needs its decisions."""
    try:
        return decisionlog.last_serial(spec.state)
    except OSError as error:
        if not spec.catalog.exists():
            raise
        log.warning("%s: %s", decisionlog.path(spec.state), error.strerror)
        return 0


def _advance_serial(spec: Spec, catalog: Catalog, known: int) -> None:
    """Advance a catalog that is new, or older than the ``known`` serial, with decisions from the
    log."""
    logged = decisionlog.read(spec.state)
    beginning = max(known, clock(), last_backup_serial(spec))
    with catalog.change() as change:
        last = change.serial()
        if last >= known and last > 0:
            return  # another process was faster
        decisions = logged.decisions(since=last)
        change.apply_decisions(decisions)
        note = change.record_replacement(
            "recovered" if last else "begun", known if last else beginning
        )
        record_published(spec, change)

    if known or len(decisions):
        log.warning(
            "%s: %s; continuing at serial %d with %d decisions from %s",
            catalog.path,
            f"older than pages or decision log, at serial {last}" if last else "was missing",
            note.serial,
            len(decisions),
            decisionlog.NAME,
        )
        for problem in logged.problems:
            log.warning("%s", problem)


def record_published(spec: Spec, change: Writer) -> None:
    """Record the paths of published files as unreachable in a catalog that may not know all files:
    one may be on a missing disk, and has precedence over another file of its name."""
    site = Site(spec)
    try:
        site.check()
    except PyindexError:
        return  # a tree of another program; the publisher reports it
    for index in spec.indexes:
        paths = atomic.files_below(site.marker(index, ""))
        while batch := list(islice(paths, _PATHS)):
            files = [path for path in batch if not path.endswith(COMPANIONS)]
            change.record_unreachable(index, [path for path in files if not has_controls(path)])
    change.update_counts()


def last_known_serial(spec: Spec) -> int:
    """Return the serial that a new catalog must begin after."""
    logged = decisionlog.last_serial(spec.state)
    return max(published(spec), logged, last_backup_serial(spec), clock())


def clock() -> int:
    """Return the time in units of ten seconds since 2026, from 0 to a limit."""
    units = max(0, int(time.time() - _START) // _UNIT_SECONDS)
    if units > _LATEST:
        year = time.strftime("%Y")
        log.warning("system clock: year %s, serials begin as in 2045; correct the clock", year)
    return min(units, _LATEST)


def published(spec: Spec) -> int:
    """Return the serial of the published project list; 0 if there is none."""
    page = Site(spec).simple(spec.root) / PAGES[2]
    with contextlib.suppress(OSError), page.open("rb") as file:
        match = _LISTED.search(file.read(200))
        if match and int(match[1]) < schema.SERIALS:
            return int(match[1])
    return tree.last_serial(spec)
