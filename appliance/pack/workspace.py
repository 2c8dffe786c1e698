"""The directory beside a pack in which a new one is built, and what was downloaded for it stays if
the build is interrupted."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import PyindexError
from appliance.locks import try_lock


class Workspace:
    """Where to build the ``new`` pack that replaces ``out``, and to keep ``downloads``."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._directory = out.with_name(f".{out.name}.part")
        self.new, self.downloads = self._directory / "new", self._directory / "downloads"
        self._old = self._directory / "old"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold it alone, and repair what a killed process left. Afterwards only the downloads of a
        build that has not ended stay. Raises PyindexError if another process has it."""
        self.downloads.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            if not try_lock(descriptor) or not self._is_at_path(descriptor):
                raise PyindexError(
                    f"{self._out}: another command is writing it; wait until it has ended"
                )
            self._repair()
            try:
                yield
            finally:
                self._repair()
                for directory in (self.downloads, self._directory):
                    with contextlib.suppress(OSError):  # not empty
                        directory.rmdir()
        finally:
            os.close(descriptor)

    def replace(self) -> None:
        """Put the new pack at ``out``; the downloads are no longer required."""
        if self._out.exists():
            self._out.rename(self._old)
        self.new.chmod(0o755)
        self.new.rename(self._out)
        self._delete(self.downloads)

    def _repair(self) -> None:
        """Put the old pack back if the new one did not take its place; delete what is left over."""
        if self._old.exists() and not self._out.exists():
            self._old.rename(self._out)
        self._delete(self.new, self._old)

    def _is_at_path(self, descriptor: int) -> bool:
        """Whether the directory was not deleted by the process that had it."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self._directory.stat())
        return False

    def _delete(self, *directories: Path) -> None:
        for directory in directories:
            if directory.exists():
                shutil.rmtree(directory)
