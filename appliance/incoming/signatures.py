"""Detached signatures beside package files, and rejections of those without a file."""

from collections.abc import Set

from appliance.catalog.database import Catalog
from appliance.incoming.comparison import Section, filename, signed_by
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.intake import log_rejection
from appliance.incoming.protocol import rejection
from appliance.index.model import Code, Rejection
from appliance.index.names import SIGNATURE


class Signatures:
    """Signatures of one index."""

    def __init__(self, catalog: Catalog, index: str, directory: PackagesDirectory) -> None:
        self._catalog, self._index, self._directory = catalog, index, directory

    def match(self, section: Section, signed: Set[str]) -> None:
        """Record which files of a section have a signature beside them, and reject signatures
        without their file. ``signed`` are the paths of files that had one before."""
        signatures = section.signatures()
        new = {
            signed_by(path): entry
            for path, entry in signatures.items()
            if signed_by(path) not in signed or path in section.known
        }
        removed = {
            path
            for path in signed
            if path + SIGNATURE not in signatures
            and self._directory.entry(path + SIGNATURE) is None
        }
        with self._catalog.read() as reader:
            accepted = reader.accepted_at(self._index, list(new))
            rejected = reader.stats_at(self._index, list(new)).keys() - accepted

        orphans = [
            _orphan(entry)
            for path, entry in new.items()
            if path not in accepted and section.known.get(entry.path) != entry.stat
            if path in rejected or self._directory.entry(path) is None  # else accepted next
        ]
        if accepted or removed or orphans:
            self._commit({path: new[path] for path in sorted(accepted)}, removed, orphans)

    def _commit(self, new: dict[str, Entry], removed: Set[str], orphans: list[Rejection]) -> None:
        with self._catalog.change() as change:
            for path in new:
                change.sign(self._index, path, True)
            for path in sorted(removed):
                change.sign(self._index, path, False)
            change.remove(self._index, [entry.path for entry in new.values()])
            change.reject(self._index, orphans)
        for each in orphans:
            log_rejection(self._index, each)


def _orphan(entry: Entry) -> Rejection:
    reason = f"signature without {filename(signed_by(entry.path))} beside it"
    return rejection(entry, Code.UNSIGNED, reason)
