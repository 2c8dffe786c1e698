"""Core metadata of accepted files, kept below ``<state>/metadata``: metadata that no page
advertises, for the JSON API (no request opens an archive), and metadata about to be published.
The publisher moves it to ``<state>/www`` (PEP 658)."""

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
        """Return the path of the kept metadata of the package file at ``path``."""
        return f"{self._top}/{index}/{path}{METADATA}"

    def batch(self) -> Batch:
        """Return a batch for writing, durable when committed. Removes unfinished files of killed
        processes."""
        make_directory(self._temporary)
        remove_old(self._temporary, _UNFINISHED_SECONDS)
        return Batch(self._temporary)

    def write(self, batch: Batch, index: str, path: str, content: bytes) -> None:
        """Write the metadata of the package file at ``path``."""
        batch.write_new(self.path(index, path), content)

    def remove(self, index: str, path: str) -> None:
        """Remove the metadata of the package file at ``path``."""
        unlink(self.path(index, path))

    def move(self, index: str, old: str, new: str) -> None:
        """Move the metadata of path ``old`` to path ``new``, unless that has some already."""
        source, target = self.path(index, old), self.path(index, new)
        if os.path.lexists(source) and not os.path.lexists(target):
            make_directory(target.rpartition("/")[0])
            Path(source).replace(target)

    def prune(self, index: str, path: str) -> None:
        """Remove empty directories, from that of ``path`` upwards."""
        remove_empty(self.path(index, path).rpartition("/")[0], f"{self._top}/{index}")
