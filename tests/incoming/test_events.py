"""Whatever happens below a directory is told, and nothing of what links lead to."""

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
    """A directory with others in it, some of which nobody goes into, and one beside it."""
    top = tmp_path.resolve() / "packages"
    for place in ("sub/deep/deeper", "other", ".hidden", "lost+found", "x.whl", "caf\udce9"):
        (top / place).mkdir(parents=True)
    (top / "file").touch()
    (top.parent / "outside/below").mkdir(parents=True)
    return top


@contextmanager
def heard(*roots: Path) -> Iterator[Events]:
    """What happens below directories, from when all of them are followed."""
    with Events(roots) as told:
        eventually(lambda: told.take(0.1)[1])
        yield told


def hear(told: Events, path: Path) -> None:
    """Wait until a path is told, or one that it is below."""
    wanted = {str(path), *map(str, path.parents)}
    eventually(lambda: wanted & told.take(0.1)[0])


def is_told(told: Events, path: Path) -> None:
    """What happens in a directory is told as just that, once what was before is told."""

    def tells() -> bool:
        path.touch()
        return str(path) in told.take(0.1)[0]

    eventually(tells)
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
    """By somebody who keeps it open."""
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
def test_every_kind_of_change_is_told(top: Path, change: Callable[[Path], Path]) -> None:
    """By its own path."""
    with heard(top) as told:
        path = str(change(top))
        eventually(lambda: path in told.take(0.1)[0])


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
def test_directories_that_come_are_followed(top: Path, change: Callable[[Path], None]) -> None:
    """What is made in ``a/b/c`` at once is told, and what is made there later; how many are
    followed is right after each."""
    with heard(top) as told:
        change(top)
        (top / "a/b/c/file").touch()
        hear(told, top / "a/b/c/file")
        for place in ("a", "a/b", "a/b/c"):
            is_told(told, top / place / "later")
        count = sum(1 for path in (top, *top.rglob("*")) if path.is_dir())
        passed_over = 4  # as in the fixture
        eventually(lambda: told.take(0.1) and told.watched == count - passed_over)


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
def test_directories_that_go_are_forgotten(top: Path, change: Callable[[Path], None]) -> None:
    """That they went is told, and nothing of what happens in them where they are now."""
    with heard(top) as told:
        change(top)
        hear(told, top / "sub")
        eventually(lambda: told.take(0.1) and told.watched == 2)
        until(told, top / "mark")
        (top.parent / "sub/deep").mkdir(parents=True, exist_ok=True)
        (top.parent / "sub/deep/file").touch()
        assert until(told, top / "mark2") == set()


def until(told: Events, mark: Path) -> set[str]:
    """What is told beside a file that is made now, up to when that is told."""
    paths = set[str]()
    mark.touch()
    eventually(lambda: paths.update(told.take(0.1)[0]) or str(mark) in paths)  # type: ignore[func-returns-value]
    return {path for path in paths if not path.startswith(str(mark.parent / "mark"))}


def test_a_directory_is_followed_once_it_can_be_entered(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """chmod is enough."""
    shut = {str(top / "other")}
    real = INotify.add_watch

    def add_watch(self: INotify, path: str, mask: int) -> object:
        if path in shut:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(self, path, mask)

    monkeypatch.setattr(INotify, "add_watch", add_watch)
    with heard(top) as told:
        (top / "other/below").mkdir()
        assert until(told, top / "mark") == set()
        shut.clear()
        (top / "other").chmod(0o755)
        hear(told, top / "other")
        is_told(told, top / "other/below/file")


def test_a_root_is_followed_once_it_can_be_entered(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells of it, so it is tried again; then everything is to be looked at."""
    shut = [str(top)]
    real = INotify.add_watch

    def add_watch(self: INotify, path: str, mask: int) -> object:
        if path in shut:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(self, path, mask)

    monkeypatch.setattr(INotify, "add_watch", add_watch)
    with heard(top) as told:
        assert told.watched == 0
        shut.clear()
        eventually(lambda: told.take(0.1)[1])
        is_told(told, top / "sub/file")


def test_a_disk_that_goes_is_told(top: Path) -> None:
    """By the path that it was at."""
    with tmpfs(top / "other"):
        (top / "other/below").mkdir()
        with heard(top) as told:
            is_told(told, top / "other/below/file")
            assert told.watched == 6
            assert os.system(f"umount {top / 'other'}") == 0
            hear(told, top / "other")
            eventually(lambda: told.take(0.1) and told.watched == 4)


def test_a_directory_that_is_there_twice_is_told_twice(top: Path) -> None:
    """Bind mounts are no links: a file has two paths, and stays at one when the other goes."""
    if os.system(f"mount --bind {top / 'sub'} {top / 'other'} 2>/dev/null") != 0:
        pytest.skip("needs the right to mount")
    try:
        with heard(top) as told:
            (top / "sub/deep/file").touch()
            places, seen = {str(top / each / "deep/file") for each in ("sub", "other")}, set[str]()
            eventually(lambda: seen.update(told.take(0.1)[0]) or places <= seen)  # type: ignore[func-returns-value]
            (top / "sub/deep").rename(top / "sub/renamed")
            for place in ("sub", "other"):
                is_told(told, top / place / "renamed/deeper/file")
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
    """What happens is told by the paths of the directories, whatever links lead to them, and when
    the link is gone, too; nothing of what is only behind a link."""
    place, target = top / LINKS[name][0], LINKS[name][1]
    if when == "before":
        place.symlink_to(target)
    with heard(top) as told:
        if when == "later":
            place.symlink_to(target)
            hear(told, place)
        if when == "within":  # a directory that comes
            (top / "sub").rename(top.parent / "sub")
            place = top / "sub" / "link"
            (top.parent / "sub/link").symlink_to(target)
            (top.parent / "sub").rename(top / "sub")
        for mark in ("mark", "mark2"):
            for each in ("", "sub", "sub/deep", "sub/deep/deeper", "other"):
                is_told(told, top / each / "file2")
            (top.parent / "outside/below/file").touch()
            (top.parent / "outside/below/file").unlink()
            assert told.watched == 5
            assert not any(f"{place}/" in path for path in until(told, top / mark))
            place.unlink(missing_ok=True)


def test_a_link_on_the_way_is_not_followed(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that takes a directory's place just before that is listed."""
    real = open_without_links

    def swap(root: str, path: str) -> int:
        if path == "sub/deep" and not (top / "sub").is_symlink():
            (top / "sub").rename(top.parent / "sub")
            (top / "sub").symlink_to("../sub")
        return real(root, path)

    with heard(top) as told:
        shutil.move(top / "sub", top.parent / "came")
        hear(told, top / "sub")
        monkeypatch.setattr("appliance.incoming.events.open_without_links", swap)
        (top.parent / "came").rename(top / "sub")
        hear(told, top / "sub")
        eventually(lambda: told.take(0.1) and told.watched == 2)
        until(told, top / "mark")
        (top.parent / "sub/deep/deeper/file").touch()
        assert until(told, top / "mark2") == set()


# --- limits --------------------------------------------------------------------------------------


def test_more_than_is_kept_is_told_as_everything(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are not collected without end."""
    monkeypatch.setattr(events, "_MANY_PATHS", 10)
    with heard(top) as told:
        for number in range(100):
            (top / f"file{number}").touch()
        eventually(lambda: told.take(0)[1])
        is_told(told, top / "last")


def test_what_the_system_loses_is_told_as_everything(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue ran over: directories that came meanwhile are followed all the same."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip("the system keeps too many to lose one")
    real, may_read = INotify.read, threading.Event()

    def read(self: INotify, timeout: int) -> object:
        may_read.wait()
        return real(self, timeout=timeout)

    with heard(top) as told:
        monkeypatch.setattr(INotify, "read", read)
        for _ in range(most // 2 + 1):
            (top / "file").rename(top / "file2")
            (top / "file2").rename(top / "file")
        (top / "sub").rename(top / "a")
        (top / "b/c").mkdir(parents=True)
        assert told.watched == 5
        may_read.set()
        eventually(lambda: told.take(0.1)[1] and told.watched == 7)
        is_told(told, top / "a/deep/file")
        is_told(told, top / "b/c/file")


def test_a_limit_of_watches_leaves_the_others(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the system allows are followed, and their number is known; one that is given
    back goes to the next directory that comes."""
    real, watches = INotify.add_watch, set[int]()

    def add_watch(self: INotify, path: str, mask: int) -> int:
        watch = int(real(self, path, mask))
        if len(watches | {watch}) > 3:
            self.rm_watch(watch)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        watches.add(watch)
        return watch

    monkeypatch.setattr(INotify, "add_watch", add_watch)
    with heard(top) as told:
        assert told.problem is None
        assert told.watched == 3
        is_told(told, top / "file2")
        (top / "a/b").mkdir(parents=True)
        hear(told, top / "a/b")
        assert told.watched == 3
        watches.clear()
        (top / "c/d").mkdir(parents=True)
        is_told(told, top / "c/d/file")
        assert told.watched == 5


def test_what_keeps_it_from_following_is_told_until_it_is_over(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of instances, or another system."""

    def fail(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(events, "_RETRY_SECONDS", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(events, "INotify", fail)
        told = Events([top])
        told.__enter__()
        eventually(lambda: told.problem is not None)
        assert told.is_watched
        assert told.watched is None
    try:
        eventually(lambda: told.take(0.1)[1])
        assert told.problem is None
        is_told(told, top / "file2")
    finally:
        told.__exit__()


def test_nothing_is_left_open(top: Path) -> None:
    """However often it begins and ends."""

    def instances() -> list[str]:
        links = map(os.path.realpath, Path("/proc/self/fd").iterdir())
        return [link for link in links if link.endswith(":inotify")]

    for _ in range(20):
        with heard(top, top.parent / "outside"):
            pass
    eventually(lambda: not instances())


def test_two_directories_are_told_apart(top: Path) -> None:
    """Each by its own path; one that is not there is nobody's trouble."""
    with heard(top, top.parent / "outside", top.parent / "absent") as told:
        is_told(told, top / "sub/deep/file")
        is_told(told, top.parent / "outside/below/file")
        assert told.watched == 7


# --- many at once --------------------------------------------------------------------------------


def test_no_file_in_new_directories_is_missed(top: Path) -> None:
    """For each there is a path that is told when it is there already."""
    made = list[str]()

    def storm() -> None:
        for number in range(200):
            place = top / f"s{number}/a/b/c/d"
            place.mkdir(parents=True)
            (place / "file").touch()
            made.append(str(place / "file"))

    def covers() -> bool:
        paths, look_at_all = told.take(0.1)
        for file in made.copy():
            if look_at_all or paths & {file, *map(str, Path(file).parents)}:
                covered.add(file)
        return len(covered) == 200

    covered = set[str]()
    with heard(top) as told:
        thread = threading.Thread(target=storm)
        thread.start()
        eventually(covers)
        thread.join()


def test_what_is_renamed_again_and_again_is_followed_in_the_end(top: Path) -> None:
    """At the path that it has then, with what came into it meanwhile."""
    with heard(top) as told:
        place = top / "sub"
        for turn in range(200):
            place = place.rename(top / f"turn{turn}")
            (place / f"in{turn}/below").mkdir(parents=True)
        eventually(lambda: told.take(0.1) and told.watched == 5 + 400)
        for turn in range(0, 200, 20):
            is_told(told, place / f"in{turn}/below/file")
