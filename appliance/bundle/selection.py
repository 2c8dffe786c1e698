"""The content of a bundle, from the catalog of an index."""

import base64
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass

from appliance.bundle import companions
from appliance.bundle.manifest import BundledFile, BundledStatus
from appliance.catalog.database import Catalog
from appliance.catalog.reader import Reader
from appliance.catalog.readiness import unscanned
from appliance.errors import PyindexError, Unscanned
from appliance.incoming.directory import PackagesDirectory
from appliance.index.model import File, Origin
from appliance.index.names import PROVENANCE, SIGNATURE
from appliance.spec import Spec

_PORTION = 1000


@dataclass(frozen=True, slots=True)
class Selection:
    """Files in the order of their paths, statuses of projects, and the serial and its time in
    microseconds at which the index had them."""

    files: list[BundledFile]
    projects: dict[str, BundledStatus]
    serial: int
    time: int


def select(
    spec: Spec,
    index: str,
    files: Collection[File] | None,
    known: Set[str],
) -> Selection:
    """Return these ``files`` of an index, or all; those whose SHA-256 is ``known`` are left out
    of the volumes.

    Raises :class:`Unscanned` for an index that was not scanned in full yet, and
    :class:`PyindexError` for a signature that cannot be read.
    """
    with Catalog(spec.catalog).read() as reader:
        if index in unscanned(reader, spec, index):
            raise Unscanned(f"index {index}: not scanned in full yet; retry when it is")
        last = reader.changes(reader.serial() - 1, limit=1)
        chosen = list(all_files(reader, index)) if files is None else files
        names = None if files is None else {file.project for file in files}
        statuses = _statuses(reader, index, names)
        origins = reader.origins(index, list(chosen))

    directory = PackagesDirectory(spec.indexes[index].packages)
    ordered = sorted(chosen, key=lambda file: file.path.encode())
    bundled = [
        _bundled(directory, file, file.sha256 not in known, origins.get(file.filename))
        for file in ordered
    ]
    return Selection(bundled, statuses, last[0].serial, last[0].time)


def all_files(reader: Reader, index: str) -> Iterator[File]:
    """Yield the files of an index, without those of quarantined projects, in the order of paths."""
    after = ""
    while portion := reader.offered(index, after, _PORTION):
        yield from portion
        after = portion[-1].path


def _statuses(reader: Reader, index: str, names: Set[str] | None) -> dict[str, BundledStatus]:
    """Return the statuses other than active of the named projects, or of all."""
    return {
        name: BundledStatus.model_validate({"status": status, "reason": reason})
        for (of, name), (status, reason) in reader.decisions().statuses.items()
        if of == index and (names is None or name in names)
    }


def _bundled(
    directory: PackagesDirectory, file: File, is_carried: bool, origin: Origin | None
) -> BundledFile:
    return BundledFile(
        path=file.path,
        sha256=file.sha256,
        size=file.size,
        upload_time=file.upload_time,
        volume=1 if is_carried else 0,
        yanked=file.yanked,
        origin=(origin.url or None) if origin else None,
        provenance=origin.provenance if origin else None,
        signature=_companion(directory, file, SIGNATURE),
        attested=_companion(directory, file, PROVENANCE),
    )


def _companion(directory: PackagesDirectory, file: File, ending: str) -> str | None:
    """Return the companion with this ending in base64; ``None`` if the index has none."""
    if ending not in file.companions:
        return None
    content = companions.read(directory, file.path, ending)
    if content is None:
        where = f"{directory.root}/{file.path}{ending}"
        raise PyindexError(f"{where}: disappeared; run the command again")
    return base64.b64encode(content).decode()
