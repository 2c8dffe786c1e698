"""Promotion: a release of one index, with its history, becomes part of another index of the same
spec: all its files, or none.

It is a load whose source is an index: files are copied, so that no file is in two packages
directories; upload times, yanks, signatures, origins and the owner of a new project come with them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.bundle.folder import copy
from appliance.bundle.manifest import BundledFile, make
from appliance.bundle.merge import Changes
from appliance.bundle.placement import Placement, bring_up_to_date
from appliance.bundle.selection import select
from appliance.catalog.database import Catalog
from appliance.catalog.metadata import KeptMetadata
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.index.model import File
from appliance.operations import arrival
from appliance.operations.decisions import matching
from appliance.policy.decision import check_release
from appliance.spec import Spec


class IndexSource:
    """Some files of an index as the source of a load.

    Attributes:
        name: The name of the index.
        manifest: The files, without statuses of projects.
        key: ``None``: an index has no signature.
    """

    def __init__(self, spec: Spec, index: str, files: list[File]) -> None:
        self.name = index
        self.key: str | None = None
        self._directory = PackagesDirectory(spec.indexes[index].packages)
        chosen = select(spec, index, files, frozenset())
        self.manifest = make(index, chosen.serial, chosen.time, 1, chosen.files, {})

    def copy(self, file: BundledFile, descriptor: int) -> str:
        """Write the content of a file to a descriptor; return its SHA-256."""
        try:
            return copy(self._directory, file.path, descriptor)
        except OSError as error:
            raise PyindexError(
                f"{self._directory.root / file.path}: {error.strerror}; run `pyindex verify`"
            ) from None


@dataclass(frozen=True, slots=True)
class Promoted:
    """The paths of new files, and the number of all files of the release."""

    new: list[str]
    files: int


def promote(
    spec: Spec,
    release: str,
    source: str,
    target: str,
    report: Callable[[str], None] = lambda step: None,
) -> Promoted:
    """Promote a release, ``PROJECT==VERSION``, from the index ``source`` to ``target``.

    Files that the target has with the same content stay as they are. Raises
    :class:`PyindexError`, or ``OSError``, with nothing changed: for no such release, for a
    quarantined project, for files that the target has with other content, and if its policy
    refuses one.
    """
    if source == target:
        raise PyindexError(f"index {source}: cannot promote to itself; choose another --to")
    for index in (source, target):
        bring_up_to_date(spec, index)
    with Catalog(spec.catalog).read() as reader:
        files = matching(reader, spec, source, release)
        if reader.status(source, files[0].project) == "quarantined":
            raise PyindexError(f"index {source}: {files[0].project} is quarantined; not promoted")

    with arrival.locked(spec):
        placement = Placement(spec, target, IndexSource(spec, source, files), report)
        changes = placement.compare([])
        _apply(spec, source, target, placement, changes)
    return Promoted([file.path for file in changes.new], len(files))


def _apply(spec: Spec, source: str, target: str, placement: Placement, changes: Changes) -> None:
    kept = KeptMetadata(spec.state)

    def check(change: Writer, files: Sequence[File]) -> None:
        read = [(file, _content(kept.path(target, file.path))) for file in files]
        check_release(change, spec, target, read)

    def record(change: Writer) -> None:
        for file in changes.new:
            change.record_promotion(target, file.path, source)
            if owner := change.owner(source, file.project):
                change.take_ownership(target, file.project, owner)

    if changes.new:
        placement.add(changes, check=check, record=record)
    elif changes:
        placement.decide(changes)
    placement.publish()


def _content(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None
