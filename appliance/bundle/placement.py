"""Placement: files of a source become part of an index, staged and examined before, visible
together."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from appliance.bundle import merge
from appliance.bundle.manifest import BundledFile
from appliance.bundle.merge import Changes
from appliance.bundle.receipts import Receipt
from appliance.bundle.source import Source
from appliance.bundle.staging import Staging
from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog, unwritable
from appliance.catalog.readiness import unscanned
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError, Unscanned
from appliance.incoming.directory import PackagesDirectory
from appliance.index.model import File
from appliance.operations import arrival
from appliance.operations.actor import operator
from appliance.operations.arrival import Arrival
from appliance.operations.update import Update, prepare, update
from appliance.operations.watchlock import is_watched
from appliance.spec import Spec

Check = Callable[[Writer, Sequence[File]], None]
"""Called with the writer of the transaction that adds examined files, before it adds them."""


def bring_up_to_date(spec: Spec, index: str) -> None:
    """Scan the packages directories unless a watcher does, so that the catalog has all files."""
    if not is_watched(spec):
        update(spec)
    with Catalog(spec.catalog).read() as reader:
        if index in unscanned(reader, spec, index):
            raise Unscanned(f"index {index}: not scanned in full yet; load again when it is")


def _no_check(change: Writer, files: Sequence[File]) -> None:
    return


class Placement:
    """Placement of a source's files in an index, under the lock of :func:`arrival.locked`;
    ``report`` is called with each step."""

    def __init__(
        self, spec: Spec, index: str, source: Source, report: Callable[[str], None]
    ) -> None:
        self._spec, self._index, self._source, self._report = spec, index, source, report
        self._catalog = prepare(spec)
        self._directory = PackagesDirectory(spec.indexes[index].packages)
        self._staging = Staging(self._directory, source.manifest.id)

    def compare(self, known: Sequence[Receipt]) -> Changes:
        """Return what the source changes, see :func:`merge.compare`."""
        with self._catalog.read() as reader:
            return merge.compare(reader, self._index, self._directory, self._source.manifest, known)

    def decide(self, changes: Changes) -> None:
        """Make the decisions among the changes."""
        with self._catalog.change(operator()) as change:
            changes.decide(change, self._index)
            change.publish_together()

    def add(
        self,
        changes: Changes,
        *,
        receipt: str = "",
        text: str = "",
        check: Check = _no_check,
        record: Callable[[Writer], None] = lambda change: None,
    ) -> None:
        """Stage and examine the new files, and let them arrive, with a receipt at the path
        ``receipt``; ``record`` is called in their transaction. After an interruption the staged
        files remain for the next load of this source."""

        def decide(change: Writer) -> None:
            changes.decide(change, self._index)
            record(change)

        with self._explaining(changes.new):
            for done in self._staging.fill(self._source, changes.new):
                self._report(f"copying files, {done / 1e6:.0f} MB")
            self._report("examining files")
            files = self._staging.examine(
                self._index, self._spec.state, changes.new, self._source.name
            )
            for problem in merge.unexpected(files, changes.new):
                raise PyindexError(problem)

            self._report("adding files")
            companions = [f"{f.path}{ending}" for f in changes.new for ending in f.encoded]
            placed = Arrival(
                index=self._index,
                packages=str(self._directory.root),
                staging=str(self._staging.path),
                paths=[*(file.path for file in changes.new), *companions],
                receipt=receipt,
                text=text,
            )
            arrival.arrive(
                self._spec,
                self._catalog,
                placed,
                files,
                decide=decide,
                check=lambda change: check(change, files),
            )

    @contextlib.contextmanager
    def _explaining(self, files: Sequence[BundledFile]) -> Iterator[None]:
        """Remove the staged files after an error, and say where and why it was."""
        try:
            yield
        except PyindexError:
            self._remove_staged(files)
            raise
        except OSError as error:
            self._remove_staged(files)
            root = self._directory.root
            why = unwritable(root) or unwritable(self._spec.state)
            raise PyindexError(
                f"{error.filename or root}: {error.strerror}; nothing was loaded"
                + (f"; {why}" if why else "")
            ) from error

    def _remove_staged(self, files: Sequence[BundledFile]) -> None:
        """Remove the staging directory, unless the next load has to undo this one with it."""
        if not arrival.is_recorded(self._spec):
            self._staging.remove()
            self._staging.forget(self._index, self._spec.state, files)

    def publish(self) -> None:
        """Publish what was added."""
        try:
            with self._catalog.read() as reader:
                decisionlog.append_new(self._spec.state, reader)
            Update(self._spec, self._catalog).finish()
        except OSError as error:
            where = error.filename or self._spec.state
            raise PyindexError(
                f"{where}: {error.strerror}; loaded, but not published yet: correct that, then load"
                " again"
            ) from error
