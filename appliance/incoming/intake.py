"""Intake: files are examined, checked against the catalog, and accepted or rejected there, with an
entry in the journal. Nothing is published here."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from appliance.atomic import Batch
from appliance.catalog.database import Catalog
from appliance.catalog.metadata import KeptMetadata
from appliance.catalog.rejections import duplicate
from appliance.catalog.writer import Writer
from appliance.incoming.ahead import Ahead
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.examine import examine_all
from appliance.incoming.outcomes import Accepted, Changing, Outcome, Pending
from appliance.index.model import Change, File, Rejection
from appliance.spec import Spec

log = logging.getLogger(__name__)

# Limits of one transaction: large enough to share its cost, small enough to publish pages early.
_FILES = 1000
_SECONDS = 1.0


class Intake:
    """Accepts files of one packages directory into its index. ``may_exist`` returns whether there
    may be a file at a path that was not examined yet; ``ahead`` has answers for new files."""

    def __init__(
        self,
        spec: Spec,
        catalog: Catalog,
        index: str,
        directory: PackagesDirectory,
        may_exist: Callable[[str], bool],
        ahead: Ahead | None = None,
    ) -> None:
        self._catalog, self._index, self._directory = catalog, index, directory
        self._kept = KeptMetadata(spec.state)
        self._may_exist = may_exist
        self._earlier = ahead.take if ahead else lambda entry: None

    def accept(
        self, entries: list[Entry], replaced: Sequence[str] = (), expected: Sequence[str] = ()
    ) -> Iterator[list[str]]:
        """Accept or reject the files at ``entries``, in this order if two have the same name.

        The transaction of the first accepted file, or else the last, also removes the files at the
        paths ``replaced`` from the catalog, and records the paths ``expected`` as unreachable: they
        will have files that may be of the same projects.

        Yields after each transaction, so that its files can be published before the next: the paths
        of files that must be examined again later. The metadata of files is durable before the
        catalog has them. Raises ``OSError`` if the state directory is not writable.
        """
        known = self._known_metadata(entries)
        with self._kept.batch() as batch:

            def keep(file: File, metadata: bytes | None) -> None:
                if known.get(file.path) != file.core_metadata or file.core_metadata is None:
                    self._keep(batch, file, metadata)

            with examine_all(self._directory, entries, keep, earlier=self._earlier) as outcomes:
                while group := list(_next_group(outcomes)):
                    batch.commit()
                    has_files = any(isinstance(each, Accepted) for each in group)
                    yield self._commit(group, replaced if has_files else (), expected)
                    replaced = () if has_files else replaced
        if replaced:
            yield self._commit([], replaced, expected)

    def _known_metadata(self, entries: Sequence[Entry]) -> dict[str, str | None]:
        """Return the digests of metadata in the catalog by path: such metadata is published or kept
        already, and need not be written again."""
        with self._catalog.read() as reader:
            if not reader.files_after(self._index, limit=1):
                return {}
            files = reader.files_at(self._index, [entry.path for entry in entries])
        return {file.path: file.core_metadata for file in files}

    def _keep(self, batch: Batch, file: File, metadata: bytes | None) -> None:
        if metadata is None:
            self._kept.remove(self._index, file.path)  # that of another file at this path
        else:
            self._kept.write(batch, self._index, file.path, metadata)

    # --- one transaction -----------------------------------------------------------------------

    def _commit(
        self,
        outcomes: Sequence[Outcome | Pending],
        replaced: Sequence[str],
        expected: Sequence[str],
    ) -> list[str]:
        """Commit one transaction; return the paths of files that must be examined again."""
        files = [each.file for each in outcomes if isinstance(each, Accepted)]
        rejected = self._new_rejections([each for each in outcomes if isinstance(each, Rejection)])
        changing = [each.path for each in outcomes if isinstance(each, Changing)]
        if not files and not rejected and not replaced:
            return changing  # a file that cannot be read is retried often; no transaction for it

        with self._catalog.change() as change:
            # A deletion that is not in the catalog yet waits for this transaction, or shows here.
            files, changed = self._unchanged(files)
            paths = [file.path for file in files] + [each.path for each in rejected]
            known = {(each.path, each.reason) for each in change.rejections_at(self._index, paths)}
            change.remove(self._index, replaced)
            change.record_unreachable(self._index, expected if replaced else ())

            files, duplicates = self._without_duplicates(change, files)
            change.reject(self._index, rejected + duplicates)
            duplicates += change.add(self._index, files)
            overwritten, freed = change.replaced, change.freed
            accepted = change.accepted_at(self._index, changed)

        self._remove_metadata({each.path for each in duplicates} | (set(changed) - accepted))
        new = [each for each in rejected + duplicates if (each.path, each.reason) not in known]
        self._log(overwritten, new)
        return changing + changed + freed

    def _new_rejections(self, rejected: Sequence[Rejection]) -> list[Rejection]:
        """Return the rejections that the catalog does not have yet."""
        with self._catalog.read() as reader:
            known = set(reader.rejections_at(self._index, [each.path for each in rejected]))
        return [each for each in rejected if each not in known]

    def _unchanged(self, files: Sequence[File]) -> tuple[list[File], list[str]]:
        """Return the files that have not changed since the examination, and the paths of others."""
        unchanged, changed = [], []
        for file in files:
            entry = self._directory.entry(file.path)
            if entry and entry.stat == (file.size, file.mtime_ns, file.inode):
                unchanged.append(file)
            else:
                changed.append(file.path)
        return unchanged, changed

    def _without_duplicates(
        self, change: Writer, files: Sequence[File]
    ) -> tuple[list[File], list[Rejection]]:
        """Separate files from duplicates of files that were published before the catalog was lost
        and were not examined yet."""
        unseen = change.unreachable_named(self._index, [file.filename for file in files])
        others = {
            file.path: path
            for file in files
            if (path := unseen.get(file.filename, file.path)) != file.path
            if self._may_exist(path)
        }
        rejected = [duplicate(file, others[file.path]) for file in files if file.path in others]
        return [file for file in files if file.path not in others], rejected

    def _remove_metadata(self, paths: set[str]) -> None:
        for path in paths:
            self._kept.remove(self._index, path)

    def _log(self, overwritten: Sequence[Change], rejected: Sequence[Rejection]) -> None:
        for change in overwritten:
            log.warning(
                "%s: %s: content changed under the same name, so that clients with the old digest"
                " reject it; give a changed file another version or build tag",
                self._index,
                change.path,
            )
        for each in rejected:
            log_rejection(self._index, each)


def _next_group(outcomes: Iterator[Outcome | Pending]) -> Iterator[Outcome | Pending]:
    """Yield the outcomes for one transaction."""
    end = time.monotonic() + _SECONDS
    for count, each in enumerate(outcomes, 1):
        yield each
        if count == _FILES or time.monotonic() > end:
            return


def log_rejection(index: str, rejection: Rejection) -> None:
    """Log a new rejection; `pyindex status` lists it as long as it is true."""
    log.warning("%s: rejected %s: %s", index, rejection.path, rejection.reason)
