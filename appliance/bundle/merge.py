"""The changes of a load to an index: new files, and decisions that no operator of that index made.

A decision of the bundle is applied if the index has the decision of the last bundle about the same
file or project, or none: so a later bundle changes what an earlier one decided, and nothing that
was decided here.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.bundle.manifest import BundledFile, Manifest
from appliance.bundle.receipts import Receipt
from appliance.catalog.reader import Reader
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.index import names
from appliance.index.model import File, Origin
from appliance.text import printable

_SHOWN = 10
_ACTIVE = ("active", None)
Status = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of a load.

    Attributes:
        new: The files that the index lacks.
        yanks: Reasons by file name; ``None`` undoes a yank.
        statuses: Status and reason by project.
    """

    new: list[BundledFile]
    yanks: dict[str, str | None]
    statuses: dict[str, Status]

    def __bool__(self) -> bool:
        return bool(self.new or self.yanks or self.statuses)

    def decide(self, change: Writer, index: str) -> None:
        """Apply the decisions, and record origins, in an index that has the new files. Later
        yanks upstream are not followed for them: the bundles decide."""
        change.set_origins(
            index,
            (
                Origin(each.filename, each.sha256, each.origin, provenance=each.provenance)
                for each in self.new
                if each.origin is not None
            ),
        )
        for filename, reason in self.yanks.items():
            change.yank(index, filename, reason)
        for project, (status, reason) in self.statuses.items():
            change.set_status(index, project, status, reason)


def compare(
    reader: Reader,
    index: str,
    directory: PackagesDirectory,
    manifest: Manifest,
    receipts: Sequence[Receipt],
) -> Changes:
    """Return what loading a bundle changes. ``receipts`` are those of the index, oldest first.

    Raises :class:`PyindexError` for files of other content, or in the way, and for files that the
    bundle leaves out and the index lacks.
    """
    known = _known(reader, index, [file.filename for file in manifest.files])
    others = [f for f in manifest.files if f.filename in known and not _is_same(f, known)]
    if others:
        raise PyindexError(
            f"index {index}: has other content under the same names: {_listed(others)}; remove"
            " these files from the index, or leave them out"
        )
    new = [file for file in manifest.files if file.filename not in known]
    if absent := [file for file in new if not file.volume]:
        raise PyindexError(
            f"index {index}: lacks files that the bundle leaves out: {_listed(absent)}; bundle"
            " with `--since` and the output of `pyindex state --full`, or without `--since`"
        )
    if blocked := [file for file in new if _is_blocked(directory, file)]:
        raise PyindexError(
            f"index {index}: files that it has not accepted are in the way: {_listed(blocked)};"
            " see `pyindex status`, then remove them or load again"
        )
    if not manifest.index:
        return Changes(new, {}, {})
    merging = _Merging(reader, index, manifest, [each for each in receipts if each.origin])
    return Changes(new, dict(merging.yanks()), dict(merging.statuses()))


def _known(reader: Reader, index: str, filenames: list[str]) -> dict[str, str]:
    """Return the SHA-256 of accepted files of these names, by name."""
    paths = [path for path, _ in reader.paths_of(index, filenames).values()]
    return {file.filename: file.sha256 for file in reader.files_at(index, paths)}


def _is_same(file: BundledFile, known: dict[str, str]) -> bool:
    return known[file.filename] == file.sha256


def _is_blocked(directory: PackagesDirectory, file: BundledFile) -> bool:
    """Return whether something is at the path of a new file, or of a companion."""
    path = directory.locate(file.path)
    return any(os.path.lexists(f"{path}{ending}") for ending in ("", *file.encoded))


def _listed(files: Sequence[BundledFile]) -> str:
    shown = ", ".join(printable(file.path) for file in files[:_SHOWN])
    return f"{shown} and {len(files) - _SHOWN} more" if len(files) > _SHOWN else shown


class _Merging:
    """Three-way merge of decisions: of the last bundle, of the index, of the new bundle."""

    def __init__(
        self, reader: Reader, index: str, manifest: Manifest, receipts: Sequence[Receipt]
    ) -> None:
        decisions = reader.decisions()
        self._manifest, self._receipts = manifest, receipts
        self._yanks = {name: why for (of, name), why in decisions.yanks.items() if of == index}
        self._statuses: dict[str, Status] = {
            name: status for (of, name), status in decisions.statuses.items() if of == index
        }

    def yanks(self) -> Iterator[tuple[str, str | None]]:
        """Yield the yanks to apply."""
        last = {
            file.path.rpartition("/")[2]: file.yanked
            for receipt in self._receipts
            for file in receipt.files
        }
        for file in self._manifest.files:
            here = self._yanks.get(file.filename)
            if here == last.get(file.filename) and here != file.yanked:
                yield file.filename, file.yanked

    def statuses(self) -> Iterator[tuple[str, Status]]:
        """Yield the statuses to apply."""
        last: dict[str, Status] = {}
        for receipt in self._receipts:
            if last or receipt.projects:
                last |= dict.fromkeys(_projects(file.path for file in receipt.files), _ACTIVE)
            last |= {name: (each.status, each.reason) for name, each in receipt.projects.items()}

        decided = self._manifest.projects
        if not (last or decided):
            return
        for name in sorted(_projects(file.path for file in self._manifest.files) | decided.keys()):
            status = decided.get(name)
            new = (status.status, status.reason) if status else _ACTIVE
            here = self._statuses.get(name, _ACTIVE)
            if here == last.get(name, _ACTIVE) and here != new:
                yield name, new


def _projects(paths: Iterator[str]) -> set[str]:
    """Return the normalized names of the projects of files."""
    return {parsed.project for path in paths if (parsed := names.distribution(path))}


def unexpected(files: Sequence[File], expected: Sequence[BundledFile]) -> Iterator[str]:
    """Yield messages about examined files that do not have the digest in the manifest."""
    digests = {file.path: file.sha256 for file in expected}
    for file in files:
        if digests[file.path] != file.sha256:
            yield f"{file.path}: changed while it was loaded; load again"
