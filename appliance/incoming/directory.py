"""The operator's packages directory: walking it, and reading the status of paths. No file is opened
or written."""

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
    is_hidden,
    is_ignored,
    unreadable,
)
from appliance.index.model import Code
from appliance.text import has_controls, printable

_LARGEST = (1 << 63) - 1  # time or inode that fits into the catalog
_LINKED = "symbolic link to a directory, which is not followed"
_BROKEN = "broken symbolic link"
_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(slots=True)
class Walked:
    """Result of a walk beside its entries: the number of directories, the ignored paths, and the
    paths of files that are still being downloaded."""

    directories: int = 0
    ignored: list[str] = field(default_factory=list)
    unfinished: set[str] = field(default_factory=set)


class DirectoryMissing(PyindexError):
    """The packages directory does not exist; its published pages stay."""


class PackagesDirectory:
    """Packages directory. Paths in it are relative, with ``/``.

    Attributes:
        spec_path: Its path in the spec.
        root: The same path without symbolic links.
    """

    def __init__(self, path: Path) -> None:
        self.spec_path = path
        self.root = Path(os.path.realpath(path))  # which raises nothing for a loop of links
        self._prefix = "" if str(self.root) == "/" else str(self.root)

    def locate(self, path: str) -> Path:
        """Return the absolute path of a relative one. Raises :class:`Rejected` if it leads out."""
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise Rejected("path outside the packages directory")
        return self.root / path

    def relative(self, path: Path | str) -> str | None:
        """Return the relative path of an absolute one; ``None`` if it is outside or hidden.

        The path ends before a name that the catalog has in another spelling (see
        :func:`printable`).
        """
        try:
            components = Path(path).relative_to(self.root).parts
        except ValueError:
            return None
        if any(name.startswith(".") for name in components):
            return None
        return "/".join(takewhile(lambda name: not has_controls(name), components))

    def walk(self, walked: Walked | None = None) -> Iterator[Entry]:
        """Yield all entries in the order of their paths' bytes, as in the catalog; each with its
        status at that moment.

        Hidden and ignored names are skipped; symbolic links to directories are not followed. Raises
        :class:`DirectoryMissing` if the directory itself cannot be read.
        """
        return self._entries_below("", Walked() if walked is None else walked)

    def entries(self, path: str) -> Iterator[Entry]:
        """Yield the entries at and below ``path``, as :meth:`walk` does."""
        if not path:
            yield from self.walk()
            return

        components = path.split("/")
        for depth, name in enumerate(components, 1):
            current, is_last = "/".join(components[:depth]), depth == len(components)
            try:
                is_directory = stat.S_ISDIR(self.locate(current).lstat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                self.identity()  # raises if the packages directory itself is missing
                return
            except PermissionError as error:  # for the directory above
                if depth == 1:
                    raise self._missing(error) from None
                yield unreadable("/".join(components[: depth - 1]) + "/", error)
                return
            except OSError as error:
                yield unreadable(current, error)
                return

            if is_hidden(name) or is_ignored(name, is_directory):
                return
            if is_last or not is_directory or invalid_directory(current):
                yield from self._entries_at(current, is_directory)
                return

    def _entries_at(self, path: str, is_directory: bool) -> Iterator[Entry]:
        if is_directory:
            yield from self._entries_below(path, Walked())
        elif entry := self._entry(path):
            yield entry

    def entry(self, path: str) -> Entry | None:
        """Return the entry of a file that can be served; ``None`` if ``path`` has none."""
        entry = self._entry(path)
        return None if entry is None or entry.problem is not None else entry

    def link_above(self, path: str) -> str | None:
        """Return the first directory above ``path`` that is a symbolic link, or ``None``."""
        components = path.split("/")
        parents = ("/".join(components[:depth]) for depth in range(1, len(components)))
        links = (each for each in parents if os.path.islink(f"{self._prefix}/{each}"))  # noqa: PTH114 - raises nothing
        return next(links, None)

    def identity(self) -> tuple[int, int]:
        """Return device and inode of the directory. Raises :class:`DirectoryMissing`."""
        try:
            status = self.root.stat()
        except OSError as error:
            raise self._missing(error) from None
        if not stat.S_ISDIR(status.st_mode):
            raise self._missing(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        return status.st_dev, status.st_ino

    def is_empty(self, path: str = "") -> bool:
        """Return whether the directory at ``path`` has no entry, not even a hidden one, except the
        ``lost+found`` of a new disk."""
        with os.scandir(self.root / path) as entries:
            return all(entry.name == "lost+found" for entry in entries)

    def ignored(self, limit: int) -> list[str]:
        """Return ignored paths, among about the first ``limit`` names."""
        walked = Walked()
        for _ in islice(self._paths_below("", walked), limit):
            pass
        return walked.ignored

    def _missing(self, error: OSError) -> DirectoryMissing:
        if isinstance(error, FileNotFoundError):
            text = f"packages directory {self.root}: not found; mount or create it"
            return DirectoryMissing(text)
        return DirectoryMissing(f"packages directory {self.root}: {error.strerror}")

    # --- walking -------------------------------------------------------------------------------

    def _entries_below(self, top: str, walked: Walked) -> Iterator[Entry]:
        """Yield entries below the directory ``top``, or one for it if it must not be entered."""
        for path in self._paths_below(top, walked):
            if isinstance(path, Entry):
                yield path
            elif entry := self._entry(path):
                yield entry

    def _paths_below(self, top: str, walked: Walked) -> Iterator[str | Entry]:
        """Yield the paths of files, and an entry for each directory that cannot be entered."""
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
                    if error.errno not in _NO_DIRECTORY:  # else it was replaced meanwhile
                        yield unreadable(f"{path}/", error)

    def _list(self, prefix: str, walked: Walked) -> list[tuple[str, bool]]:
        """Return the paths in the directory ``prefix`` in reverse order, each with whether it is a
        directory. Raises ``OSError``, and :class:`DirectoryMissing` for the packages directory."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if prefix else 0)
        try:
            directory = os.open(f"{self._prefix}/{prefix}", flags)
            try:
                os.stat(".", dir_fd=directory)  # whether entries in it can be examined
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
        """Yield the sort key of each name, the name, and whether it is a directory."""
        with os.scandir(directory) as entries:
            for entry in entries:
                name, is_directory = entry.name, False
                if is_hidden(name):
                    continue
                with contextlib.suppress(OSError):  # :meth:`_entry` reports the error
                    is_directory = entry.is_dir(follow_symlinks=False)
                if is_ignored(name, is_directory):
                    walked.ignored.append(printable(prefix + name))
                    walked.unfinished.add(prefix + complete_name(name))
                    continue

                is_entered = is_directory and invalid_directory(prefix + name) is None
                yield printable(name) + "/" * is_entered, name, is_directory

    # --- one path ------------------------------------------------------------------------------

    def _entry(self, path: str) -> Entry | None:
        """Return the entry at ``path``, which is not a directory, or ``None``."""
        if reason := invalid_path(path):
            return invalid(path, reason)
        try:
            status = link = os.lstat(f"{self._prefix}/{path}")
            reason = None
            if stat.S_ISLNK(link.st_mode):
                status, reason = self._follow_link(path, link)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return unreadable(path, error)

        if reason is None and not stat.S_ISREG(status.st_mode):
            is_link = status is not link and stat.S_ISDIR(status.st_mode)
            reason = _LINKED if is_link else "not a regular file"
        problem = Problem(Code.INVALID, reason) if reason else None
        mtime_ns = max(-_LARGEST, min(status.st_mtime_ns, _LARGEST))
        return Entry(path, status.st_size, mtime_ns, status.st_ino & _LARGEST, problem)

    def _follow_link(self, path: str, link: os.stat_result) -> tuple[os.stat_result, str | None]:
        """Return the status of a symbolic link's target; or that of the link, and a reason."""
        try:
            target = (self.root / path).resolve(strict=True)
            if not target.is_relative_to(self.root):
                return link, "symbolic link that leads out of the packages directory"
            return target.stat(), None
        except RuntimeError:
            return link, _BROKEN
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                return link, _BROKEN
            raise
