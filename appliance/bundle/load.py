"""Loading a bundle or a directory of files into an index: all of it, or nothing."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.bundle import read, receipts
from appliance.bundle.folder import Folder
from appliance.bundle.merge import Changes
from appliance.bundle.minisign import SUFFIX, PublicKey, read_public
from appliance.bundle.placement import Placement, bring_up_to_date
from appliance.bundle.receipts import Receipt
from appliance.bundle.source import Source
from appliance.errors import PyindexError
from appliance.operations import arrival
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
        bring_up_to_date(spec, index)
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


class _Load:
    """One load, under its lock."""

    def __init__(
        self, spec: Spec, index: str, source: Source, report: Callable[[str], None]
    ) -> None:
        self._spec, self._index, self._source = spec, index, source
        self._placement = Placement(spec, index, source, report)

    def run(self, options: Options) -> Loaded:
        """Load, and publish."""
        known = receipts.of_index(self._spec.state, self._index)
        changes = self._placement.compare(known)
        if changes and not options.allow_older:
            self._check_newer(known)

        receipt = None
        if not options.dry_run:
            receipt = self._apply(changes, known)
            self._placement.publish()
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

    def _apply(self, changes: Changes, known: Sequence[Receipt]) -> Path | None:
        """Make the changes; return the path of the receipt."""
        manifest = self._source.manifest
        if not changes and any(each.bundle == manifest.id for each in known):
            return None
        new = frozenset(file.path for file in changes.new)
        receipt = receipts.make(manifest, self._index, self._source.key, new)
        path = receipts.new_path(self._spec.state, manifest.id)
        if changes.new:
            self._placement.add(changes, receipt=str(path), text=receipt.dump())
            return path

        self._placement.decide(changes)
        arrival.write_receipt(path, receipt.dump())
        return path
