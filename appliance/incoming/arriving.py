"""Arriving files: a load or an upload places files in a packages directory before the transaction
that adds them to the catalog. Until then scans leave them out, also after a kill.

:mod:`appliance.operations.arrival` writes the record of a load. The record of an upload is its
hidden directory, see :mod:`appliance.uploads.spool`: the file has a second name there as long as it
may not be in the catalog.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Set
from pathlib import Path

from appliance.incoming.entries import Entry

NAME = "loading.json"
"""The record of a load, in the state directory: index and paths of the arriving files."""
UPLOADS = ".pyindex-uploads"
"""The directory of all uploads in a packages directory; each has a directory in it."""
MOVED = ".moved"
"""Ending of an empty file that stands for the file of an upload which was moved to its path, where
the file system has no links."""


class Arriving:
    """The arriving files of one index, whose packages directory is ``root``."""

    def __init__(self, state: Path, index: str, root: Path) -> None:
        self._path, self._index = state / NAME, index
        self._uploads = f"{root}/{UPLOADS}"
        self._identity: object = None
        self._paths: frozenset[str] = frozenset()

    def read(self) -> "Arrivals":
        """Return the files that are arriving now."""
        return Arrivals(self._loaded(), dict(_uploaded(self._uploads)))

    def _loaded(self) -> Set[str]:
        """Return the paths of files of a load, and of their companions."""
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


class Arrivals:
    """Files that were arriving at some time: the ``paths`` of a load, and the inode of each file of
    an upload by path; ``None`` for any."""

    def __init__(self, paths: Set[str], uploads: dict[str, int | None]) -> None:
        self._paths, self._uploads = paths, uploads

    def has(self, entry: Entry) -> bool:
        """Return whether ``entry`` is the entry of such a file."""
        if entry.path in self._paths:
            return True
        return entry.path in self._uploads and self._uploads[entry.path] in (None, entry.inode)


def _uploaded(directory: str) -> Iterator[tuple[str, int | None]]:
    """Yield name and inode of each file in the directories of uploads. A packages directory that
    cannot be read has none: the scan reports it."""
    with contextlib.suppress(OSError), os.scandir(directory) as uploads:
        for upload in uploads:
            with contextlib.suppress(OSError), os.scandir(upload.path) as files:
                for file in files:
                    is_moved = file.name.endswith(MOVED)
                    name = file.name.removesuffix(MOVED)
                    yield name, None if is_moved else file.inode()
