"""The watcher: catalog, pages and files agree soon after each change, without a full scan."""

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from appliance import spec
from appliance.catalog.database import Catalog
from appliance.incoming.scan import Scanner
from appliance.operations.health import health
from appliance.operations.status import status
from appliance.operations.watch import Watcher
from tests.conftest import Lab, eventually, watched
from tests.dist import make_sdist, make_wheel

A, B = "a-1.0-py2.py3-none-any.whl", "b-1.0-py2.py3-none-any.whl"


def agrees(lab: Lab) -> bool:
    """Return whether catalog, pages and served files agree with the packages directory, in which
    files named ``bad`` are rejected."""
    there = {
        path.relative_to(lab.packages).as_posix(): path
        for path in lab.packages.rglob("*")
        if path.is_file() and path.suffix in (".whl", ".gz", ".zip")
    }
    good = {path: file for path, file in there.items() if not file.name.startswith("bad")}
    with lab.catalog.read() as reader:
        files = {file.path: file for file in reader.offered(lab.index)}
        rejections = [
            each for each in reader.rejections(lab.index) if not each.path.endswith(".asc")
        ]
    refused = {each.path for each in rejections if not each.is_duplicate}
    doubles = {each.path for each in rejections if each.is_duplicate}
    pages = {}
    for page in (lab.spec.www / "simple").glob("*/index.json"):
        for file in json.loads(page.read_bytes())["files"]:
            pages[file["url"].removeprefix("../../packages/")] = file
    return (
        files.keys() == pages.keys() == good.keys() - doubles
        and refused == there.keys() - good.keys()
        and all(
            lab.served(path) == good[path].read_bytes()
            and files[path].sha256 == pages[path]["hashes"]["sha256"]
            and files[path].sha256 == hashlib.sha256(good[path].read_bytes()).hexdigest()
            and bool(pages[path].get("gpg-sig")) == Path(f"{good[path]}.asc").exists()
            for path in files
        )
    )


def add(folder: Path) -> None:
    make_sdist(folder, "new", "1.0")


def write_over(folder: Path) -> None:
    make_wheel(folder, "a", "1.0", summary="another")


def rename_over(folder: Path) -> None:
    make_wheel(folder.parent, "a", "1.0", summary="another").replace(folder / A)


def remove(folder: Path) -> None:
    (folder / A).unlink()


def move_in(folder: Path) -> None:
    path = make_wheel(folder.parent, "c", "1.0")
    path.rename(folder / path.name)


def move_out(folder: Path) -> None:
    (folder / A).rename(folder.parent / A)


def move_within(folder: Path) -> None:
    (folder / A).rename(folder / "sub" / A)


def move_over_duplicate(folder: Path) -> None:
    (folder / B).replace(folder / "sub" / B)


def move_signed(folder: Path) -> None:
    for name in ("signed-1.0.tar.gz", "signed-1.0.tar.gz.asc"):
        (folder / name).rename(folder / "sub" / name)


def move_without_signature(folder: Path) -> None:
    (folder / "signed-1.0.tar.gz").rename(folder / "sub" / "signed-1.0.tar.gz")


def rename(folder: Path) -> None:
    (folder / A).rename(folder / "a-1.0-py3-none-any.whl")


def rename_directory(folder: Path) -> None:
    (folder / "sub").rename(folder / "other")


def directory_in(folder: Path) -> None:
    (folder.parent / "whole").mkdir()
    make_wheel(folder.parent / "whole", "c", "1.0")
    (folder.parent / "whole").rename(folder / "whole")


def directory_out(folder: Path) -> None:
    (folder / "sub").rename(folder.parent / "sub")


def directory_removed(folder: Path) -> None:
    shutil.rmtree(folder / "sub")


def directories_made(folder: Path) -> None:
    (folder / "x" / "y" / "z").mkdir(parents=True)
    make_wheel(folder / "x" / "y" / "z", "c", "1.0")


def hard_link(folder: Path) -> None:
    (folder / "x").mkdir()
    os.link(folder / A, folder / "x" / A)


def first_link_removed(folder: Path) -> None:
    hard_link(folder)
    (folder / A).unlink()


def first_of_two_removed(folder: Path) -> None:
    (folder / B).unlink()


def second_of_two_removed(folder: Path) -> None:
    (folder / "sub" / B).unlink()


def sign(folder: Path) -> None:
    (folder / f"{A}.asc").write_text("-----BEGIN PGP SIGNATURE-----")


def unsign(folder: Path) -> None:
    (folder / "signed-1.0.tar.gz.asc").unlink()


def refuse(folder: Path) -> None:
    (folder / "bad-2.0.zip").write_bytes(b"")


def remove_refused(folder: Path) -> None:
    (folder / "bad-1.0.zip").unlink()


def refused_directory_removed(folder: Path) -> None:
    (folder / "bad-1.0.zip").unlink()
    (folder / "bad-1.0.zip").mkdir()
    (folder / "bad-1.0.zip").rmdir()


def mode(folder: Path) -> None:
    (folder / A).chmod(0o600)


def download(folder: Path) -> None:
    path = make_wheel(folder.parent, "c", "1.0")
    part = folder / f"{path.name}.part"
    shutil.copy(path, part)
    part.rename(folder / path.name)


def aria2(folder: Path) -> None:
    """Download as aria2 does: a file of full size first, and a control file until the end."""
    path = make_wheel(folder.parent, "c", "1.0")
    (folder / f"{path.name}.aria2").write_bytes(b"note")
    shutil.copy(path, folder)
    (folder / f"{path.name}.aria2").unlink()


HEARD = [
    *(add, write_over, rename_over, remove, move_in, move_out, move_within, move_over_duplicate),
    *(move_signed, move_without_signature, rename, rename_directory, directory_in, directory_out),
    *(directory_removed, directories_made, hard_link, first_link_removed, first_of_two_removed),
    *(second_of_two_removed, sign, unsign, refuse, remove_refused, refused_directory_removed),
    *(mode, download, aria2),
]


@pytest.fixture
def followed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A watched directory with entries of each kind, after its last scan."""
    make_wheel(lab.packages, "a", "1.0")
    make_wheel(lab.packages, "b", "1.0")
    make_sdist(lab.packages, "signed", "1.0")
    (lab.packages / "signed-1.0.tar.gz.asc").write_text("-----BEGIN PGP SIGNATURE-----")
    (lab.packages / "bad-1.0.zip").write_bytes(b"no")
    (lab.packages / "sub").mkdir()
    make_wheel(lab.packages / "sub", "deep", "1.0")
    shutil.copy2(lab.packages / B, lab.packages / "sub" / B)  # the second of its name
    with lab.watched():
        eventually(lambda: health(lab.spec, lab.catalog).status == "ok")

        def fail(*_arguments: object) -> Iterator[bool]:
            raise AssertionError("scanned in full")

        monkeypatch.setattr(Scanner, "scan", fail)
        yield lab
        assert not any("scanned in full" in each for each in status(lab.spec)["problems"])


@pytest.mark.integration
@pytest.mark.parametrize("change", HEARD, ids=lambda each: str(each.__name__))
def test_each_change_is_published(followed: Lab, change: Callable[[Path], None]) -> None:
    """After each kind of change, directory, catalog, pages and links agree."""
    assert agrees(followed)
    change(followed.packages)
    eventually(lambda: agrees(followed))
    with followed.catalog.read() as reader:
        serial = reader.serial()
    make_wheel(followed.packages, "last", "1.0")
    eventually(lambda: followed.files("last") and agrees(followed))
    with followed.catalog.read() as reader:
        assert reader.serial() == serial + 1  # nothing came late


def test_project_stays_while_duplicate_replaces_file(
    followed: Lab,
) -> None:
    """A project stays listed while a duplicate replaces its file."""
    seen = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(tuple(followed.files("b")))

    thread = threading.Thread(target=read)
    thread.start()
    (followed.packages / B).unlink()
    eventually(lambda: followed.page("b")["files"][0]["url"].endswith(f"sub/{B}"))  # type: ignore[index]
    stop.set()
    thread.join()
    assert seen == {(B,)}
    removed, added = followed.journal()[-2:]
    assert (removed.action, added.action) == ("removed", "added")
    assert removed.time == added.time


def test_links_to_watched_directories_change_nothing(followed: Lab) -> None:
    """Symbolic links to watched directories do not change the paths of files."""
    targets = {"up": "..", "itself": ".", "beside": "../sub"}
    (made := followed.packages.parent / "links").mkdir()
    for name, target in targets.items():
        (made / name).symlink_to(target)
    made = made.rename(followed.packages / "links")
    eventually(lambda: {f"links/{name}" for name in targets} <= followed.refused().keys())
    for number in range(3):
        for folder in (followed.packages, followed.packages / "sub"):
            project = f"{folder.name}{number}"
            make_wheel(folder, project, "1.0")
            eventually(partial(followed.files, project))
    shutil.rmtree(made)
    eventually(lambda: agrees(followed))
    make_wheel(followed.packages, "last", "1.0")
    eventually(lambda: followed.files("last") and agrees(followed))


ODD = ["caf\udce9-1.0.zip", "new\nline-1.0.zip"]


@pytest.mark.parametrize("name", ODD, ids=["not UTF-8", "a line feed"])
def test_unprintable_name_is_rejected_at_once(followed: Lab, name: str) -> None:
    """A file with an invalid name is rejected at once, under a printable name, until it is
    deleted."""
    shown = "sub/" + name.encode("unicode_escape").decode("ascii")
    (followed.packages / "sub" / name).write_bytes(b"no")
    eventually(lambda: "control characters" in followed.refused().get(shown, ""))
    make_wheel(followed.packages, "last", "1.0")
    eventually(lambda: followed.files("last"))
    (followed.packages / "sub" / name).unlink()
    eventually(lambda: shown not in followed.refused())
    assert health(followed.spec, followed.catalog).status == "ok"


@contextmanager
def tmpfs(place: Path) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)


def test_disk_mounted_later_is_watched(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is mounted later is scanned and watched."""
    make_wheel(lab.packages, "a", "1.0")
    with lab.watched():
        eventually(lambda: lab.files("a"))
        with tmpfs(lab.packages / "disk"):
            make_wheel(lab.packages / "disk", "b", "1.0")
            eventually(lambda: lab.files("b"))
            make_wheel(lab.packages / "disk", "c", "1.0")
            eventually(lambda: lab.files("c"))
            eventually(lambda: health(lab.spec, lab.catalog).status == "ok")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_unmounted_disk_keeps_files(lab: Lab) -> None:
    """The files of an unmounted disk remain listed, and its path is reported, until it returns or
    its removal is confirmed."""
    make_wheel(lab.packages, "a", "1.0")
    disk, copy = lab.packages / "disk", lab.packages.with_name("copy")
    copy.mkdir()
    make_wheel(copy, "b", "1.0")
    make_wheel(copy, "c", "1.0")
    with lab.watched(), tmpfs(disk):
        shutil.copytree(copy, disk, dirs_exist_ok=True)
        eventually(lambda: lab.files("b") and lab.files("c"))
        eventually(lambda: (lab.spec.state / "places" / "main.json").exists())
        eventually(lambda: '"disk"' in (lab.spec.state / "places" / "main.json").read_text())
        subprocess.run(["umount", str(disk)], check=True)
        told = f"main: {disk}: disk not mounted, with 2 listed files;"
        eventually(lambda: any(told in each for each in status(lab.spec)["problems"]))
        assert lab.files("b")
        (lab.packages / A).unlink()  # elsewhere a deletion is one
        eventually(lambda: lab.page("a") is None)
        with tmpfs(disk):  # another, with nothing on it
            make_wheel(lab.packages, "a", "1.1")
            eventually(lambda: lab.files("a"))
            assert lab.files("b")
            shutil.copytree(copy, disk, dirs_exist_ok=True)
            (disk / "c-1.0-py2.py3-none-any.whl").unlink()
            eventually(lambda: lab.page("c") is None)
            eventually(lambda: health(lab.spec, lab.catalog).status == "ok")
            assert lab.files("b")


def test_unmounted_packages_directory_is_failing(lab: Lab) -> None:
    """The empty directory below an unmounted disk is not taken for the packages directory."""
    with lab.watched(), tmpfs(lab.packages):
        make_wheel(lab.packages, "a", "1.0")
        eventually(lambda: lab.files("a"))
        eventually(lambda: health(lab.spec, lab.catalog).status == "ok")
        subprocess.run(["umount", str(lab.packages)], check=True)
        eventually(lambda: health(lab.spec, lab.catalog).status == "failing")
        assert "mount the disk" in status(lab.spec)["problems"][0]
        assert lab.files("a") == [A]
        with tmpfs(lab.packages):
            make_wheel(lab.packages, "a", "1.0")
            eventually(lambda: health(lab.spec, lab.catalog).status == "ok")
        assert lab.files("a") == [A]


def test_missing_directory_does_not_block_others(tmp_path: Path) -> None:
    """A missing packages directory does not block other indexes."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    path = tmp_path / "pyindex.yml"
    path.write_text("state: state\nindexes: {one: {packages: one}, two: {packages: two}}\n")
    given = spec.load(path)
    with watched(Watcher(given)):
        eventually(lambda: health(given, Catalog(given.catalog)).status == "ok")
        (tmp_path / "one").rename(tmp_path / "away")
        eventually(lambda: health(given, Catalog(given.catalog)).status == "failing")
        make_wheel(tmp_path / "two", "a", "1.0")
        eventually((given.www / "two/simple/a/index.json").exists)


def test_deletion_waits_for_transaction(lab: Lab) -> None:
    """A deletion is noticed although another process is about to accept the file."""
    path = make_wheel(lab.packages, "a", "1.0")
    lab.once()
    with lab.catalog.read() as reader:
        [file] = reader.offered(lab.index)
    path.unlink()
    lab.once()
    begun = threading.Event()

    def rebuild() -> None:
        with lab.catalog.change() as change:
            begun.set()
            change.add(lab.index, [file])
            threading.Event().wait(0.5)

    thread = threading.Thread(target=rebuild)
    thread.start()
    begun.wait()
    for _ in Scanner(lab.spec, lab.catalog, lab.index).scan_paths(frozenset({A}), is_event=True):
        pass
    thread.join()
    with lab.catalog.read() as reader:
        assert reader.offered(lab.index) == []


class Pauses(threading.Event):
    """Event that a watcher waits for between two attempts; set after three."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.count += 1
        if self.count == 3:
            self.set()
        return self.is_set()


def test_watcher_pauses_before_retry(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A watcher pauses after an error, which is logged once."""
    lab.spec.www.mkdir(parents=True)
    (lab.spec.www / "mine").touch()
    watching, pauses, tries = Watcher(lab.spec), Pauses(), list[None]()
    real = watching._open

    def open_again() -> None:
        tries.append(None)
        if len(tries) == 50:
            pauses.set()
        real()

    monkeypatch.setattr(watching, "_open", open_again)
    monkeypatch.setattr(watching, "_stopping", pauses)
    watching.run()
    assert (pauses.count, len(tries)) == (3, 3)
    (told,) = caplog.messages
    assert "not created by pyindex" in told
