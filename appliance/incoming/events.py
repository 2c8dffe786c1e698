"""File system events of directories and of all directories below them (inotify(7))."""

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

# With more paths than these, a full scan costs less.
_MANY_PATHS = 4000
_RETRY_SECONDS = 1.0
_TICK_SECONDS = 0.1
# Events within this time are reported together: repeated ones once, and a small file that is copied
# when it is complete, not before.
_GATHER_SECONDS = 0.02
# After a failure, the pause before watches are set again is so many times the time that it took.
_REST = 19
_MASK = int(
    flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO  # names in a directory
    | flags.MODIFY | flags.CLOSE_WRITE | flags.ATTRIB  # the files that they name
    | flags.DELETE_SELF | flags.MOVE_SELF  # the directory itself
    | flags.ONLYDIR | flags.DONT_FOLLOW | flags.EXCL_UNLINK
)  # fmt: skip
_OVERFLOW, _IGNORED, _DIRECTORY = int(flags.Q_OVERFLOW), int(flags.IGNORED), int(flags.ISDIR)
_DELETED, _ATTRIBUTES = int(flags.DELETE | flags.MOVED_FROM), int(flags.ATTRIB)
_PROCESS_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Events:
    """File system events below some directories, read by a thread: setting many watches takes long,
    and a directory that hangs must not delay the events of others.

    Attributes:
        problem: The error that keeps the system from watching; the thread retries.
        watched: The number of watched directories; ``None`` before the thread has set the watches.
            It is lower than the number of directories if the system has no more watches
            (``fs.inotify.max_user_watches``).
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = [str(root) for root in roots if root.is_dir()]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._deadline = time.monotonic() + _RETRY_SECONDS

        self._lock = threading.Lock()  # for the attributes below, which both threads use
        self._has_events = threading.Event()
        self._paths = set[str]()
        self._is_scan_needed = False
        self._is_watching = False
        self.problem: Exception | None = None
        self.watched: int | None = None

    def __enter__(self) -> "Events":
        if self._roots:
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        if self._roots:
            self._thread.join(_RETRY_SECONDS)

    @property
    def is_watched(self) -> bool:
        """Whether all directories are watched, or waiting for that has no use any more."""
        is_late = time.monotonic() > self._deadline
        return self._is_watching or is_late or not self._roots or self.problem is not None

    def take(self, seconds: float) -> tuple[set[str], bool]:
        """Return the paths of all events since the last call, and whether a full scan is needed.

        Waits up to ``seconds`` for the first event. A full scan is needed when the system has begun
        to watch, as it reports no earlier changes, and after too many events to keep.

        Scan the paths and all that is below them: of a new directory there is one event only. Names
        that are not UTF-8 are as :func:`os.fsdecode` gives them.
        """
        self._has_events.wait(seconds)
        with self._lock:
            self._has_events.clear()
            paths, self._paths = self._paths, set()
            is_scan_needed, self._is_scan_needed = self._is_scan_needed, False
        return paths, is_scan_needed

    # --- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self._watch())

    def _watch(self) -> float:
        """Watch all directories until that fails; return the pause before the next attempt."""
        began, seconds = time.monotonic(), None
        try:
            with INotify() as inotify:
                tree = _Tree(inotify, self._roots, self._stop)
                seconds = time.monotonic() - began
                self._report_watching(tree)
                self._read_events(tree)

        except _Overflow:  # directories may have been created or deleted: all watches are set again
            return max(_TICK_SECONDS, seconds or 0.0)
        except Exception as error:  # another system than Linux, or a limit of this one
            if seconds is None:
                seconds = time.monotonic() - began
            self._report_problem(error)
            return max(_RETRY_SECONDS, _REST * seconds)
        return 0.0

    def _read_events(self, tree: "_Tree") -> None:
        """Add events until the end; from time to time watch roots that could not be entered."""
        retry_at = time.monotonic() + _RETRY_SECONDS
        while not self._stop.is_set():
            if paths := tree.read_events(_TICK_SECONDS):
                self._stop.wait(_GATHER_SECONDS)
                paths |= tree.read_events(0.0)
            self._add(paths, tree)

            if time.monotonic() >= retry_at:
                retry_at = time.monotonic() + _RETRY_SECONDS
                if tree.watch_roots():
                    self._report_watching(tree)

    def _report_watching(self, tree: "_Tree") -> None:
        with self._lock:
            self.problem, self._is_watching, self.watched = None, True, tree.count
            self._is_scan_needed = True
            self._has_events.set()

    def _report_problem(self, error: Exception) -> None:
        with self._lock:
            self.problem = error.with_traceback(None)  # which would keep the tree in memory
            self._is_watching, self.watched = False, None

    def _add(self, paths: set[str], tree: "_Tree") -> None:
        with self._lock:
            self.watched = tree.count
            self._paths |= paths
            if len(self._paths) > _MANY_PATHS:
                self._paths.clear()
                self._is_scan_needed = True
            if paths:
                self._has_events.set()


class _Overflow(Exception):
    """More events than the system keeps (``fs.inotify.max_queued_events``)."""


class _Directory:
    """Watched directory, in a tree. There may be a hundred thousand of them."""

    __slots__ = ("children", "name", "parent", "watch")

    def __init__(self, parent: "_Directory | None", name: str, watch: int = 0) -> None:
        self.parent, self.name, self.watch = parent, name, watch
        self.children: dict[str, _Directory] | None = None  # most have none

    def components(self) -> list[str]:
        """Return the names on the way to the directory; the first is the path of a root."""
        names, directory = list[str](), self
        while directory.parent is not None:
            names.append(directory.name)
            directory = directory.parent
        names.reverse()
        return names


class _Tree:
    """The directories that an inotify instance watches.

    A watch is set before its directory is listed, so that a file which is created meanwhile is
    reported or listed. It belongs to the directory, not to its path: a directory that comes under a
    known name gets a watch of its own, and those below a name that was removed are dropped. Paths
    are reported after that, when no event can be missed any more.

    Symbolic links are not followed: the system has one watch for a directory, and would report all
    its events under the path of the link from then on.
    """

    def __init__(self, inotify: INotify, roots: Iterable[str], stop: threading.Event) -> None:
        self._inotify, self._stop = inotify, stop
        # A directory that is mounted a second time is twice under one watch.
        self._by_watch: dict[int, tuple[_Directory, ...]] = {}
        self._top = _Directory(None, "")
        self.count = 0
        self._roots = ["" if root == "/" else root for root in roots]
        self.watch_roots()

    def watch_roots(self) -> bool:
        """Watch the roots that could not be entered before; return whether one can be now."""
        before = self.count
        for root in self._roots:
            if root not in (self._top.children or ()):
                self._watch_below(self._top, root)
        return self.count > before

    def read_events(self, seconds: float) -> set[str]:
        """Return paths of events, waiting up to ``seconds`` for one. Raises ``_Overflow``."""
        paths = set[str]()
        for watch, mask, _, name in self._inotify.read(timeout=int(seconds * 1000)):
            if mask & _OVERFLOW:
                raise _Overflow
            for directory in self._by_watch.get(watch, ()):
                if directory.watch:  # handling the one before has not dropped it
                    self._handle(directory, mask, name, paths)
        return paths

    def _handle(self, directory: _Directory, mask: int, name: str, paths: set[str]) -> None:
        """Change the watches after an event, and add its path to ``paths``."""
        if mask & _IGNORED:  # the directory was deleted or unmounted
            self._drop(directory)
        elif not name:
            root, *components = directory.components()
            paths.add("/".join((root, *components)) or "/")
            if mask & _ATTRIBUTES and directory.parent is self._top:
                self._watch_below(self._top, root)
        elif not name.startswith("."):
            self._handle_name(directory, mask, name, paths)

    def _handle_name(self, directory: _Directory, mask: int, name: str, paths: set[str]) -> None:
        root, *components = directory.components()
        components.append(name)
        if mask & _DIRECTORY:
            known = (directory.children or {}).get(name)
            if known and mask & _DELETED:
                self._drop(known)
            # Another directory may have the name now: one rename can exchange two (renameat2(2)).
            # A change of the mode may permit entering it.
            if is_entered("/".join(components)):
                self._watch_below(directory, name)
        paths.add("/".join((root, *components)))

    def _watch_below(self, parent: _Directory, name: str) -> None:
        """Watch a directory and all below it, except those that are watched already."""
        levels = [(parent, [name])]
        while levels and not self._stop.is_set():
            parent, names = levels[-1]
            if not names:
                levels.pop()
            elif (directory := self._watch(parent, names.pop())) is not None:
                try:
                    levels.append((directory, self._unwatched_names(directory)))
                except OSError as error:
                    self._drop(directory)
                    _raise_process_limit(error)

    def _watch(self, parent: _Directory, name: str) -> _Directory | None:
        """Set the watch of one directory; return ``None`` if the system cannot."""
        known = (parent.children or {}).get(name)
        directory = _Directory(parent, name)
        try:
            path = "/".join(directory.components()) or "/"
            directory.watch = self._inotify.add_watch(path, _MASK)
        except OSError as error:
            if known:
                self._drop(known)
            _raise_process_limit(error)
            return None

        if known and known.watch == directory.watch:
            return known
        if known:
            self._drop(known)
        self._insert(parent, directory)
        return directory

    def _insert(self, parent: _Directory, directory: _Directory) -> None:
        if parent.children is None:
            parent.children = {}
        parent.children[directory.name] = directory
        same = self._by_watch.get(directory.watch, ())
        self._by_watch[directory.watch] = (*same, directory)
        self.count += 1

    def _unwatched_names(self, directory: _Directory) -> list[str]:
        """Return the names of directories in ``directory`` that are not watched yet.

        Raises ``OSError``, also if a symbolic link has replaced the directory or one above it.
        """
        root, *components = directory.components()
        descriptor = open_without_links(root or "/", "/".join(components) or ".")
        try:
            os.stat(".", dir_fd=descriptor)  # whether the entries in it can be examined
            with os.scandir(descriptor) as entries:
                names = [entry.name for entry in entries if _is_directory(entry)]
        finally:
            os.close(descriptor)

        new = [name for name in names if name not in (directory.children or ())]
        return [name for name in new if is_entered("/".join((*components, name)))]

    def _drop(self, directory: _Directory) -> None:
        """Remove the watches of a directory and of all below it."""
        if directory.parent and directory.parent.children:
            directory.parent.children.pop(directory.name, None)

        directories = [directory]
        while directories:
            dropped = directories.pop()
            directories += (dropped.children or {}).values()
            same = self._by_watch.pop(dropped.watch, ())
            if others := tuple(other for other in same if other is not dropped):
                self._by_watch[dropped.watch] = others
            else:
                with contextlib.suppress(OSError):  # the system has removed it before
                    self._inotify.rm_watch(dropped.watch)
            dropped.watch = 0
            self.count -= 1


def _is_directory(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return entry.is_dir(follow_symlinks=False)
    return False


def _raise_process_limit(error: OSError) -> None:
    """Raise an error that is about this process. A directory that cannot be entered or does not
    exist any more, or that exceeds the number of watches (``ENOSPC``), is skipped."""
    if error.errno in _PROCESS_LIMITS:
        raise error
