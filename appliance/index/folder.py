"""The operator's packages directory: the only code that turns a name from outside into a path."""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import PyindexError, Refused
from appliance.index import names

_FILES = (*names.ENDINGS, names.SIGNATURE, names.METADATA)
_LARGEST = (1 << 63) - 1  # that a catalog can hold, of a time or an inode
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LINKED = "a symbolic link to a directory, which is not followed"


def open_beneath(root: str, path: str) -> int:
    """Open the file at the relative ``path`` for reading, without blocking; returns a descriptor.

    No symbolic link leads out of the directory ``root``, however it is replaced meanwhile: each
    step is opened from the one before without following links. A link to a place inside ``root``
    is resolved first. Raises ``OSError``: ``ELOOP`` for what leads out.
    """
    try:
        return _open_plain(root, path)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        real = os.path.realpath(f"{root}/{path}")
        if not real.startswith(f"{root}/"):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
        return _open_plain(root, real[len(root) + 1 :])


def _open_plain(root: str, path: str) -> int:
    """Open ``path`` below ``root`` if no component of it is a symbolic link."""
    *directories, name = path.split("/")
    above = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for directory in directories:
            below = os.open(
                directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above
            )
            os.close(above)
            above = below
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=above)
    finally:
        os.close(above)


@dataclass(frozen=True, slots=True)
class Entry:
    """A name found in a packages directory; ``problem`` says why it cannot be a package file."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    problem: str | None = None


class FolderGone(PyindexError):
    """The packages directory is not there; what was published of it stays."""


class Folder:
    """A packages directory. Paths in it are relative, with ``/``."""

    def __init__(self, root: Path) -> None:
        self.given, self.root = root, root.resolve()

    def locate(self, path: str) -> Path:
        """The file at ``path``; :class:`Refused` if that is not below the folder."""
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise Refused("a path outside the packages directory")
        return self.root / path

    def relative(self, path: Path | str) -> str | None:
        """The path in the folder that an absolute one means; ``None`` if it lies elsewhere or
        is hidden."""
        try:
            parts = Path(path).relative_to(self.root).parts
        except ValueError:
            return None
        return None if any(part.startswith(".") for part in parts) else "/".join(parts)

    def look(self, path: str = "") -> Iterator[Entry]:
        """What is at ``path`` and below it now: nothing, one entry, or a tree of them.

        Hidden names are passed over; directories behind symbolic links are not followed.
        Raises :class:`FolderGone` if the folder itself cannot be read.
        """
        try:
            parts = path.split("/") if path else []
            for depth, part in enumerate(parts, 1):
                place, inner = "/".join(parts[:depth]), depth < len(parts)
                top = self.locate(place)
                is_directory = stat.S_ISDIR(top.lstat().st_mode)
                if inner and is_directory and not part.lower().endswith(_FILES):
                    continue
                yield from self._found(top, place, is_directory)
                return
            yield from self._walk(str(self.root), "")
        except (FileNotFoundError, NotADirectoryError):
            if not self.root.is_dir():
                raise FolderGone(
                    f"packages directory {self.root} is not there; mount it or make it"
                ) from None

    def entry(self, path: str) -> Entry | None:
        """The file at ``path``, if there is one that can be served."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            entry = self._entry(self.locate(path), path)
            return entry if entry.problem is None else None
        return None

    def inode(self) -> int:
        """The inode of the folder itself; :class:`FolderGone` if it is not there."""
        try:
            return self.root.stat().st_ino & _LARGEST
        except OSError as error:
            raise FolderGone(f"packages directory {self.root}: {error.strerror}") from None

    def is_bare(self) -> bool:
        """Whether there is nothing at all in it, not even a hidden file."""
        return not any(os.scandir(self.root))

    def _walk(self, directory: str, prefix: str) -> Iterator[Entry]:
        try:
            found = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except FileNotFoundError:
            if not prefix:
                raise
            return
        except OSError as error:
            if not prefix:
                raise FolderGone(f"packages directory {directory}: {error.strerror}") from error
            yield Entry(prefix[:-1], 0, 0, 0, f"cannot be read: {error.strerror}")
            return
        for entry in found:
            if entry.name.startswith("."):
                continue
            path = prefix + entry.name
            with contextlib.suppress(FileNotFoundError):
                is_directory = entry.is_dir(follow_symlinks=False)
                yield from self._found(Path(entry.path), path, is_directory)

    def _found(self, place: Path, path: str, is_directory: bool) -> Iterator[Entry]:
        if not is_directory:
            yield self._entry(place, path)
        elif path.lower().endswith(_FILES):
            yield Entry(path, 0, 0, 0, "a directory that is named like a package file")
        elif UNSAFE.search(path):
            yield self._unsafe(path)
        else:
            yield from self._walk(str(place), f"{path}/")

    def _entry(self, file: Path, path: str) -> Entry:
        if UNSAFE.search(path):
            return self._unsafe(path)
        status = found = file.lstat()
        problem = None
        if stat.S_ISLNK(status.st_mode):
            status, problem = self._follow(file, status)
        if problem is None and not stat.S_ISREG(status.st_mode):
            is_link = status is not found and stat.S_ISDIR(status.st_mode)
            problem = _LINKED if is_link else "not a regular file"
        time = max(-_LARGEST, min(status.st_mtime_ns, _LARGEST))
        return Entry(path, status.st_size, time, status.st_ino & _LARGEST, problem)

    def _unsafe(self, path: str) -> Entry:
        # Characters that no log line or page should carry are replaced in what we keep.
        shown = path.encode("unicode_escape").decode("ascii")
        return Entry(shown, 0, 0, 0, "the path has control characters or is not UTF-8")

    def _follow(self, link: Path, status: os.stat_result) -> tuple[os.stat_result, str | None]:
        try:
            target = link.resolve(strict=True)
            if not target.is_relative_to(self.root):
                return status, "a symbolic link that leaves the packages directory"
            return target.stat(), None
        except (OSError, RuntimeError):
            return status, "a symbolic link that leads nowhere"
