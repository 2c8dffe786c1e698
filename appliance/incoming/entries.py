"""Names in a packages directory: which of them can be package files, which are passed over, and
which are a problem."""

import re
from dataclasses import dataclass

from appliance.index import names
from appliance.index.model import Code, Stat
from appliance.text import has_controls, printable

LONGEST_PATH = 1024
"""Bytes of a path in a packages directory: below ``www``, whose own path is longer, each has to fit
into PATH_MAX."""
PARTIAL_ENDINGS = (
    *(".part", ".partial", ".filepart", ".aria2", ".crdownload", ".opdownload", ".download"),
)
"""Of the name of a file, after that of another which is still being downloaded."""

_FILE_ENDINGS = (*names.ENDINGS, names.SIGNATURE, names.METADATA)
_IGNORED_DIRECTORY = re.compile(
    r"lost\+found|@eadir|[@#]recycle|#snapshot|\$recycle\.bin|system volume information|__macosx",
    re.IGNORECASE,
)
_IGNORED = re.compile(
    r"thumbs\.db|desktop\.ini|index\.html?|(?:readme|licen[cs]e|changelog).*"
    r"|(?:md5|sha[0-9]+)sums?(?:\..*)?|.*(?:~|\.tmp|\.temp|\.swp|"
    + "|".join(map(re.escape, PARTIAL_ENDINGS))
    + ")",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a name cannot be a package file."""

    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A name found in a packages directory, with its size in bytes, its mtime in nanoseconds and
    its inode: those of the target if it is a link, and 0 if they do not matter.

    One with a ``problem`` cannot be a package file. The path of a directory that is unreadable ends
    with ``/``.
    """

    path: str
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    problem: Problem | None = None

    @property
    def stat(self) -> Stat:
        return Stat(self.size, self.mtime_ns, self.inode)

    @property
    def is_unreadable(self) -> bool:
        """Whether the system does not let us look: what was known at this path and below it is
        neither there nor gone."""
        return self.problem is not None and self.problem.code is Code.UNREADABLE


def invalid(path: str, reason: str) -> Entry:
    """An entry for a path that cannot be that of a package file."""
    return Entry(printable(path), problem=Problem(Code.INVALID, reason))


def unreadable(path: str, error: OSError) -> Entry:
    """An entry for a path at which the system does not let us look."""
    return Entry(path, problem=Problem(Code.UNREADABLE, f"cannot be read: {error.strerror}"))


def unfinished(path: str) -> Entry:
    """An entry for a file that is still being downloaded."""
    reason = "unfinished download: a file such as .part or .aria2 is beside it"
    return Entry(path, problem=Problem(Code.UNFINISHED, reason))


def is_ignored(name: str, is_directory: bool) -> bool:
    """Whether a name is what systems, tools and people leave beside package files everywhere."""
    if is_directory:
        return _IGNORED_DIRECTORY.fullmatch(name) is not None
    return _IGNORED.fullmatch(name) is not None and not name.lower().endswith(_FILE_ENDINGS)


def is_entered(path: str) -> bool:
    """Whether a walk goes into a directory at a relative path, if it goes into those above it."""
    name = path.rpartition("/")[2]
    return not (name.startswith(".") or is_ignored(name, True) or invalid_directory(path))


def complete_name(name: str) -> str:
    """The file of which another, called ``name``, says that its download is not finished."""
    endings = (end for end in PARTIAL_ENDINGS if name.endswith(end))
    return name.removesuffix(next(endings, ""))


def invalid_directory(path: str) -> Entry | None:
    """An entry for a directory that is not gone into, whatever is in it; ``None`` for others."""
    if path.lower().endswith(_FILE_ENDINGS):
        return invalid(path, "directory named like a package file")
    reason = invalid_path(path + "/")
    return invalid(path, reason) if reason else None


def invalid_path(path: str) -> str | None:
    """Why nothing at a path can be served; ``None`` if it can."""
    if has_controls(path) or "\\" in path or "\ufffd" in path:
        return "path with control characters, a backslash, or bytes that are not UTF-8"
    if len(path) * 4 > LONGEST_PATH and len(path.encode()) > LONGEST_PATH:
        return f"path longer than {LONGEST_PATH} bytes"
    return None
