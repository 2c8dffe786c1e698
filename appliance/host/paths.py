"""Where the appliance lies on a host."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance import locks
from appliance.errors import PyindexError

OPT = "/opt/pyindex"
# What `pyindex appliance pack` calls a release. Directories of other names are the operator's.
_RELEASE = re.compile(r"[0-9][0-9A-Za-z.+!]*-[0-9a-f]{12}")


@dataclass(frozen=True)
class HostPaths:
    """Paths of a host below ``root``, its root directory."""

    root: Path

    @property
    def opt(self) -> Path:
        return self.of(OPT)

    @property
    def releases(self) -> Path:
        return self.opt / "releases"

    @property
    def state(self) -> Path:
        return self.opt / "host.json"

    def of(self, path: str) -> Path:
        """Where the host's ``path``, which is absolute, lies below the root."""
        return self.root / path.lstrip("/")

    def release(self, name: str) -> Path:
        """The directory of an installed release. Raises PyindexError if it is not complete."""
        directory = self.releases / name
        if not _RELEASE.fullmatch(name) or not (directory / "complete").exists():
            raise PyindexError(f"{directory}: release not installed; run the whole play")
        return directory

    def release_names(self) -> list[str]:
        """Names of everything in the directory of releases that is called like one."""
        entries = self.releases.iterdir() if self.releases.is_dir() else ()
        return sorted(entry.name for entry in entries if _RELEASE.fullmatch(entry.name))

    def installed(self) -> list[str]:
        """Names of all directories of releases, complete or not, the newest first."""
        paths = [self.releases / name for name in self.release_names()]
        directories = [path for path in paths if path.is_dir() and not path.is_symlink()]
        return [path.name for path in sorted(directories, key=_mtime, reverse=True)]


@contextlib.contextmanager
def locked(host: HostPaths) -> Iterator[None]:
    """Hold the lock of the host: one command at a time. Raises PyindexError on a bare host.

    The lock is on the directory, so that no lock file remains when the appliance is removed.
    """
    try:
        descriptor = os.open(host.opt, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise PyindexError(f"{host.opt}: missing; run the whole play") from None
    try:
        locks.lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _mtime(path: Path) -> float:
    return path.stat().st_mtime
