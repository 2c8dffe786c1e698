"""The hidden directory of one upload, on the file system of the packages directory.

The file of the upload is written there. To place it is to give it a second name; the first one says
to scans that the file may not be in the catalog yet (:mod:`appliance.incoming.arriving`). A process
holds the lock of each of its directories: the directories of a killed process are unlocked, and
:func:`unfinished` yields them.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from appliance.atomic import sync_paths, unlink
from appliance.incoming.arriving import MOVED, UPLOADS
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.locks import try_lock
from appliance.operations.arrival import link_or_move

_CONTENT = ".content"  # until the form has said the name
_LOCK = ".lock"
_TRIES = 100
# Written to the disk each time: the end of a large upload would wait for all of it otherwise, and
# the system would stop the writing for longer than a proxy waits.
_SYNCED_BYTES = 1 << 26


class Spool:
    """Directory of one upload, with its lock held.

    Attributes:
        size: The number of bytes that were written.
        names: The names of its files to place, the package file first.
    """

    def __init__(self, directory: Path, packages: Path, lock: int) -> None:
        self._directory, self._packages, self._lock = directory, packages, lock
        self._content = -1
        self._sha256 = hashlib.sha256()
        self.size = 0
        self.names: list[str] = []

    # --- receiving -----------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Append bytes of the package file. Raises ``OSError``."""
        if self._content < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._content = os.open(self._directory / _CONTENT, flags, 0o644)
            os.fchmod(self._content, 0o644)  # whatever the umask
        self._sha256.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._content, rest) :]

        before, self.size = self.size, self.size + len(data)
        if before // _SYNCED_BYTES != self.size // _SYNCED_BYTES:
            os.fdatasync(self._content)

    @property
    def sha256(self) -> str:
        """The digest in hex of what was written."""
        return self._sha256.hexdigest()

    def complete(self, filename: str, companions: Mapping[str, bytes]) -> Entry:
        """Make the package file durable under its name, with files of its name and an ending
        beside it; return its entry. Raises ``OSError``."""
        descriptor, self._content = self._content, -1  # closed once, whatever fails
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        (self._directory / _CONTENT).rename(self._directory / filename)

        self.names = [filename, *(filename + ending for ending in companions)]
        for ending, content in companions.items():
            path = self._directory / (filename + ending)
            path.write_bytes(content)
            path.chmod(0o644)
        sync_paths([str(self._directory / name) for name in self.names[1:]])
        entry = self.directory.entry(filename)
        assert entry is not None, "removed while its lock is held"
        return entry

    @property
    def directory(self) -> PackagesDirectory:
        """The directory itself, for the examination of the file."""
        return PackagesDirectory(self._directory)

    # --- placing -------------------------------------------------------------------------------

    def place(self) -> None:
        """Give the files their names in the packages directory, without syncing that. Raises
        ``FileExistsError`` if there is a file of one of the names; nothing is placed then."""
        placed: list[str] = []
        try:
            for name in self.names:
                self._place(name)
                placed.append(name)
        except BaseException:
            self._remove(placed)
            raise

    def _place(self, name: str) -> None:
        source = str(self._directory / name)
        try:
            os.link(source, self._packages / name)
        except FileExistsError:
            raise
        except OSError:  # a file system without links, or another error that moving raises too
            (self._directory / f"{name}{MOVED}").touch()
            link_or_move(source, str(self._packages / name))

    def withdraw(self) -> None:
        """Remove the files that :meth:`place` has placed from the packages directory."""
        self._remove(self.names)

    def _remove(self, names: list[str]) -> None:
        for name in names:
            if self._is_placed(name):
                unlink(self._packages / name)

    def _is_placed(self, name: str) -> bool:
        """Return whether the file in the packages directory is that of this upload."""
        try:
            first = os.lstat(self._directory / name)
        except FileNotFoundError:
            return (self._directory / f"{name}{MOVED}").exists()
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(first, os.lstat(self._packages / name))
        return False

    def is_file(self, name: str, inode: int) -> bool:
        """Return whether the file ``name`` of this upload has this inode."""
        for directory in (self._directory, self._packages):
            with contextlib.suppress(FileNotFoundError):
                return (directory / name).lstat().st_ino == inode
        return False

    # --- the end -------------------------------------------------------------------------------

    def discard(self) -> None:
        """Remove the directory; placed files stay."""
        if self._lock < 0:
            return
        with contextlib.suppress(OSError):
            # The lock last: nobody removes what is left of a directory without it.
            for path in list(self._directory.iterdir()):
                if path.name != _LOCK:
                    unlink(path)
        shutil.rmtree(self._directory, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: another upload
            self._directory.parent.rmdir()
        self.release()

    def release(self) -> None:
        """Leave the directory to :func:`unfinished`. Until then scans leave its files out."""
        for descriptor in (self._content, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._content = -1


def create(packages: PackagesDirectory) -> Spool:
    """Create the directory of a new upload. Raises ``OSError``."""
    uploads = packages.root / UPLOADS
    for _ in range(_TRIES):
        directory = uploads / secrets.token_hex(8)
        with contextlib.suppress(FileExistsError):
            uploads.mkdir(0o700)
        _check_own(uploads)
        with contextlib.suppress(FileNotFoundError):  # another process found it empty
            directory.mkdir(0o700)
            lock = _locked(directory, create=True)
            if lock is not None:
                return Spool(directory, packages.root, lock)
    raise OSError(f"{uploads}: cannot create a directory in it")


def unfinished(packages: PackagesDirectory) -> Iterator[Spool]:
    """Yield the uploads of processes that were killed, each with its lock held; the caller discards
    them. Raises ``OSError``."""
    uploads = packages.root / UPLOADS
    if not uploads.exists():
        return
    _check_own(uploads)
    for directory in sorted(uploads.iterdir()):
        lock = _locked(directory, create=False)
        if lock is None:
            with contextlib.suppress(OSError):  # not empty, or it is being created
                directory.rmdir()
            continue
        spool = Spool(directory, packages.root, lock)
        files = (path.name for path in directory.iterdir())
        names = {name.removesuffix(MOVED) for name in files if not name.startswith(".")}
        spool.names = sorted(names)
        yield spool
    with contextlib.suppress(OSError):
        uploads.rmdir()


def _check_own(uploads: Path) -> None:
    """Raise ``OSError`` for a symbolic link: other users may write to a packages directory, and
    this process writes nowhere for them."""
    if uploads.is_symlink():
        raise NotADirectoryError(f"{uploads}: symbolic link")


def _locked(directory: Path, create: bool) -> int | None:
    """Return the descriptor of the locked file of an upload; ``None`` if there is none, or another
    process holds it or has just removed it. Raises ``FileNotFoundError`` if ``create`` cannot."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    try:
        lock = os.open(directory / _LOCK, flags, 0o600)
    except OSError:
        if create:
            raise
        return None
    if try_lock(lock) and os.fstat(lock).st_nlink:
        return lock
    os.close(lock)
    return None
