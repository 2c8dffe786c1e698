"""The one door for a file: looked at, checked, put into the catalog with a line of the journal."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from appliance.atomic import unlink
from appliance.catalog.database import Catalog
from appliance.catalog.refusals import duplicate
from appliance.catalog.writer import Writer
from appliance.incoming.directory import Entry, Folder
from appliance.incoming.examine import Examined, examine_all
from appliance.index.model import File, Refusal
from appliance.site.tree import Site

log = logging.getLogger(__name__)

# One transaction: long enough to share its cost, short enough that pages appear as it goes.
_FILES = 1000
_SECONDS = 1.0


class Intake:
    """Takes files of one index's folder into the catalog. ``is_there`` tells of a path whether its
    file may be there, although nobody has looked at it yet."""

    def __init__(
        self,
        catalog: Catalog,
        site: Site,
        index: str,
        folder: Folder,
        is_there: Callable[[str], bool],
    ) -> None:
        self._catalog, self._site, self._index, self._folder = catalog, site, index, folder
        self._is_there = is_there

    def take_in(
        self, entries: list[Entry], instead_of: Sequence[str] = (), coming: Sequence[str] = ()
    ) -> Iterator[list[str]]:
        """Take in the files at ``entries``, in that order where two have one name. In the same
        transaction as the first that is accepted, or else at the end, forget what was at the paths
        ``instead_of``, and remember that files are ``coming`` which may be of the same projects.

        Yields after each transaction, so that its files can be published before the next, the
        paths of those that somebody is writing to, which were left for later.
        """
        with examine_all(self._folder, self._site, self._index, entries) as results:
            while part := list(_part(results)):
                gone = instead_of if any(isinstance(each, File) for each in part) else ()
                changing = self._commit(part, gone, coming)
                instead_of = () if gone else instead_of
                yield changing
        if instead_of:
            yield self._commit([], instead_of, coming)

    def _commit(
        self, examined: list[Examined], gone: Sequence[str], coming: Sequence[str]
    ) -> list[str]:
        """One transaction. Returns the paths of files that are to be looked at again."""
        files = [each for each in examined if isinstance(each, File)]
        refused = [each for each in examined if isinstance(each, Refusal)]
        changing = [each for each in examined if isinstance(each, str)]
        with self._catalog.read() as reader:
            known = set(reader.refusals_at(self._index, [each.path for each in refused]))
        refused = [each for each in refused if each not in known]
        if not files and not refused and not gone:
            return changing  # what cannot be read is tried again and again, and costs nothing
        with self._catalog.change() as change:
            # A deletion that is not in the catalog yet waits for us, or is seen here.
            files, changed = self._still_there(files)
            paths = [each.path for each in examined if isinstance(each, File | Refusal)]
            told = {(each.path, each.reason) for each in change.refusals_at(self._index, paths)}
            change.remove(self._index, gone)
            change.remember(self._index, coming if gone else ())
            files, duplicates = self._without_namesakes(change, files)
            change.refuse(self._index, refused + duplicates)
            duplicates += change.add(self._index, files)
            replaced, freed = change.replaced, change.freed
            left = change.accepted_at(self._index, changed)
        for each in replaced:
            log.warning(
                "%s: %s has other bytes than before: clients that keep the old ones refuse it; a"
                " changed file wants another version or build tag",
                self._index,
                each.path,
            )
        for path in {refusal.path for refusal in duplicates} | (set(changed) - left):
            unlink(self._site.metadata(self._index, path))
        for refusal in refused + duplicates:
            if (refusal.path, refusal.reason) not in told:
                log_refusal(self._index, refusal)
        return changing + changed + freed

    def _without_namesakes(
        self, change: Writer, files: list[File]
    ) -> tuple[list[File], list[Refusal]]:
        """Without files of a name that another was published with before the catalog was lost: its
        turn to be looked at comes."""
        known = change.unseen_named(self._index, [file.filename for file in files])
        first = {
            path
            for file in files
            if (path := known.get(file.filename, file.path)) != file.path and self._is_there(path)
        }
        kept, refused = [], []
        for file in files:
            place = known.get(file.filename, file.path)
            if place == file.path or place not in first:
                kept.append(file)
            else:
                refused.append(duplicate(file, place))
        return kept, refused

    def _still_there(self, files: list[File]) -> tuple[list[File], list[str]]:
        """Those that are as they were when they were examined, and the paths of the others."""
        there, changed = [], []
        for file in files:
            now = self._folder.entry(file.path)
            if now and (now.size, now.mtime_ns, now.inode) == (
                file.size,
                file.mtime_ns,
                file.inode,
            ):
                there.append(file)
            else:
                changed.append(file.path)
        return there, changed


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
