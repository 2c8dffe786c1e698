"""An operator's packages directory: walked, and asked what is at a path. Nothing is written there,
and no file is opened."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, takewhile
from pathlib import Path

from appliance.errors import PyindexError, Rejected
from appliance.incoming.entries import (
    Entry,
    Problem,
    complete_name,
    invalid,
    invalid_directory,
    invalid_path,
    is_ignored,
    unreadable,
)
from appliance.index.model import Code
from appliance.text import has_controls, printable

_LARGEST = (1 << 63) - 1  # that a catalog can hold, of a time or an inode
_LINKED = "symbolic link to a directory, which is not followed"
_BROKEN = "broken symbolic link"
_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(slots=True)
class Walked:
    """What a walk met beside the entries that it yields: how many directories, the paths that are
    ignored, and those of files that are still being downloaded."""

    directories: int = 0
    ignored: list[str] = field(default_factory=list)
    unfinished: set[str] = field(default_factory=set)


class DirectoryMissing(PyindexError):
    """The packages directory is not there; what was published of it stays."""


class PackagesDirectory:
    """A packages directory. Paths in it are relative, with ``/``.

    Attributes:
        given: Its path as the spec has it.
        root: The same without symbolic links.
    """

    def __init__(self, path: Path) -> None:
        self.given, self.root = path, Path(os.path.realpath(path))  # a loop of links, too
        self._text = "" if str(self.root) == "/" else str(self.root)

    def locate(self, path: str) -> Path:
        """The absolute path of the relative one; :class:`Rejected` if that leads out."""
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise Rejected("path outside the packages directory")
        return self.root / path

    def relative(self, path: Path | str) -> str | None:
        """The path in the directory that an absolute one means, or of the directory above what the
        catalog has under another name (see :func:`printable`); ``None`` if it lies elsewhere or is
        hidden."""
        try:
            parts = Path(path).relative_to(self.root).parts
        except ValueError:
            return None
        if any(part.startswith(".") for part in parts):
            return None
        return "/".join(takewhile(lambda part: not has_controls(part), parts))

    def walk(self, walked: Walked | None = None) -> Iterator[Entry]:
        """Everything in the directory, in the order of the paths' bytes, which is the order that a
        catalog has them in; each file as it is when its turn comes.

        Hidden and ignored names are passed over; directories behind symbolic links are not
        followed. Raises :class:`DirectoryMissing` if the directory itself cannot be read.
        """
        return self._entries_below("", Walked() if walked is None else walked)

    def entries(self, path: str) -> Iterator[Entry]:
        """What is at ``path`` and below it now: nothing, one entry, or a tree of them; otherwise as
        :meth:`walk`."""
        if not path:
            yield from self.walk()
            return

        parts = path.split("/")
        for depth, name in enumerate(parts, 1):
            current, is_last = "/".join(parts[:depth]), depth == len(parts)
            try:
                is_directory = stat.S_ISDIR(self.locate(current).lstat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                self.identity()  # whether the packages directory itself is there
                return
            except PermissionError as error:  # of the directory that it is in
                if depth == 1:
                    raise self._missing(error) from None
                yield unreadable("/".join(parts[: depth - 1]) + "/", error)
                return
            except OSError as error:
                yield unreadable(current, error)
                return

            if name.startswith(".") or is_ignored(name, is_directory):
                return
            if is_last or not is_directory or invalid_directory(current):
                yield from self._at(current, is_directory)
                return

    def _at(self, path: str, is_directory: bool) -> Iterator[Entry]:
        if is_directory:
            yield from self._entries_below(path, Walked())
        elif entry := self._entry(path):
            yield entry

    def entry(self, path: str) -> Entry | None:
        """The file at ``path``, if there is one that can be served."""
        entry = self._entry(path)
        return None if entry is None or entry.problem is not None else entry

    def link_above(self, path: str) -> str | None:
        """The first symbolic link that stands where a directory on the way to ``path`` would be."""
        parts = path.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        links = (each for each in above if os.path.islink(f"{self._text}/{each}"))  # noqa: PTH114 - raises nothing
        return next(links, None)

    def identity(self) -> tuple[int, int]:
        """Device and inode of the directory itself. Raises :class:`DirectoryMissing`."""
        try:
            status = self.root.stat()
        except OSError as error:
            raise self._missing(error) from None
        if not stat.S_ISDIR(status.st_mode):
            raise self._missing(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        return status.st_dev, status.st_ino

    def is_empty(self, path: str = "") -> bool:
        """Whether there is nothing at all in it, or in a directory of it, not even a hidden file;
        a new disk has a ``lost+found``."""
        with os.scandir(self.root / path) as entries:
            return all(entry.name == "lost+found" for entry in entries)

    def ignored(self, most: int) -> list[str]:
        """Paths that are passed over as no packages, of the first ``most`` names or so."""
        walked = Walked()
        for _ in islice(self._paths_below("", walked), most):
            pass
        return walked.ignored

    def _missing(self, error: OSError) -> DirectoryMissing:
        if isinstance(error, FileNotFoundError):
            text = f"packages directory {self.root}: not found; mount or create it"
            return DirectoryMissing(text)
        return DirectoryMissing(f"packages directory {self.root}: {error.strerror}")

    # --- walking -------------------------------------------------------------------------------

    def _entries_below(self, top: str, walked: Walked) -> Iterator[Entry]:
        """What is below the directory ``top``, or an entry for it if it is not gone into."""
        for path in self._paths_below(top, walked):
            if isinstance(path, Entry):
                yield path
            elif entry := self._entry(path):
                yield entry

    def _paths_below(self, top: str, walked: Walked) -> Iterator[str | Entry]:
        """Paths of what is no directory, and an entry for each directory that is not gone into."""
        levels = [[(top, True)] if top else self._list("", walked)]
        while levels:
            if not levels[-1]:
                levels.pop()
                continue

            path, is_directory = levels[-1].pop()
            if not is_directory:
                yield path
            elif entry := invalid_directory(path):
                yield entry
            else:
                try:
                    levels.append(self._list(f"{path}/", walked))
                except DirectoryMissing:
                    raise
                except OSError as error:
                    if error.errno not in _NO_DIRECTORY:  # it was one a moment ago
                        yield unreadable(f"{path}/", error)

    def _list(self, prefix: str, walked: Walked) -> list[tuple[str, bool]]:
        """Paths in the directory ``prefix``, the last first, with whether they are directories.
        Raises ``OSError``, :class:`DirectoryMissing` for the packages directory itself."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if prefix else 0)
        try:
            directory = os.open(f"{self._text}/{prefix}", flags)
            try:
                os.stat(".", dir_fd=directory)  # whether what is in it can be looked at
                names = list(self._names(directory, prefix, walked))
            finally:
                os.close(directory)
        except OSError as error:
            if prefix:
                raise
            raise self._missing(error) from None

        walked.directories += 1
        names.sort(reverse=True)
        return [(prefix + name, is_directory) for _, name, is_directory in names]

    def _names(
        self, directory: int, prefix: str, walked: Walked
    ) -> Iterator[tuple[str, str, bool]]:
        """Sort key, name and whether it is a directory, of what a directory has."""
        with os.scandir(directory) as entries:
            for entry in entries:
                name, is_directory = entry.name, False
                if name.startswith("."):
                    continue
                with contextlib.suppress(OSError):  # what is wrong with it is told in its turn
                    is_directory = entry.is_dir(follow_symlinks=False)
                if is_ignored(name, is_directory):
                    walked.ignored.append(printable(prefix + name))
                    walked.unfinished.add(prefix + complete_name(name))
                    continue

                is_entered = is_directory and invalid_directory(prefix + name) is None
                yield printable(name) + "/" * is_entered, name, is_directory

    # --- one path ------------------------------------------------------------------------------

    def _entry(self, path: str) -> Entry | None:
        """What is at ``path``, which is not a directory, if anything is there."""
        if reason := invalid_path(path):
            return invalid(path, reason)
        try:
            status = own = os.lstat(f"{self._text}/{path}")
            reason = None
            if stat.S_ISLNK(own.st_mode):
                status, reason = self._follow(path, own)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return unreadable(path, error)

        if reason is None and not stat.S_ISREG(status.st_mode):
            is_link = status is not own and stat.S_ISDIR(status.st_mode)
            reason = _LINKED if is_link else "not a regular file"
        problem = Problem(Code.INVALID, reason) if reason else None
        mtime_ns = max(-_LARGEST, min(status.st_mtime_ns, _LARGEST))
        return Entry(path, status.st_size, mtime_ns, status.st_ino & _LARGEST, problem)

    def _follow(self, path: str, own: os.stat_result) -> tuple[os.stat_result, str | None]:
        """The status of what a symbolic link leads to; or its own, and why that is no file."""
        try:
            target = (self.root / path).resolve(strict=True)
            if not target.is_relative_to(self.root):
                return own, "symbolic link that leads out of the packages directory"
            return target.stat(), None
        except RuntimeError:
            return own, _BROKEN
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                return own, _BROKEN
            raise
