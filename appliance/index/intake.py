"""The one door for a file: looked at, checked, put into the catalog with a line of the journal."""

import logging
import time
from collections.abc import Iterator

from appliance.index.catalog import Catalog
from appliance.index.examine import Examined, examine_all
from appliance.index.folder import Entry, Folder
from appliance.index.model import File, Refusal
from appliance.index.store import Site, unlink

log = logging.getLogger(__name__)

# One transaction: long enough to share its cost, short enough that pages appear as it goes.
_FILES = 1000
_SECONDS = 1.0


class Intake:
    """Takes files of one index's folder into the catalog."""

    def __init__(self, catalog: Catalog, site: Site, index: str, folder: Folder) -> None:
        self._catalog, self._site, self._index, self._folder = catalog, site, index, folder

    def take_in(self, entries: list[Entry]) -> Iterator[list[str]]:
        """Take in the files at ``entries``, in that order where two have one name.

        Yields after each transaction, so that its files can be published before the next, the
        paths of those that somebody is writing to, which were left for later.
        """
        with examine_all(self._folder, self._site, self._index, entries) as results:
            while part := list(_part(results)):
                self._commit(part)
                yield [each for each in part if isinstance(each, str)]

    def _commit(self, examined: list[Examined]) -> None:
        files = [each for each in examined if isinstance(each, File)]
        refused = [each for each in examined if isinstance(each, Refusal)]
        with self._catalog.change() as change:
            told = {(each.path, each.reason) for each in change.refusals_at(self._index, refused)}
            change.refuse(self._index, refused)
            duplicates = change.add(self._index, files)
            replaced = change.replaced
        for each in replaced:
            log.warning(
                "%s: %s has other bytes than before: clients that keep the old ones refuse it; a"
                " changed file wants another version or build tag",
                self._index,
                each.path,
            )
        for refusal in duplicates:
            unlink(self._site.metadata(self._index, refusal.path))
        for refusal in refused + duplicates:
            if (refusal.path, refusal.reason) not in told:
                log_refusal(self._index, refusal)


def _part(results: Iterator[Examined]) -> Iterator[Examined]:
    """The results for one transaction."""
    end = time.monotonic() + _SECONDS
    for count, each in enumerate(results, 1):
        yield each
        if count == _FILES or time.monotonic() > end:
            return


def log_refusal(index: str, refusal: Refusal) -> None:
    """Tell it once, when it is found out; `pyindex status` tells it as long as it is true."""
    log.warning("%s: refused %s: %s", index, refusal.path, refusal.reason)
