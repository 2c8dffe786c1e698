"""Atomic writes: files are written under another name, synced, then renamed.

Nothing here knows what the files are for.
"""

import contextlib
import ctypes
import errno
import itertools
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path


class Batch:
    """Files that are written together and then appear, each one whole.

    Until then they lie under other names: in the directory ``temporary``, which must be on the
    same file system, or hidden beside their targets. A batch that ends in an exception removes
    what has not appeared. If it is not ``durable``, the caller calls :func:`sync` before anything
    refers to the files. A batch can be committed more than once.
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

    def write_unseen(self, target: str, content: bytes) -> None:
        """Prepare ``target``, which nobody has heard of yet if it is not there: then it is written
        in place, at a third of the cost."""
        directory = os.path.dirname(target)
        self._make_room(directory)
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
        """Prepare to move ``source``, which is durable, to ``target``, before anything that is
        written appears. If it is gone by then, nothing happens."""
        self._make_room(os.path.dirname(target))
        self._moves.append((source, target))

    def _create(self, place: str, content: bytes, mtime: int | None = None) -> None:
        descriptor = create(place)
        try:
            self._written.append(place)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fchmod(descriptor, 0o644)  # whatever the umask
            if mtime is not None:
                os.utime(descriptor, (mtime, mtime))
        finally:
            os.close(descriptor)

    def mark(self, place: str) -> bool:
        """Make the empty file ``place``, which appears at once. Returns whether it is new."""
        self._make_room(os.path.dirname(place))
        try:
            descriptor = create(place)
        except FileExistsError:
            if not stat.S_ISREG(os.lstat(place).st_mode):
                self.write(place, b"")
            return False
        os.fchmod(descriptor, 0o644)  # whatever the umask
        os.close(descriptor)
        return True

    def commit(self) -> None:
        """Make all of it durable, then visible, then that durable."""
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
            # Of our own tree: it was a directory in the packages directory once.
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
        """Let what is on another file system appear at ``target``, too."""
        temporary = self._prepare(target)
        self._create(temporary, Path(source).read_bytes())
        if self._durable:
            sync_paths([temporary])
        self._replace(temporary, target)

    def _prepare(self, target: str) -> str:
        """A name for the file until it appears at ``target``, whose directory is there then."""
        directory, name = os.path.split(target)
        self._make_room(directory)
        if self._temporary is None:
            return f"{directory}/.{name}.{next(self._names)}"
        return f"{self._temporary}/{next(self._names)}"

    def _make_room(self, directory: str) -> None:
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


def create(place: str) -> int:
    """Make a file, and its directory again should another process just have removed it."""
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError):
            return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        make_directory(os.path.dirname(place))
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)


def unlink(place: Path | str) -> None:
    """Remove ``place`` if it is there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(place)


def remove_empty(directory: str, top: str) -> None:
    """Remove directories that are empty, from ``directory`` up to below ``top``."""
    while directory.startswith(f"{top}/"):
        try:
            os.rmdir(directory)
        except OSError:
            return  # not empty, or gone
        directory = os.path.dirname(directory)


def sync(directory: Path) -> None:
    """Make everything written on the file system of ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if _libc.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
    finally:
        os.close(descriptor)


_libc = ctypes.CDLL(None, use_errno=True)
# From here on one sync of the file system costs less than one of each file.
_MANY = 16


def sync_paths(paths: list[str]) -> None:
    """Make files and directories durable; what another process has removed needs no more."""
    if len(paths) >= _MANY:
        directory = Path(paths[0]).parent
        sync(next(each for each in (directory, *directory.parents) if each.is_dir()))
        return
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_old(directory: str, seconds: float) -> None:
    """Remove what was put into ``directory`` so long ago or longer.

    By the ctime, as an mtime may be set to anything.
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
    """Make a directory that everybody may read, and its parents, whatever the umask is."""
    if os.path.isdir(directory):
        return
    make_directory(os.path.dirname(directory))
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)
        os.chmod(directory, 0o755)  # noqa: S103 - nginx runs as another user


def files_below(top: str) -> Iterator[str]:
    """The paths of all that is no directory below ``top``, which ends in a slash."""
    for directory, _, files in os.walk(top):
        inner = directory[len(top) :]
        for file in files:
            yield f"{inner}/{file}" if inner else file
