"""Arriving files: a load places them in a packages directory one after the other, and all of them
become part of the index in one transaction. Until then scans leave them out, also after a kill.

:mod:`appliance.operations.arrival` writes the record of them.
"""

import json
from collections.abc import Set
from pathlib import Path

NAME = "loading.json"
"""The record, in the state directory: index and paths of the arriving files."""


class Arriving:
    """The arriving files of one index."""

    def __init__(self, state: Path, index: str) -> None:
        self._path, self._index = state / NAME, index
        self._identity: object = None
        self._paths: frozenset[str] = frozenset()

    def paths(self) -> Set[str]:
        """Return the paths of files, and of their signatures, that are arriving now."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return frozenset()

        identity = status.st_ino, status.st_mtime_ns, status.st_size
        if identity != self._identity:
            self._paths = self._read()
            self._identity = identity
        return self._paths

    def _read(self) -> frozenset[str]:
        try:
            record = json.loads(self._path.read_bytes())
            paths = record["paths"] if record["index"] == self._index else ()
            return frozenset(paths)
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return frozenset()  # it has ended, or the file is damaged
