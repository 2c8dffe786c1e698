"""The operator's packages directory: the only code that turns a name from outside into a path."""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, takewhile
from pathlib import Path

from appliance.errors import PyindexError, Refused
from appliance.index import names
from appliance.text import has_controls, printable

_FILES = (*names.ENDINGS, names.SIGNATURE, names.METADATA)
_LARGEST = (1 << 63) - 1  # that a catalog can hold, of a time or an inode
_LINKED = "a symbolic link to a directory, which is not followed"
_NOWHERE = "a symbolic link that leads nowhere"
_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# Of a path in the folder: below www, whose own path is longer, each has to fit into PATH_MAX.
LONGEST = 1024
# Beside a file, that it is still being fetched.
PARTIAL = (".part", ".partial", ".filepart", ".aria2", ".crdownload", ".opdownload", ".download")
_IGNORED_DIRECTORY = re.compile(
    r"lost\+found|@eadir|[@#]recycle|#snapshot|\$recycle\.bin|system volume information|__macosx",
    re.IGNORECASE,
)
_IGNORED = re.compile(
    r"thumbs\.db|desktop\.ini|index\.html?|(?:readme|licen[cs]e|changelog).*"
    r"|(?:md5|sha[0-9]+)sums?(?:\..*)?|.*(?:~|\.tmp|\.temp|\.swp|"
    + "|".join(map(re.escape, PARTIAL))
    + ")",
    re.IGNORECASE | re.DOTALL,
)


def open_beneath(root: str, path: str) -> int:
    """Open the file at the relative ``path`` for reading, without blocking; returns a descriptor.

    No symbolic link leads out of the directory ``root``, however it is replaced meanwhile: each
    step is opened from the one before without following links. A link to a place inside ``root``
    is resolved first. Raises ``OSError``: ``ELOOP`` for what leads out.
    """
    try:
        return open_plain(root, path)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        real = os.path.realpath(f"{root}/{path}")
        if not real.startswith(f"{root}/"):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
        return open_plain(root, real[len(root) + 1 :])


def open_plain(root: str, path: str) -> int:
    """As :func:`open_beneath`, if no component of ``path`` is a symbolic link."""
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
    """A name found in a packages directory; ``problem`` says why it cannot be a package file.

    ``shut`` says that the system would not let us look: what was known at this path and below it
    is neither there nor gone. The path of a directory that is shut ends with ``/``.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int
    problem: str | None = None
    shut: bool = False


@dataclass(slots=True)
class Tally:
    """What a walk met beside the entries that it yields."""

    directories: int = 0
    ignored: list[str] = field(default_factory=list)
    unfinished: set[str] = field(default_factory=set)  # files that are still being fetched


class FolderGone(PyindexError):
    """The packages directory is not there; what was published of it stays."""


class Folder:
    """A packages directory. Paths in it are relative, with ``/``."""

    def __init__(self, root: Path) -> None:
        self.given, self.root = root, Path(os.path.realpath(root))  # a loop of links, too
        self._text = "" if str(self.root) == "/" else str(self.root)

    def locate(self, path: str) -> Path:
        """The file at ``path``; :class:`Refused` if that is not below the folder."""
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise Refused("a path outside the packages directory")
        return self.root / path

    def relative(self, path: Path | str) -> str | None:
        """The path in the folder that an absolute one means, or of the directory above what the
        catalog has under another name (see :func:`printable`); ``None`` if it lies elsewhere or is
        hidden."""
        try:
            parts = Path(path).relative_to(self.root).parts
        except ValueError:
            return None
        if any(part.startswith(".") for part in parts):
            return None
        return "/".join(takewhile(lambda part: not has_controls(part), parts))

    def walk(self, tally: Tally | None = None) -> Iterator[Entry]:
        """Everything in the folder, in the order of the paths' bytes, which is the order that a
        catalog has them in; each file as it is when its turn comes.

        Raises :class:`FolderGone` if the folder itself cannot be read.
        """
        return self._entries("", Tally() if tally is None else tally)

    def look(self, path: str = "") -> Iterator[Entry]:
        """What is at ``path`` and below it now: nothing, one entry, or a tree of them.

        Hidden and ignored names are passed over; directories behind symbolic links are not
        followed. Raises :class:`FolderGone` if the folder itself cannot be read.
        """
        parts = path.split("/") if path else []
        for depth, part in enumerate(parts, 1):
            place, inner = "/".join(parts[:depth]), depth < len(parts)
            try:
                is_directory = stat.S_ISDIR(self.locate(place).lstat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                self.identity()  # whether the folder itself is there
                return
            except PermissionError as error:  # of the directory that it is in
                if depth == 1:
                    raise self._gone(error) from None
                yield _shut("/".join(parts[: depth - 1]) + "/", error)
                return
            except OSError as error:
                yield _shut(place, error)
                return
            if part.startswith(".") or is_ignored(part, is_directory):
                return
            if inner and is_directory and (_refused_directory(place) is None):
                continue
            if is_directory:
                yield from self._entries(place, Tally())
            elif entry := self._leaf(place):
                yield entry
            return
        yield from self.walk()

    def entry(self, path: str) -> Entry | None:
        """The file at ``path``, if there is one that can be served."""
        entry = self._leaf(path)
        return None if entry is None or entry.problem is not None else entry

    def link_before(self, path: str) -> str | None:
        """The first symbolic link that stands where a directory on the way to ``path`` would be."""
        parts = path.split("/")
        places = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        links = (each for each in places if os.path.islink(f"{self._text}/{each}"))  # noqa: PTH114 - raises nothing
        return next(links, None)

    def identity(self) -> tuple[int, int]:
        """Device and inode of the folder itself; :class:`FolderGone` if it is not there."""
        try:
            status = self.root.stat()
        except OSError as error:
            raise self._gone(error) from None
        if not stat.S_ISDIR(status.st_mode):
            raise self._gone(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        return status.st_dev, status.st_ino

    def is_bare(self, path: str = "") -> bool:
        """Whether there is nothing at all in it, or in a directory of it, not even a hidden file;
        a new disk has a ``lost+found``."""
        with os.scandir(self.root / path) as found:
            return all(entry.name == "lost+found" for entry in found)

    def ignored(self, most: int) -> list[str]:
        """Paths that are passed over as no packages, of the first ``most`` names or so."""
        tally = Tally()
        for _ in islice(self._names("", tally), most):
            pass
        return tally.ignored

    def _gone(self, error: OSError) -> FolderGone:
        if isinstance(error, FileNotFoundError):
            return FolderGone(f"packages directory {self.root} is not there; mount it or make it")
        return FolderGone(f"packages directory {self.root}: {error.strerror}")

    def _entries(self, top: str, tally: Tally) -> Iterator[Entry]:
        """What is below the directory ``top``, or an entry for it if it is not gone into."""
        for found in self._names(top, tally):
            if isinstance(found, Entry):
                yield found
            elif entry := self._leaf(found):
                yield entry

    def _names(self, top: str, tally: Tally) -> Iterator[str | Entry]:
        """Paths of what is no directory, and an entry for each directory that is not gone into."""
        levels = [[(top, True)] if top else self._level("", tally)]
        while levels:
            names = levels[-1]
            if not names:
                levels.pop()
                continue
            path, is_directory = names.pop()
            if not is_directory:
                yield path
            elif problem := _refused_directory(path):
                yield problem
            else:
                try:
                    levels.append(self._level(f"{path}/", tally))
                except FolderGone:
                    raise
                except OSError as error:
                    if error.errno not in _NO_DIRECTORY:  # it was one a moment ago
                        yield _shut(f"{path}/", error)

    def _level(self, prefix: str, tally: Tally) -> list[tuple[str, bool]]:
        """Paths in the directory ``prefix``, the last first, with whether they are directories.
        Raises ``OSError``, :class:`FolderGone` for the folder itself."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if prefix else 0)
        try:
            directory = os.open(f"{self._text}/{prefix}", flags)
            try:
                os.stat(".", dir_fd=directory)  # whether what is in it can be looked at
                names = list(self._listed(directory, prefix, tally))
            finally:
                os.close(directory)
        except OSError as error:
            if prefix:
                raise
            raise self._gone(error) from None
        tally.directories += 1
        names.sort(reverse=True)
        return [(prefix + name, is_directory) for _, name, is_directory in names]

    def _listed(self, directory: int, prefix: str, tally: Tally) -> Iterator[tuple[str, str, bool]]:
        """Sort key, name and whether it is a directory, of what a directory has."""
        with os.scandir(directory) as found:
            for entry in found:
                name, is_directory = entry.name, False
                if name.startswith("."):
                    continue
                with contextlib.suppress(OSError):  # what is wrong with it is told in its turn
                    is_directory = entry.is_dir(follow_symlinks=False)
                if is_ignored(name, is_directory):
                    tally.ignored.append(printable(prefix + name))
                    tally.unfinished.add(prefix + whole(name))
                    continue
                inner = is_directory and _refused_directory(prefix + name) is None
                yield printable(name) + "/" * inner, name, is_directory

    def _leaf(self, path: str) -> Entry | None:
        """What is at ``path``, which is not a directory, if anything is there."""
        if problem := _refused_path(path):
            return Entry(printable(path), 0, 0, 0, problem)
        try:
            status = found = os.lstat(f"{self._text}/{path}")
            problem = None
            if stat.S_ISLNK(status.st_mode):
                status, problem = self._follow(path, status)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return _shut(path, error)
        if problem is None and not stat.S_ISREG(status.st_mode):
            is_link = status is not found and stat.S_ISDIR(status.st_mode)
            problem = _LINKED if is_link else "not a regular file"
        time = max(-_LARGEST, min(status.st_mtime_ns, _LARGEST))
        return Entry(path, status.st_size, time, status.st_ino & _LARGEST, problem)

    def _follow(self, path: str, status: os.stat_result) -> tuple[os.stat_result, str | None]:
        try:
            target = (self.root / path).resolve(strict=True)
            if not target.is_relative_to(self.root):
                return status, "a symbolic link that leaves the packages directory"
            return target.stat(), None
        except RuntimeError:
            return status, _NOWHERE
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                return status, _NOWHERE
            raise


def is_ignored(name: str, is_directory: bool) -> bool:
    """Whether a name is what systems, tools and people leave beside package files everywhere."""
    if is_directory:
        return _IGNORED_DIRECTORY.fullmatch(name) is not None
    return _IGNORED.fullmatch(name) is not None and not name.lower().endswith(_FILES)


def is_entered(path: str) -> bool:
    """Whether a walk goes into a directory at a relative path, if it goes into those above it."""
    name = path.rpartition("/")[2]
    return not (name.startswith(".") or is_ignored(name, True) or _refused_directory(path))


def whole(name: str) -> str:
    """The file of which another, called ``name``, says that its download is not finished."""
    return next((name.removesuffix(end) for end in PARTIAL if name.endswith(end)), name)


def _refused_directory(path: str) -> Entry | None:
    """Why a directory is not gone into, whatever is in it."""
    if path.lower().endswith(_FILES):
        return Entry(printable(path), 0, 0, 0, "a directory that is named like a package file")
    problem = _refused_path(path + "/")
    return Entry(printable(path), 0, 0, 0, problem) if problem else None


def _refused_path(path: str) -> str | None:
    if has_controls(path) or "\\" in path or "\ufffd" in path:
        return "the path has control characters or a backslash, or is not UTF-8"
    if len(path) * 4 > LONGEST and len(path.encode()) > LONGEST:
        return f"the path is longer than {LONGEST} bytes"
    return None


def _shut(path: str, error: OSError) -> Entry:
    return Entry(path, 0, 0, 0, f"cannot be read: {error.strerror}", shut=True)
