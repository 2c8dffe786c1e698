"""What the system tells of some directories and of all below them (inotify(7))."""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from inotify_simple import INotify, flags

from appliance.incoming.beneath import open_without_links
from appliance.incoming.entries import is_entered

# After so many paths at once it is better to look at everything.
_MANY_PATHS = 4000
_RETRY_SECONDS = 1.0
_TICK_SECONDS = 0.1
# What happens within so long is told together: the same again and again is told once, and a small
# file that is copied is looked at when all of it is there, not before.
_GATHER_SECONDS = 0.02
# To follow the directories anew, where the system cannot, takes one part in twenty of the time.
_REST = 19
_MASK = int(
    flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO  # names in a directory
    | flags.MODIFY | flags.CLOSE_WRITE | flags.ATTRIB  # what they stand for
    | flags.DELETE_SELF | flags.MOVE_SELF  # the directory itself
    | flags.ONLYDIR | flags.DONT_FOLLOW | flags.EXCL_UNLINK
)  # fmt: skip
_OVERFLOW, _IGNORED, _DIRECTORY = int(flags.Q_OVERFLOW), int(flags.IGNORED), int(flags.ISDIR)
_GONE, _ATTRIBUTES = int(flags.DELETE | flags.MOVED_FROM), int(flags.ATTRIB)
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Events:
    """What happens below some directories, heard by a thread of its own: to begin to follow many
    takes long, and one that hangs must not hold up the others' news.

    Attributes:
        trouble: What keeps the system from following; it is tried again.
        followed: How many directories are followed; ``None`` if that has not begun. It may be fewer
            than there are, if the system has no more watches (``fs.inotify.max_user_watches``).
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = [str(root) for root in roots if root.is_dir()]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._patience = time.monotonic() + _RETRY_SECONDS
        self._lock = threading.Lock()  # of what the two threads share, which is all that follows
        self._news = threading.Event()
        self._paths = set[str]()
        self._look_at_all = False
        self._is_following = False
        self.trouble: Exception | None = None
        self.followed: int | None = None

    def __enter__(self) -> "Events":
        if self._roots:
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        if self._roots:
            self._thread.join(_RETRY_SECONDS)

    @property
    def is_heard(self) -> bool:
        """Whether there is no use in waiting any longer until the system follows all."""
        is_late = time.monotonic() > self._patience
        return self._is_following or is_late or not self._roots or self.trouble is not None

    def take(self, seconds: float) -> tuple[set[str], bool]:
        """The paths where something happened since the last time, waiting so long for the first;
        and whether everything is to be looked at: the system has begun to follow, so that what was
        before is not among them, or more happened than is kept.

        What is at and below a path has to be looked at: of directories that are new nothing else
        is told. Names that are not UTF-8 are as :func:`os.fsdecode` gives them.
        """
        self._news.wait(seconds)
        with self._lock:
            self._news.clear()
            paths, self._paths = self._paths, set()
            look_at_all, self._look_at_all = self._look_at_all, False
        return paths, look_at_all

    # --- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self._follow())

    def _follow(self) -> float:
        """Follow all until that cannot go on; returns how long to wait before it is tried again."""
        began, took = time.monotonic(), None
        try:
            with INotify() as inotify:
                tree = _Tree(inotify, self._roots, self._stop)
                took = time.monotonic() - began
                self._begin(tree)
                again_at = time.monotonic() + _RETRY_SECONDS
                while not self._stop.is_set():
                    if heard := tree.hear(_TICK_SECONDS):
                        self._stop.wait(_GATHER_SECONDS)
                        heard |= tree.hear(0.0)
                    self._put(heard, tree)
                    if time.monotonic() >= again_at:
                        again_at = time.monotonic() + _RETRY_SECONDS
                        if tree.follow_roots():
                            self._begin(tree)
        except _Overflow:  # directories may have come and gone: all is followed anew
            return max(_TICK_SECONDS, took or 0.0)
        except Exception as error:  # another system than Linux, or a limit of this one
            took = time.monotonic() - began if took is None else took
            with self._lock:
                self.trouble = error.with_traceback(None)  # which would hold all that was followed
                self._is_following, self.followed = False, None
            return max(_RETRY_SECONDS, _REST * took)
        return 0.0

    def _begin(self, tree: "_Tree") -> None:
        with self._lock:
            self.trouble, self._is_following, self.followed = None, True, tree.count
            self._look_at_all = True
            self._news.set()

    def _put(self, paths: set[str], tree: "_Tree") -> None:
        with self._lock:
            self.followed = tree.count
            self._paths |= paths
            if len(self._paths) > _MANY_PATHS:
                self._paths.clear()
                self._look_at_all = True
            if paths:
                self._news.set()


class _Overflow(Exception):
    """More happened than the system keeps (``fs.inotify.max_queued_events``)."""


class _Directory:
    """One that is followed. There may be a hundred thousand."""

    __slots__ = ("above", "below", "name", "watch")

    def __init__(self, above: "_Directory | None", name: str, watch: int = 0) -> None:
        self.above, self.name, self.watch = above, name, watch
        self.below: dict[str, _Directory] | None = None  # most have none

    def parts(self) -> list[str]:
        """The names on the way to it; the first is the path of a whole tree."""
        names, each = list[str](), self
        while each.above is not None:
            names.append(each.name)
            each = each.above
        names.reverse()
        return names


class _Tree:
    """The directories that an inotify instance follows.

    A watch is set before the directory is listed, so that what comes in meanwhile is told or found.
    It belongs to the directory, not to its path: whatever comes under a name is followed anew, and
    what was below a name that went is forgotten. Paths come after that, when nothing is missed any
    more. No symbolic link is followed: the system has one watch for a directory, whose events would
    come under the path of the link from then on.
    """

    def __init__(self, inotify: INotify, roots: Iterable[str], stop: threading.Event) -> None:
        self._inotify, self._stop = inotify, stop
        # By watch; where a directory is mounted a second time it is there twice.
        self._at: dict[int, tuple[_Directory, ...]] = {}
        self._top = _Directory(None, "")
        self.count = 0
        self._roots = ["" if root == "/" else root for root in roots]
        self.follow_roots()

    def follow_roots(self) -> bool:
        """Follow the roots that could not be entered until now; returns whether any can."""
        before = self.count
        for root in self._roots:
            if root not in (self._top.below or ()):
                self._follow(self._top, root)
        return self.count > before

    def hear(self, seconds: float) -> set[str]:
        """Paths where something happened, waiting so long for the first. Raises ``_Overflow``."""
        heard = set[str]()
        for watch, mask, _, name in self._inotify.read(timeout=int(seconds * 1000)):
            if mask & _OVERFLOW:
                raise _Overflow
            for directory in self._at.get(watch, ()):
                if directory.watch:  # it was not forgotten for the one before
                    self._notice(directory, mask, name, heard)
        return heard

    def _notice(self, directory: _Directory, mask: int, name: str, heard: set[str]) -> None:
        root, *parts = directory.parts()
        if mask & _IGNORED:  # it was deleted, or unmounted
            self._forget(directory)
        elif not name:
            heard.add("/".join((root, *parts)) or "/")
            if mask & _ATTRIBUTES and directory.above is self._top:
                self._follow(self._top, root)
        elif not name.startswith("."):
            parts.append(name)
            if mask & _DIRECTORY:
                known = (directory.below or {}).get(name)
                if known and mask & _GONE:
                    self._forget(known)
                # Another may have taken its place: one rename can exchange two (renameat2(2)).
                # A mode that was changed may let us in.
                if is_entered("/".join(parts)):
                    self._follow(directory, name)
            heard.add("/".join((root, *parts)))

    def _follow(self, above: _Directory, name: str) -> None:
        """Follow a directory and all below it, as far as that is not done yet."""
        levels = [(above, [name])]
        while levels and not self._stop.is_set():
            above, names = levels[-1]
            if not names:
                levels.pop()
            elif (directory := self._watch(above, names.pop())) is not None:
                try:
                    levels.append((directory, self._unknown(directory)))
                except OSError as error:
                    self._forget(directory)
                    _pass_over(error)

    def _watch(self, above: _Directory, name: str) -> _Directory | None:
        """Let the system follow one directory; ``None`` if it cannot."""
        known = (above.below or {}).get(name)
        directory = _Directory(above, name)
        try:
            directory.watch = self._inotify.add_watch("/".join(directory.parts()) or "/", _MASK)
        except OSError as error:
            if known:
                self._forget(known)
            _pass_over(error)
            return None
        if known and known.watch == directory.watch:
            return known
        if known:
            self._forget(known)
        if above.below is None:
            above.below = {}
        above.below[name] = directory
        self._at[directory.watch] = (*self._at.get(directory.watch, ()), directory)
        self.count += 1
        return directory

    def _unknown(self, directory: _Directory) -> list[str]:
        """The names of directories in one, of those that are not followed yet. Raises ``OSError``,
        if a link has taken its place or that of one above it, too."""
        root, *parts = directory.parts()
        descriptor = open_without_links(root or "/", "/".join(parts) or ".")
        try:
            os.stat(".", dir_fd=descriptor)  # whether what is in it can be looked at
            with os.scandir(descriptor) as found:
                return [
                    entry.name
                    for entry in found
                    if _is_directory(entry)
                    and entry.name not in (directory.below or ())
                    and is_entered("/".join((*parts, entry.name)))
                ]
        finally:
            os.close(descriptor)

    def _forget(self, directory: _Directory) -> None:
        """Follow a directory no more, nor any below it."""
        if directory.above and directory.above.below:
            directory.above.below.pop(directory.name, None)
        directories = [directory]
        while directories:
            each = directories.pop()
            directories += (each.below or {}).values()
            others = tuple(other for other in self._at.pop(each.watch, ()) if other is not each)
            if others:
                self._at[each.watch] = others
            else:
                with contextlib.suppress(OSError):  # the system let go of it first
                    self._inotify.rm_watch(each.watch)
            each.watch = 0
            self.count -= 1


def _is_directory(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return entry.is_dir(follow_symlinks=False)
    return False


def _pass_over(error: OSError) -> None:
    """What cannot be entered, or is there no more, is left out, and what is beyond the number of
    watches (``ENOSPC``); what is wrong with this process is raised."""
    if error.errno in _OURS:
        raise error
