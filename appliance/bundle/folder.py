"""A bare directory of package files, as pip download and mirrors make it, as the source of a load:
what is new is loaded, and its paths stay as they are in the directory."""

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from appliance.bundle import companions
from appliance.bundle.manifest import BundledFile, make, problem_of
from appliance.errors import PyindexError
from appliance.incoming.beneath import open_beneath
from appliance.incoming.comparison import is_package
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.protocol import upload_time
from appliance.index.names import PROVENANCE, SIGNATURE

_CHUNK = 1024 * 1024


class Folder:
    """The package files at and below a directory; other files are left out.

    Attributes:
        name: The path of the directory.
        manifest: The files, with ``index`` empty and serial 0.
        key: ``None``: a directory has no signature.
    """

    def __init__(self, path: Path) -> None:
        """Raises :class:`PyindexError` if files cannot be loaded, or if there are none."""
        self.name = str(path)
        self.key: str | None = None
        self._directory = PackagesDirectory(path)
        files = list(self._files())
        if not files:
            raise PyindexError(f"{path}: no package files in it; pass the files of a bundle")
        self.manifest = make("", 0, 0, 1, files, {})

    def copy(self, file: BundledFile, descriptor: int) -> str:
        """Write the content of a file to a descriptor; return its SHA-256."""
        return self._read(file.path, descriptor)

    def _files(self) -> Iterator[BundledFile]:
        known: dict[str, BundledFile] = {}
        for entry in self._directory.walk():
            if not is_package(entry.path):
                continue
            if entry.problem is not None:
                raise PyindexError(f"{self.name}/{entry.path}: {entry.problem.reason}; delete it")
            file = self._file(entry)
            if problem := problem_of(file):
                raise PyindexError(f"{self.name}/{entry.path}: {problem}; delete it")

            other = known.setdefault(file.filename, file)
            if other.sha256 != file.sha256:
                raise PyindexError(
                    f"{self.name}/{entry.path}: other content than {other.path}; delete one of them"
                )
            if other is file:
                yield file

    def _file(self, entry: Entry) -> BundledFile:
        return BundledFile(
            path=entry.path,
            sha256=self._read(entry.path, None),
            size=entry.size,
            upload_time=upload_time(entry),
            volume=1,
            signature=self._companion(entry.path, SIGNATURE),
            attested=self._companion(entry.path, PROVENANCE),
        )

    def _companion(self, path: str, ending: str) -> str | None:
        content = companions.read(self._directory, path, ending)
        return None if content is None else base64.b64encode(content).decode()

    def _read(self, path: str, target: int | None) -> str:
        """Return the SHA-256 of a file, and write its content to ``target``."""
        try:
            return copy(self._directory, path, target)
        except OSError as error:
            raise PyindexError(f"{self.name}/{path}: {error.strerror}; load again") from None


def copy(directory: PackagesDirectory, path: str, target: int | None) -> str:
    """Return the SHA-256 of a file, and write its content to the descriptor ``target``. Raises
    ``OSError``."""
    digest = hashlib.sha256()
    with os.fdopen(open_beneath(str(directory.root), path), "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            rest = memoryview(chunk if target is not None else b"")
            while rest and target is not None:
                rest = rest[os.write(target, rest) :]
    return digest.hexdigest()
