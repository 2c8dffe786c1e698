"""The trash as the source of a load: removed files return to the index and the path that they had.

The journal says which file was removed from where, and its digest; a file that the journal does not
know any more can be copied from the trash.
"""

import base64
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import unlink
from appliance.bundle import companions
from appliance.bundle.folder import copy
from appliance.bundle.manifest import BundledFile, make
from appliance.bundle.placement import Placement, bring_up_to_date
from appliance.catalog.database import Catalog
from appliance.errors import NotFound, PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.protocol import upload_time
from appliance.index.matching import is_meant
from appliance.index.model import Change
from appliance.index.names import COMPANIONS, PROVENANCE, SIGNATURE
from appliance.operations import arrival
from appliance.operations.trash import Discarded, contents
from appliance.spec import Spec

_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Trashed:
    """A removed file.

    Attributes:
        file: Where it is now.
        size: In bytes.
        removal: Its removal in the journal; ``None`` if the journal does not have it.
        companions: The files beside it, by the ending of their names.
    """

    file: Discarded
    size: int
    removal: Change | None
    companions: dict[str, Path]


def listed(spec: Spec) -> list[Trashed]:
    """Return the files in the trash, the last removed one first."""
    files = [each for each in contents(spec.trash) if not each.filename.endswith(COMPANIONS)]
    with Catalog(spec.catalog).read() as reader:
        changes = reader.removals(sorted({each.filename for each in files}))
    removals: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        removals[change.filename or ""].append(change)
    assigned = {each.path: _take_removal(each, removals[each.filename]) for each in reversed(files)}
    return [
        Trashed(
            file=each,
            size=each.path.stat().st_size,
            removal=assigned[each.path],
            companions=_companions(each),
        )
        for each in files
    ]


def _take_removal(file: Discarded, removals: list[Change]) -> Change | None:
    """Remove the entry of a file's removal from ``removals``, those of its name, and return it: the
    one next to the time it was moved, which is known to the second. Of those of about one time it
    is the first with its digest."""

    def distance(change: Change) -> float:
        return abs(change.time / 1e6 - file.time)

    least = min(map(distance, removals), default=0.0)
    near = [each for each in removals if distance(each) < least + _CLOSE_SECONDS]
    if len(near) > 1:
        digest = copy(PackagesDirectory(file.path.parent), file.path.name, None)
        near = [each for each in near if each.detail == digest] or near
    for removal in near[:1]:
        removals.remove(removal)
        return removal
    return None


def _companions(file: Discarded) -> dict[str, Path]:
    paths = {ending: file.path.with_name(file.path.name + ending) for ending in COMPANIONS}
    return {ending: path for ending, path in paths.items() if path.is_file()}


class TrashSource:
    """Removed files of one index as the source of a load.

    Attributes:
        name: The path of the trash.
        manifest: The files, at the paths that they had.
        key: ``None``: the trash has no signature.
    """

    def __init__(self, trash: Path, files: Sequence[tuple[Trashed, Change]]) -> None:
        self.name = str(trash)
        self.key: str | None = None
        self._directory = PackagesDirectory(trash)
        self._files = {removal.path: each for each, removal in files}
        bundled = [self._bundled(each, removal) for each, removal in files]
        self.manifest = make("", 0, 0, 1, sorted(bundled, key=lambda file: file.path), {})

    def _bundled(self, trashed: Trashed, removal: Change) -> BundledFile:
        entry = self._directory.entry(trashed.file.path.name)
        if entry is None or removal.path is None or removal.detail is None:
            raise PyindexError(f"{trashed.file.path}: disappeared; try again")
        return BundledFile(
            path=removal.path,
            sha256=removal.detail,
            size=entry.size,
            upload_time=upload_time(entry),
            volume=1,
            signature=self._companion(trashed, SIGNATURE),
            attested=self._companion(trashed, PROVENANCE),
        )

    def _companion(self, trashed: Trashed, ending: str) -> str | None:
        content = companions.read(self._directory, trashed.file.path.name, ending)
        return None if content is None else base64.b64encode(content).decode()

    def copy(self, file: BundledFile, descriptor: int) -> str:
        """Write the content of a file to a descriptor; return its SHA-256."""
        path = self._files[file.path].file.path
        try:
            return copy(self._directory, path.name, descriptor)
        except OSError as error:
            raise PyindexError(f"{path}: {error.strerror}; nothing was restored") from None


def restore(spec: Spec, what: str, index: str | None = None) -> tuple[str, list[str]]:
    """Move removed files from the trash to the places that they had: the last file of a name, or
    all of a release by ``PROJECT==VERSION``. Return their index and paths.

    All of them become visible together, with their yanks and origins, which outlive files. Raises
    :class:`NotFound`, and :class:`PyindexError` or ``OSError`` with nothing changed: for files of
    several indexes without ``index``, and if there is another file in the way.
    """
    files = _chosen(spec, what, index)
    (name,) = {removal.index for _, removal in files}
    bring_up_to_date(spec, name)
    with arrival.locked(spec):
        placement = Placement(spec, name, TrashSource(spec.trash, files), lambda step: None)
        changes = placement.compare([])
        if changes.new:
            placement.add(changes)
        placement.publish()
    restored = [file.path for file in changes.new]
    for each, removal in files:
        for path in (each.file.path, *each.companions.values()):
            if removal.path in restored:
                unlink(path)
    return name, restored


def _chosen(spec: Spec, what: str, index: str | None) -> list[tuple[Trashed, Change]]:
    """Return the last removed file of each name that ``what`` means, with its removal."""
    last: dict[tuple[str, str], tuple[Trashed, Change]] = {}
    for each in listed(spec):
        removal, filename = each.removal, each.file.filename
        if removal is None or removal.index not in spec.indexes or not is_meant(what, filename):
            continue
        if index in (None, removal.index):
            last.setdefault((removal.index, filename), (each, removal))

    if not last:
        raise NotFound(f"{spec.trash}: no removed file {what!r}; see `pyindex trash list`")
    indexes = sorted({name for name, _ in last})
    if len(indexes) > 1:
        raise PyindexError(f"{what} was removed from {' and '.join(indexes)}; pass --index")
    return list(last.values())
