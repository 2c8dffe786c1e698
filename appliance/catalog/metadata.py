"""Core metadata that is kept for files of the catalog below ``<state>/metadata``: what no page
promises, for the JSON API, since no request opens an archive; and what a page is about to promise.
What is published lies in ``<state>/www`` instead (PEP 658): only the publisher moves it there."""

import os
from pathlib import Path

from appliance.atomic import Batch, make_directory, remove_empty, remove_old, unlink
from appliance.index.names import METADATA

_UNFINISHED_SECONDS = 3600.0


class KeptMetadata:
    """``<state>/metadata``: for the file at ``<path>`` of an index, ``<index>/<path>.metadata``."""

    def __init__(self, state: Path) -> None:
        self._top = f"{state}/metadata"
        self._temporary = f"{self._top}/.tmp"

    def path(self, index: str, path: str) -> str:
        """Where the metadata of the package file at ``path`` is kept, if it is."""
        return f"{self._top}/{index}/{path}{METADATA}"

    def batch(self) -> Batch:
        """For files that are written here, durable when it is committed. What a process that was
        killed left unfinished is removed."""
        make_directory(self._temporary)
        remove_old(self._temporary, _UNFINISHED_SECONDS)
        return Batch(self._temporary)

    def write(self, batch: Batch, index: str, path: str, content: bytes) -> None:
        """Keep the metadata of the package file at ``path``."""
        batch.write_unseen(self.path(index, path), content)

    def remove(self, index: str, path: str) -> None:
        """Keep none for the package file at ``path``."""
        unlink(self.path(index, path))

    def move(self, index: str, old: str, new: str) -> None:
        """Keep for the path ``new`` what was kept for ``old``, unless something is already."""
        source, target = self.path(index, old), self.path(index, new)
        if os.path.lexists(source) and not os.path.lexists(target):
            make_directory(target.rpartition("/")[0])
            Path(source).replace(target)

    def prune(self, index: str, path: str) -> None:
        """Remove the directories that nothing is in any more, from that of ``path`` upwards."""
        remove_empty(self.path(index, path).rpartition("/")[0], f"{self._top}/{index}")
