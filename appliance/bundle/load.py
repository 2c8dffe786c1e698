"""Loading a bundle or a directory of files into an index: all of it, or nothing."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.bundle import merge, read, receipts
from appliance.bundle.folder import Folder
from appliance.bundle.manifest import BundledFile
from appliance.bundle.merge import Changes
from appliance.bundle.minisign import SUFFIX, PublicKey, read_public
from appliance.bundle.receipts import Receipt
from appliance.bundle.source import Source
from appliance.bundle.staging import Staging
from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog, unwritable
from appliance.catalog.readiness import unscanned
from appliance.errors import PyindexError, Unscanned
from appliance.incoming.directory import PackagesDirectory
from appliance.operations import arrival
from appliance.operations.actor import operator
from appliance.operations.arrival import Arrival
from appliance.operations.update import Update, prepare, update
from appliance.operations.watchlock import is_watched
from appliance.spec import Spec


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a load: public keys in addition to those of the spec; whether a bundle without a
    signature, or one that is older than the last, is allowed; whether to change nothing."""

    keys: Sequence[str] = ()
    allow_unsigned: bool = False
    allow_older: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """Result of a load: the id of the bundle, the key that signed it, the paths of new files, the
    number of all, changed decisions, and the receipt's path, ``None`` if nothing changed."""

    bundle: str
    key: str | None
    new: list[str]
    files: int
    decisions: int
    receipt: Path | None


def load(
    spec: Spec,
    index: str,
    paths: Sequence[Path],
    options: Options = Options(),
    report: Callable[[str], None] = lambda step: None,
) -> Loaded:
    """Load the volumes of a bundle, or one directory of package files, into an index; ``report``
    is called with each step.

    No existing file is replaced. Raises :class:`PyindexError`, or ``OSError``, with nothing
    changed: for a bundle that is damaged, not trusted or older than the last, for files that the
    index would reject or has with other content.
    """
    report("verifying the bundle")
    with _opened(spec, paths, options) as source:
        _bring_up_to_date(spec, index)
        with arrival.locked(spec):
            return _Load(spec, index, source, report).run(options)


@contextlib.contextmanager
def _opened(spec: Spec, paths: Sequence[Path], options: Options) -> Iterator[Source]:
    """Open a bundle or a directory, if it is trusted."""
    keys = [read_public(text) for text in (*spec.bundles.keys, *options.keys)]
    # Path.is_dir() fails in an unreadable directory.
    directories = [path for path in paths if os.path.isdir(path)]  # noqa: PTH112
    if directories:
        yield _folder(paths, keys, options)
        return
    parts = [path for path in paths if path.suffix != SUFFIX]
    if not parts:
        raise PyindexError(f"{paths[0]}: a signature; pass the files of a bundle")
    with read.opened(parts, keys, options.allow_unsigned) as bundle:
        yield bundle


def _folder(paths: Sequence[Path], keys: Sequence[PublicKey], options: Options) -> Folder:
    if len(paths) > 1:
        raise PyindexError(f"{paths[0]}: pass one directory, or the files of one bundle")
    if keys and not options.allow_unsigned:
        raise PyindexError(
            f"{paths[0]}: a directory has no signature, and keys are configured; load a signed"
            " bundle, or pass --allow-unsigned"
        )
    return Folder(paths[0])


def _bring_up_to_date(spec: Spec, index: str) -> None:
    """Scan the packages directories unless a watcher does, so that the catalog has all files."""
    if not is_watched(spec):
        update(spec)
    with Catalog(spec.catalog).read() as reader:
        if index in unscanned(reader, spec, index):
            raise Unscanned(f"index {index}: not scanned in full yet; load again when it is")


class _Load:
    """One load, under its lock."""

    def __init__(
        self, spec: Spec, index: str, source: Source, report: Callable[[str], None]
    ) -> None:
        self._spec, self._index, self._source, self._report = spec, index, source, report
        self._catalog = prepare(spec)
        self._directory = PackagesDirectory(spec.indexes[index].packages)
        self._staging = Staging(self._directory, source.manifest.id)

    def run(self, options: Options) -> Loaded:
        """Load, and publish."""
        known = receipts.of_index(self._spec.state, self._index)
        with self._catalog.read() as reader:
            changes = merge.compare(
                reader, self._index, self._directory, self._source.manifest, known
            )
        if changes and not options.allow_older:
            self._check_newer(known)

        receipt = None
        if not options.dry_run:
            receipt = self._apply(changes, known)
            self._publish()
        return Loaded(
            bundle=self._source.manifest.id,
            key=self._source.key,
            new=[file.path for file in changes.new],
            files=len(self._source.manifest.files),
            decisions=len(changes.yanks) + len(changes.statuses),
            receipt=receipt,
        )

    def _check_newer(self, known: Sequence[Receipt]) -> None:
        """Raise :class:`PyindexError` for a signed bundle that is older than another of the same
        index and key: it could have files that were removed since."""
        manifest = self._source.manifest
        last = max(
            (
                each.serial
                for each in known
                if each.key is not None
                and (each.key, each.origin) == (self._source.key, manifest.index)
            ),
            default=0,
        )
        if manifest.serial < last:
            raise PyindexError(
                f"{self._source.name}: older than a bundle that was loaded: serial"
                f" {manifest.serial} of {manifest.index}, loaded up to {last}; make a new bundle,"
                " or pass --allow-older"
            )

    # --- changes -------------------------------------------------------------------------------

    def _apply(self, changes: Changes, known: Sequence[Receipt]) -> Path | None:
        """Make the changes; return the path of the receipt."""
        manifest = self._source.manifest
        if not changes and any(each.bundle == manifest.id for each in known):
            return None
        new = frozenset(file.path for file in changes.new)
        receipt = receipts.make(manifest, self._index, self._source.key, new)
        path = receipts.new_path(self._spec.state, manifest.id)
        if changes.new:
            self._add(changes, path, receipt)
            return path

        with self._catalog.change(operator()) as change:
            changes.decide(change, self._index)
            change.publish_together()
        arrival.write_receipt(path, receipt.dump())
        return path

    def _add(self, changes: Changes, path: Path, receipt: Receipt) -> None:
        """Stage and examine the new files, and let them arrive. After an interruption the staged
        files remain for the next load of this bundle."""
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
                receipt=str(path),
                text=receipt.dump(),
            )
            arrival.arrive(
                self._spec,
                self._catalog,
                placed,
                files,
                lambda change: changes.decide(change, self._index),
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

    def _publish(self) -> None:
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
