"""Atomic writes: files are written under a temporary name, synced, then renamed.

Not here: the purpose of a file.
"""

import contextlib
import ctypes
import errno
import functools
import itertools
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


class Batch:
    """Files that are written together and then replace their targets, each atomically.

    Until then they have temporary names: in the directory ``temporary``, which must be on the same
    file system, or hidden next to their targets. A batch that ends in an exception removes its
    temporary files. If it is not ``durable``, the caller calls :func:`sync` before anything refers
    to the files. A batch can be committed more than once.
    """

    def __init__(self, temporary: str | None = None, durable: bool = True) -> None:
        self._temporary, self._durable = temporary, durable
        self._names = (f"{secrets.token_hex(6)}-{number}" for number in itertools.count())
        self._pending: list[tuple[str, str]] = []
        self._moves: list[tuple[str, str]] = []
        self._written: list[str] = []
        self._directories: set[str] = set()
        self._appeared: set[str] = set()

    def write(self, target: Path | str, content: bytes, mtime: int | None = None) -> None:
        """Prepare ``target`` with mode 0644, and ``mtime`` in seconds if one is given."""
        temporary = self._prepare(str(target))
        self._pending.append((temporary, str(target)))
        self._create(temporary, content, mtime)

    def write_new(self, target: str, content: bytes) -> None:
        """Prepare ``target``. A missing one, which no page or process refers to yet, is written
        directly, at a third of the cost."""
        directory = os.path.dirname(target)
        self._make_parent(directory)
        try:
            self._create(target, content)
        except FileExistsError:
            self.write(target, content)
        except BaseException:
            unlink(target)
            raise
        else:
            self._appeared.add(directory)

    def move(self, source: str, target: str) -> None:
        """Prepare to move ``source``, which is durable, to ``target``, before the written files
        appear. A ``source`` that is missing by then is skipped."""
        self._make_parent(os.path.dirname(target))
        self._moves.append((source, target))

    def link(self, path: str, target: str) -> None:
        """Prepare the symbolic link ``path`` to ``target``, unless it is there."""
        with contextlib.suppress(OSError):
            if os.readlink(path) == target:
                return
        temporary = self._prepare(path)
        self._pending.append((temporary, path))
        os.symlink(target, temporary)

    def _create(self, path: str, content: bytes, mtime: int | None = None) -> None:
        descriptor = create(path)
        try:
            self._written.append(path)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fchmod(descriptor, 0o644)  # whatever the umask
            if mtime is not None:
                os.utime(descriptor, (mtime, mtime))
        finally:
            os.close(descriptor)

    def mark(self, path: str) -> bool:
        """Create the empty file ``path`` at once. Returns whether it is new."""
        self._make_parent(os.path.dirname(path))
        try:
            descriptor = create(path)
        except FileExistsError:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                self.write(path, b"")
            return False
        os.fchmod(descriptor, 0o644)  # whatever the umask
        os.close(descriptor)
        return True

    def commit(self) -> None:
        """Make the content durable, then visible, then the directory entries durable."""
        if self._durable:
            sync_paths(self._written)
        self._written.clear()

        for source, target in self._moves:
            self._move(source, target)
            self._appeared.add(os.path.dirname(target))
        for temporary, target in self._pending:
            self._replace(temporary, target)
            self._appeared.add(os.path.dirname(target))
        self._moves.clear()
        self._pending.clear()

        if self._durable:
            sync_paths(sorted(self._appeared))
        self._appeared.clear()

    def _replace(self, source: str, target: str) -> None:
        try:
            os.replace(source, target)
        except IsADirectoryError:
            if self._temporary is None:
                raise
            # In the published tree: the path was a directory in the packages directory before.
            os.rename(target, f"{self._temporary}/{next(self._names)}")
            os.replace(source, target)
        except FileNotFoundError:  # another process found the directory empty and removed it
            make_directory(os.path.dirname(target))
            os.replace(source, target)

    def _move(self, source: str, target: str) -> None:
        try:
            self._replace(source, target)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(source, target)
            unlink(source)

    def _copy(self, source: str, target: str) -> None:
        """Copy ``source`` on another file system to ``target``, atomically."""
        temporary = self._prepare(target)
        self._create(temporary, Path(source).read_bytes())
        if self._durable:
            sync_paths([temporary])
        self._replace(temporary, target)

    def _prepare(self, target: str) -> str:
        """Create the directory of ``target``; returns a temporary name for the file."""
        directory, name = os.path.split(target)
        self._make_parent(directory)
        if self._temporary is None:
            return f"{directory}/.{name}.{next(self._names)}"
        return f"{self._temporary}/{next(self._names)}"

    def _make_parent(self, directory: str) -> None:
        if directory not in self._directories:
            make_directory(directory)
            self._directories.add(directory)

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            for temporary, _target in self._pending:
                unlink(temporary)


def create(path: str) -> int:
    """Create a file, and its directory again if another process has just removed it. Returns the
    descriptor; raises ``FileExistsError``."""
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        make_directory(os.path.dirname(path))
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def unlink(path: Path | str) -> None:
    """Remove the file ``path`` if it exists."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def remove_empty(directory: str, top: str) -> None:
    """Remove empty directories, from ``directory`` upwards to below ``top``."""
    while directory.startswith(f"{top}/"):
        try:
            os.rmdir(directory)
        except OSError:
            return  # not empty, or removed
        directory = os.path.dirname(directory)


def is_full(error: OSError) -> bool:
    """Return whether an error says that a disk is full, or a quota of it is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def sync(directory: Path) -> None:
    """Make everything written on the file system of ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if _libc.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
    finally:
        os.close(descriptor)


_libc = ctypes.CDLL(None, use_errno=True)
# From this number on, one sync of the file system costs less than one per file.
_MANY = 16
_AT_ONCE = 8


def sync_paths(paths: list[str]) -> None:
    """Make files and directories durable; removed ones are skipped."""
    if len(paths) >= _MANY:
        for directory in _file_systems(paths):
            sync(directory)
        return

    if len(paths) <= 1:
        for path in paths:
            _sync(path)
        return
    try:
        # At once: the file system writes all of them in one step.
        synced = [_threads().submit(_sync, path) for path in paths]
    except RuntimeError:  # the process is ending
        synced = []
        for path in paths:
            _sync(path)
    for each in synced:
        each.result()


def _file_systems(paths: list[str]) -> list[Path]:
    """Return a directory on each file system that ``paths`` are on. A path may be the directory
    where one is mounted; for a removed one the directory above stands."""
    found: dict[int, str] = {}
    for path in paths:
        while not os.path.isdir(path):
            path = os.path.dirname(path)
        found[os.stat(path).st_dev] = path
    return [Path(path) for path in found.values()]


def _sync(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, "sync")


os.register_at_fork(after_in_child=_threads.cache_clear)  # a child has none of the threads


def remove_old(directory: str, seconds: float) -> None:
    """Remove entries of ``directory`` that are at least so old.

    By ctime, since an mtime can be set to anything.
    """
    with contextlib.suppress(FileNotFoundError):
        for entry in list(os.scandir(directory)):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if time.time() - status.st_ctime < seconds:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    unlink(entry.path)


def make_directory(directory: Path | str) -> None:
    """Create a directory readable by all users, and its parents, whatever the umask."""
    if os.path.isdir(directory):
        return
    make_directory(os.path.dirname(directory))
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)
        os.chmod(directory, 0o755)  # noqa: S103 - nginx runs as another user


def files_below(top: str) -> Iterator[str]:
    """Yield relative paths of all entries but directories below ``top``, which ends in a slash."""
    for directory, _, files in os.walk(top):
        inner = directory[len(top) :]
        for file in files:
            yield f"{inner}/{file}" if inner else file
