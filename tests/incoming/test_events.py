"""Events: each change below a directory is reported, none behind symbolic links."""

import ctypes
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from inotify_simple import INotify

from appliance.incoming import events
from appliance.incoming.beneath import open_without_links
from appliance.incoming.events import Events
from tests.conftest import eventually
from tests.operations.test_watch import tmpfs

EXCHANGE = 2  # renameat2(2)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A directory with others in it, some of which are not entered, and one beside it."""
    top = tmp_path.resolve() / "packages"
    for place in ("sub/deep/deeper", "other", ".hidden", "lost+found", "x.whl", "caf\udce9"):
        (top / place).mkdir(parents=True)
    (top / "file").touch()
    (top.parent / "outside/below").mkdir(parents=True)
    return top


@contextmanager
def watching(*roots: Path) -> Iterator[Events]:
    """Events below directories, from when all of them are watched."""
    with Events(roots) as reported:
        eventually(lambda: reported.take(0.1)[1])
        yield reported


def wait_for(reported: Events, path: Path) -> None:
    """Wait until a path or one above it is reported."""
    expected = {str(path), *map(str, path.parents)}
    eventually(lambda: expected & reported.take(0.1)[0])


def check_reported(reported: Events, path: Path) -> None:
    """Wait until an event of a file is reported with the path of the file."""

    def is_reported() -> bool:
        path.touch()
        return str(path) in reported.take(0.1)[0]

    eventually(is_reported)
    path.unlink()


# --- each kind of change -------------------------------------------------------------------------


def make(top: Path) -> Path:
    (top / "new").touch()
    return top / "new"


def write(top: Path) -> Path:
    with (top / "file").open("w") as file:
        file.write("more")
    return top / "file"


def write_on(top: Path) -> Path:
    """Write to a file without closing it."""
    descriptor = os.open(top / "file", os.O_WRONLY)
    os.write(descriptor, b"more")
    return top / "file"


def remove(top: Path) -> Path:
    (top / "file").unlink()
    return top / "file"


def change_mode(top: Path) -> Path:
    (top / "file").chmod(0o600)
    return top / "file"


def move_in(top: Path) -> Path:
    (top.parent / "came").touch()
    (top.parent / "came").rename(top / "came")
    return top / "came"


def move_out(top: Path) -> Path:
    (top / "file").rename(top.parent / "went")
    return top / "file"


def rename_over(top: Path) -> Path:
    (top.parent / "came").touch()
    (top.parent / "came").rename(top / "file")
    return top / "file"


def hard_link(top: Path) -> Path:
    os.link(top / "file", top / "linked")
    return top / "linked"


def in_deep(top: Path) -> Path:
    (top / "sub/deep/deeper/new").touch()
    return top / "sub/deep/deeper/new"


def not_utf8(top: Path) -> Path:
    (top / "sub/caf\udce9.whl").touch()
    return top / "sub/caf\udce9.whl"


def link(top: Path) -> Path:
    (top / "link").symlink_to("file")
    return top / "link"


def own_mode(top: Path) -> Path:
    top.chmod(0o700)
    return top


def refused_directory(top: Path) -> Path:
    (top / "y.whl").mkdir()
    return top / "y.whl"


CHANGES = [
    *(make, write, write_on, remove, change_mode, move_in, move_out, rename_over, hard_link),
    *(in_deep, not_utf8, link, own_mode, refused_directory),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: str(each.__name__))
def test_each_change_is_reported(top: Path, change: Callable[[Path], Path]) -> None:
    """Each kind of change is reported with its own path."""
    with watching(top) as reported:
        path = str(change(top))
        eventually(lambda: path in reported.take(0.1)[0])


# --- directories that come and go ----------------------------------------------------------------


def directories_made(top: Path) -> None:
    (top / "a/b/c").mkdir(parents=True)


def directory_moved_in(top: Path) -> None:
    (top.parent / "outside").rename(top / "a")
    (top / "a/b/c").mkdir(parents=True)


def directory_renamed(top: Path) -> None:
    (top / "sub/deep").rename(top / "sub/b")
    (top / "sub/deeper").mkdir()
    (top / "sub/deeper").rename(top / "sub/b/c")
    (top / "sub").rename(top / "a")


def directory_made_again(top: Path) -> None:
    (top / "a/b").mkdir(parents=True)
    shutil.rmtree(top / "a")
    (top / "a/b/c").mkdir(parents=True)


def directory_over_another(top: Path) -> None:
    (top / "a").mkdir()
    (top / "other/b/c").mkdir(parents=True)
    (top / "other").rename(top / "a")


def directories_exchanged(top: Path) -> None:
    (top / "a").mkdir()
    (top / "other/b/c").mkdir(parents=True)
    paths = (os.fsencode(top / name) for name in ("a", "other"))
    here = -100
    if ctypes.CDLL(None).renameat2(here, next(paths), here, next(paths), EXCHANGE) != 0:
        pytest.skip("the file system cannot exchange")


def directory_out_and_back(top: Path) -> None:
    (top / "sub").rename(top.parent / "away")
    (top.parent / "away/b/c").mkdir(parents=True)
    (top.parent / "away").rename(top / "a")


def link_that_becomes_a_directory(top: Path) -> None:
    (top / "a").symlink_to("sub")
    (top / "a").unlink()
    (top / "a/b/c").mkdir(parents=True)


APPEAR = [
    *(directories_made, directory_moved_in, directory_renamed, directory_made_again),
    *(directory_over_another, directories_exchanged, directory_out_and_back),
    link_that_becomes_a_directory,
]


@pytest.mark.parametrize("change", APPEAR, ids=lambda each: str(each.__name__))
def test_new_directories_are_watched(top: Path, change: Callable[[Path], None]) -> None:
    """New directories are watched, also ``a/b/c`` created at once, and their number is right."""
    with watching(top) as reported:
        change(top)
        (top / "a/b/c/file").touch()
        wait_for(reported, top / "a/b/c/file")
        for place in ("a", "a/b", "a/b/c"):
            check_reported(reported, top / place / "later")
        count = sum(1 for path in (top, *top.rglob("*")) if path.is_dir())
        passed_over = 4  # as in the fixture
        eventually(lambda: reported.take(0.1) and reported.watched == count - passed_over)


def directory_removed(top: Path) -> None:
    shutil.rmtree(top / "sub")


def directory_moved_out(top: Path) -> None:
    (top / "sub").rename(top.parent / "sub")


def directory_becomes_a_link(top: Path) -> None:
    (top / "sub").rename(top.parent / "sub")
    (top / "sub").symlink_to(top.parent / "sub")


@pytest.mark.parametrize(
    "change", [directory_removed, directory_moved_out, directory_becomes_a_link]
)
def test_removed_directories_are_dropped(top: Path, change: Callable[[Path], None]) -> None:
    """A removed directory is reported, and nothing in it after that."""
    with watching(top) as reported:
        change(top)
        wait_for(reported, top / "sub")
        eventually(lambda: reported.take(0.1) and reported.watched == 2)
        until(reported, top / "mark")
        (top.parent / "sub/deep").mkdir(parents=True, exist_ok=True)
        (top.parent / "sub/deep/file").touch()
        assert until(reported, top / "mark2") == set()


def until(reported: Events, mark: Path) -> set[str]:
    """Return the other paths that are reported before a file that is created now."""
    paths = set[str]()
    mark.touch()
    eventually(lambda: paths.update(reported.take(0.1)[0]) or str(mark) in paths)  # type: ignore[func-returns-value]
    return {path for path in paths if not path.startswith(str(mark.parent / "mark"))}


def test_directory_is_watched_after_chmod(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is watched as soon as its mode permits it."""
    shut = {str(top / "other")}
    real = INotify.add_watch

    def add_watch(self: INotify, path: str, mask: int) -> object:
        if path in shut:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(self, path, mask)

    monkeypatch.setattr(INotify, "add_watch", add_watch)
    with watching(top) as reported:
        (top / "other/below").mkdir()
        assert until(reported, top / "mark") == set()
        shut.clear()
        (top / "other").chmod(0o755)
        wait_for(reported, top / "other")
        check_reported(reported, top / "other/below/file")


def test_root_is_watched_after_retry(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root without permission is retried; then a full scan is requested."""
    shut = [str(top)]
    real = INotify.add_watch

    def add_watch(self: INotify, path: str, mask: int) -> object:
        if path in shut:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(self, path, mask)

    monkeypatch.setattr(INotify, "add_watch", add_watch)
    with watching(top) as reported:
        assert reported.watched == 0
        shut.clear()
        eventually(lambda: reported.take(0.1)[1])
        check_reported(reported, top / "sub/file")


def test_unmount_is_reported(top: Path) -> None:
    """An unmounted disk is reported by the path of its mount point."""
    with tmpfs(top / "other"):
        (top / "other/below").mkdir()
        with watching(top) as reported:
            check_reported(reported, top / "other/below/file")
            assert reported.watched == 6
            assert os.system(f"umount {top / 'other'}") == 0
            wait_for(reported, top / "other")
            eventually(lambda: reported.take(0.1) and reported.watched == 4)


def test_bind_mount_is_reported_twice(top: Path) -> None:
    """A directory with two mount points is reported with both paths."""
    if os.system(f"mount --bind {top / 'sub'} {top / 'other'} 2>/dev/null") != 0:
        pytest.skip("needs the right to mount")
    try:
        with watching(top) as reported:
            (top / "sub/deep/file").touch()
            paths, seen = {str(top / each / "deep/file") for each in ("sub", "other")}, set[str]()
            eventually(lambda: seen.update(reported.take(0.1)[0]) or paths <= seen)  # type: ignore[func-returns-value]
            (top / "sub/deep").rename(top / "sub/renamed")
            for place in ("sub", "other"):
                check_reported(reported, top / place / "renamed/deeper/file")
    finally:
        assert os.system(f"umount --lazy {top / 'other'}") == 0


# --- links ---------------------------------------------------------------------------------------

LINKS = {
    "up": ("sub/link", ".."),
    "the directory itself": ("link", "."),
    "one within": ("link", "sub/deep"),
    "one deeper": ("sub/deep/deeper/link", "../../../other"),
    "one outside": ("link", "../outside"),
    "the whole system": ("link", "/"),
}


@pytest.mark.parametrize("when", ["before", "later", "within"])
@pytest.mark.parametrize("name", LINKS)
def test_links_are_not_followed(top: Path, name: str, when: str) -> None:
    """Changes are reported with the paths of directories, never with those of symbolic links to
    them."""
    place, target = top / LINKS[name][0], LINKS[name][1]
    if when == "before":
        place.symlink_to(target)
    with watching(top) as reported:
        if when == "later":
            place.symlink_to(target)
            wait_for(reported, place)
        if when == "within":  # a directory that comes
            (top / "sub").rename(top.parent / "sub")
            place = top / "sub" / "link"
            (top.parent / "sub/link").symlink_to(target)
            (top.parent / "sub").rename(top / "sub")
        for mark in ("mark", "mark2"):
            for each in ("", "sub", "sub/deep", "sub/deep/deeper", "other"):
                check_reported(reported, top / each / "file2")
            (top.parent / "outside/below/file").touch()
            (top.parent / "outside/below/file").unlink()
            assert reported.watched == 5
            assert not any(f"{place}/" in path for path in until(reported, top / mark))
            place.unlink(missing_ok=True)


def test_link_in_path_is_not_followed(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbolic link that replaces a directory just before it is listed is not followed."""
    real = open_without_links

    def swap(root: str, path: str) -> int:
        if path == "sub/deep" and not (top / "sub").is_symlink():
            (top / "sub").rename(top.parent / "sub")
            (top / "sub").symlink_to("../sub")
        return real(root, path)

    with watching(top) as reported:
        shutil.move(top / "sub", top.parent / "came")
        wait_for(reported, top / "sub")
        monkeypatch.setattr("appliance.incoming.events.open_without_links", swap)
        (top.parent / "came").rename(top / "sub")
        wait_for(reported, top / "sub")
        eventually(lambda: reported.take(0.1) and reported.watched == 2)
        until(reported, top / "mark")
        (top.parent / "sub/deep/deeper/file").touch()
        assert until(reported, top / "mark2") == set()


# --- limits --------------------------------------------------------------------------------------


def test_many_events_request_scan(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After too many events to keep, a full scan is requested."""
    monkeypatch.setattr(events, "_MANY_PATHS", 10)
    with watching(top) as reported:
        for number in range(100):
            (top / f"file{number}").touch()
        eventually(lambda: reported.take(0)[1])
        check_reported(reported, top / "last")


def test_overflow_requests_scan(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an overflow of the queue a full scan is requested, and new directories are watched."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip("the system keeps too many to lose one")
    real, may_read = INotify.read, threading.Event()

    def read(self: INotify, timeout: int) -> object:
        may_read.wait()
        return real(self, timeout=timeout)

    with watching(top) as reported:
        monkeypatch.setattr(INotify, "read", read)
        for _ in range(most // 2 + 1):
            (top / "file").rename(top / "file2")
            (top / "file2").rename(top / "file")
        (top / "sub").rename(top / "a")
        (top / "b/c").mkdir(parents=True)
        assert reported.watched == 5
        may_read.set()
        eventually(lambda: reported.take(0.1)[1] and reported.watched == 7)
        check_reported(reported, top / "a/deep/file")
        check_reported(reported, top / "b/c/file")


def test_limit_of_watches_keeps_other_watches(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of watches the others stay; a released watch is used for the next directory."""
    real, watches = INotify.add_watch, set[int]()

    def add_watch(self: INotify, path: str, mask: int) -> int:
        watch = int(real(self, path, mask))
        if len(watches | {watch}) > 3:
            self.rm_watch(watch)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        watches.add(watch)
        return watch

    monkeypatch.setattr(INotify, "add_watch", add_watch)
    with watching(top) as reported:
        assert reported.problem is None
        assert reported.watched == 3
        check_reported(reported, top / "file2")
        (top / "a/b").mkdir(parents=True)
        wait_for(reported, top / "a/b")
        assert reported.watched == 3
        watches.clear()
        (top / "c/d").mkdir(parents=True)
        check_reported(reported, top / "c/d/file")
        assert reported.watched == 5


def test_problem_is_reported_until_it_ends(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem of inotify is reported until it ends."""

    def fail(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(events, "_RETRY_SECONDS", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(events, "INotify", fail)
        reported = Events([top])
        reported.__enter__()
        eventually(lambda: reported.problem is not None)
        assert reported.is_watched
        assert reported.watched is None
    try:
        eventually(lambda: reported.take(0.1)[1])
        assert reported.problem is None
        check_reported(reported, top / "file2")
    finally:
        reported.__exit__()


def test_no_descriptor_is_leaked(top: Path) -> None:
    """No file descriptor is leaked by starting and stopping."""

    def instances() -> list[str]:
        links = map(os.path.realpath, Path("/proc/self/fd").iterdir())
        return [link for link in links if link.endswith(":inotify")]

    for _ in range(20):
        with watching(top, top.parent / "outside"):
            pass
    eventually(lambda: not instances())


def test_two_roots_are_reported_separately(top: Path) -> None:
    """Changes in two roots have their own paths; a missing root is no problem."""
    with watching(top, top.parent / "outside", top.parent / "absent") as reported:
        check_reported(reported, top / "sub/deep/file")
        check_reported(reported, top.parent / "outside/below/file")
        assert reported.watched == 7


# --- many at once --------------------------------------------------------------------------------


def test_no_file_in_new_directory_is_missed(top: Path) -> None:
    """Each file in new directories is below a path that is reported after its creation."""
    made = list[str]()

    def storm() -> None:
        for number in range(200):
            place = top / f"s{number}/a/b/c/d"
            place.mkdir(parents=True)
            (place / "file").touch()
            made.append(str(place / "file"))

    def covers() -> bool:
        paths, is_scan_needed = reported.take(0.1)
        for file in made.copy():
            if is_scan_needed or paths & {file, *map(str, Path(file).parents)}:
                covered.add(file)
        return len(covered) == 200

    covered = set[str]()
    with watching(top) as reported:
        thread = threading.Thread(target=storm)
        thread.start()
        eventually(covers)
        thread.join()


def test_renamed_directory_is_watched(top: Path) -> None:
    """A directory that is renamed many times is watched at its last path."""
    with watching(top) as reported:
        place = top / "sub"
        for turn in range(200):
            place = place.rename(top / f"turn{turn}")
            (place / f"in{turn}/below").mkdir(parents=True)
        eventually(lambda: reported.take(0.1) and reported.watched == 5 + 400)
        for turn in range(0, 200, 20):
            check_reported(reported, place / f"in{turn}/below/file")
