"""The catalog of a spec as whoever writes to it opens it: made if it is missing, with a serial that
nobody saw and the decisions that were made before.

Readers hold serials for what never runs backwards, and a page's ETag is its serial and its size
(see :func:`appliance.site.tree.page_time`). A catalog that began at 1 again would give other
bytes an ETag of before, and mirrors would wait for a serial that is long past. So a new catalog
begins after everything that tells of an older one, and after the clock: whole units of ten seconds
since 2026, which an index outruns only by more changes than that from its start on.

What remains: an index that did, and then lost state, pages, log and backups all together, begins
at serials it has had. There are 3.2 million units a year, and room for 80 million serials.
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
from appliance.index.names import SIGNATURE
from appliance.operations.backup import last_backup_serial
from appliance.site import tree
from appliance.site.tree import PAGES, Site
from appliance.spec import Spec
from appliance.text import has_controls

log = logging.getLogger(__name__)

_START = 1_767_225_600  # 2026-01-01T00:00:00Z
_UNIT_SECONDS = 10
_LATEST = 60_000_000  # of the clock: a wrong one must leave room for changes
_PATHS = 10_000  # at a time
_LISTED = re.compile(rb'"_last-serial": ?([0-9]{1,8})\b')


def open_catalog(spec: Spec, create: bool = False) -> Catalog:
    """The catalog, brought up to what is known beside it: serials that were published, decisions
    that were logged. The log in turn is brought up to the catalog.

    ``create`` makes a missing one. Raises :class:`CatalogError`; a log that cannot be written is
    logged, as it stops decisions only, which say so themselves.
    """
    known = max(published(spec), _logged(spec))
    catalog = Catalog(spec.catalog, create)
    with catalog.read() as reader:
        last = reader.serial()
    if last < known or (create and last == 0):
        _catch_up(spec, catalog, known)
    try:
        with catalog.read() as reader:
            decisionlog.follow(spec.state, reader)
    except OSError as error:
        log.warning("%s: %s", decisionlog.path(spec.state), error.strerror)
    return catalog


def _logged(spec: Spec) -> int:
    """The last serial of the decisions log. One that cannot be read is no reason not to serve, but
    one not to begin anew without its decisions."""
    try:
        return decisionlog.last_serial(spec.state)
    except OSError as error:
        if not spec.catalog.exists():
            raise
        log.warning("%s: %s", decisionlog.path(spec.state), error.strerror)
        return 0


def _catch_up(spec: Spec, catalog: Catalog, known: int) -> None:
    """Let a catalog that is new, or older than what is known, go on after that."""
    logged = decisionlog.read(spec.state)
    beginning = max(known, clock(), last_backup_serial(spec))
    with catalog.change() as change:
        last = change.serial()
        if last >= known and last > 0:
            return  # somebody else was faster
        decisions = logged.decided(since=last)
        change.decide(decisions)
        note = change.note("recovered" if last else "begun", known if last else beginning)
        remember_published(spec, change)

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


def remember_published(spec: Spec, change: Writer) -> None:
    """Let a catalog that cannot know all files know the paths of those that are published: one that
    is not there now may be lost with its disk, and has its name before another with the same."""
    site = Site(spec)
    try:
        site.check()
    except PyindexError:
        return  # it is somebody else's; who writes there says so
    for index in spec.indexes:
        paths = atomic.files_below(site.marker(index, ""))
        while part := list(islice(paths, _PATHS)):
            paths_of = [path for path in part if not path.endswith(SIGNATURE)]
            change.remember(index, [path for path in paths_of if not has_controls(path)])
    change.count()


def evidence(spec: Spec) -> int:
    """The serial that a new catalog must begin after."""
    logged = decisionlog.last_serial(spec.state)
    return max(published(spec), logged, last_backup_serial(spec), clock())


def clock() -> int:
    """Whole units of ten seconds since 2026; 0 before, and bounded."""
    units = max(0, int(time.time() - _START) // _UNIT_SECONDS)
    if units > _LATEST:
        year = time.strftime("%Y")
        log.warning("system clock: year %s, serials begin as in 2045; correct the clock", year)
    return min(units, _LATEST)


def published(spec: Spec) -> int:
    """The serial of the project list that is published; 0 if there is none."""
    page = Site(spec).simple(spec.root) / PAGES[2]
    with contextlib.suppress(OSError), page.open("rb") as file:
        found = _LISTED.search(file.read(200))
        if found and int(found[1]) < schema.SERIALS:
            return int(found[1])
    return tree.last_serial(spec)
