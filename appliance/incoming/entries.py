"""Names in a packages directory: package files, ignored names, and names with a problem."""

import re
from dataclasses import dataclass

from appliance.index import names
from appliance.index.model import Code, Stat
from appliance.text import has_controls, printable

LONGEST_PATH = 1024
"""Limit in bytes of a path in a packages directory: in the published tree, whose path is longer, it
must fit into PATH_MAX."""
PARTIAL_ENDINGS = (
    *(".part", ".partial", ".filepart", ".aria2", ".crdownload", ".opdownload", ".download"),
)
"""Endings that tools add to the name of a file while they download it."""

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
    """Reason why a name cannot be a package file."""

    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Name in a packages directory, with size in bytes, mtime in nanoseconds and inode: those of
    the target for a symbolic link, and 0 if they do not matter.

    An entry with a ``problem`` cannot be a package file. The path of an unreadable directory ends
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
        """Whether the path cannot be read: known files at and below it may or may not exist."""
        return self.problem is not None and self.problem.code is Code.UNREADABLE


def invalid(path: str, reason: str) -> Entry:
    """Return an entry for a path that cannot be that of a package file."""
    return Entry(printable(path), problem=Problem(Code.INVALID, reason))


def unreadable(path: str, error: OSError) -> Entry:
    """Return an entry for a path that cannot be read."""
    return Entry(path, problem=Problem(Code.UNREADABLE, f"cannot be read: {error.strerror}"))


def unfinished(path: str) -> Entry:
    """Return an entry for a file that is still being downloaded."""
    reason = "unfinished download: a file such as .part or .aria2 is beside it"
    return Entry(path, problem=Problem(Code.UNFINISHED, reason))


def is_hidden(name: str) -> bool:
    """Return whether a name is never examined nor reported: a hidden one, or one beside a package
    file that is noted with it."""
    return name.startswith(".") or (
        name.endswith(names.PROVENANCE)
        and name.removesuffix(names.PROVENANCE).endswith(names.ENDINGS)
    )


def is_ignored(name: str, is_directory: bool) -> bool:
    """Return whether a name is one that systems and tools write beside package files."""
    if is_directory:
        return _IGNORED_DIRECTORY.fullmatch(name) is not None
    return _IGNORED.fullmatch(name) is not None and not name.lower().endswith(_FILE_ENDINGS)


def is_entered(path: str) -> bool:
    """Return whether a walk enters the directory at a path, given that it enters those above it."""
    name = path.rpartition("/")[2]
    return not (is_hidden(name) or is_ignored(name, True) or invalid_directory(path))


def complete_name(name: str) -> str:
    """Return the name that a file called ``name`` gets at the end of its download."""
    endings = (end for end in PARTIAL_ENDINGS if name.endswith(end))
    return name.removesuffix(next(endings, ""))


def invalid_directory(path: str) -> Entry | None:
    """Return an entry for a directory that must not be entered; ``None`` for other directories."""
    if path.lower().endswith(_FILE_ENDINGS):
        return invalid(path, "directory named like a package file")
    reason = invalid_path(path + "/")
    return invalid(path, reason) if reason else None


def invalid_path(path: str) -> str | None:
    """Return the reason why no file at a path can be served; ``None`` if it can."""
    if has_controls(path) or "\\" in path or "\ufffd" in path:
        return "path with control characters, a backslash, or bytes that are not UTF-8"
    if len(path) * 4 > LONGEST_PATH and len(path.encode()) > LONGEST_PATH:
        return f"path longer than {LONGEST_PATH} bytes"
    return None
