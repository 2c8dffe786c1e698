"""A kill at any moment, a full disk, two writers: nothing is lost, and nothing half is seen."""

import contextlib
import gzip
import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.status import status
from appliance.index.watch import Watch
from tests.conftest import Lab, eventually
from tests.dist import make_sdist, make_wheel


def look(lab: Lab) -> None:
    """What a client could fetch now is whole: each page in each form, each metadata file."""
    simple = lab.spec.www / "simple"
    for page in simple.glob("*/index.json"):
        with contextlib.suppress(FileNotFoundError):  # taken down while we look
            body = json.loads(page.read_bytes())
            json.loads(gzip.decompress(page.with_name("index.json.gz").read_bytes()))
            assert page.with_name("index.html").read_text().rstrip().endswith("</html>")
            for file in body["files"]:
                link = lab.spec.www / "packages" / file["filename"]
                metadata = link.with_name(f"{link.name}.metadata").read_bytes()
                # Who overwrites a file in place breaks it for whoever has the old page.
                if (
                    digest(link.read_bytes()) == file["hashes"]["sha256"]
                    and "core-metadata" in file
                ):
                    assert digest(metadata) == file["core-metadata"]["sha256"]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def agree(lab: Lab) -> None:
    """Folder, catalog and pages hold the same files with the same digests."""
    folder = {path.name: digest(path.read_bytes()) for path in lab.packages.iterdir()}
    with lab.catalog.read() as reader:
        catalog = {file.filename: file.sha256 for file in reader.offered(lab.index, limit=10_000)}
        assert reader.mark("pages") == reader.mark("lists") == reader.serial()
    pages = {}
    for page in (lab.spec.www / "simple").glob("*/index.json"):
        for file in json.loads(page.read_bytes())["files"]:
            pages[file["filename"]] = file["hashes"]["sha256"]
            link = lab.spec.www / "packages" / file["filename"]
            assert digest(link.read_bytes()) == file["hashes"]["sha256"]
            if "core-metadata" in file:
                metadata = link.with_name(f"{link.name}.metadata").read_bytes()
                assert digest(metadata) == file["core-metadata"]["sha256"]
    assert folder == catalog == pages
    served = {path.name for path in (lab.spec.www / "packages").glob("[!.]*")}
    assert {name for name in served if not name.endswith(".metadata")} == set(folder)
    assert sorted(lab.projects()) == sorted({name.partition("-")[0] for name in folder})
    serials = [change.serial for change in lab.journal()]
    assert serials == list(range(serials[0], serials[0] + len(serials)))


def change_folder(lab: Lab, dice: random.Random, count: int) -> None:
    """Add, replace and remove ``count`` files."""
    for _ in range(count):
        name, version = f"p{dice.randrange(12)}", f"1.{dice.randrange(9)}"
        make = dice.choice([make_wheel, make_sdist])
        there = list(lab.packages.iterdir())
        if there and dice.random() < 0.3:
            dice.choice(there).unlink()
        else:
            path = make(lab.packages, name, version, summary=str(dice.random()))
            # Long ago, or it would be looked at twice; and never twice the same time.
            os.utime(path, (1, dice.randrange(10**9)))


@contextlib.contextmanager
def watched_by_a_reader(lab: Lab) -> Iterator[None]:
    """Read all pages again and again meanwhile; fail at the end if one was not whole."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not stop.is_set() and not failures:
            try:
                look(lab)
            except BaseException as error:
                failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failures == []


@pytest.mark.integration
def test_a_kill_at_any_moment_loses_nothing(lab: Lab) -> None:
    """A hundred times killed in the middle of intake or publication, then started once more:
    catalog, pages and folder agree, and no reader ever saw part of a page."""
    dice = random.Random(2026)
    whole = {}
    for changes in (80, 8):
        change_folder(lab, dice, changes)
        start = time.monotonic()
        lab.once()
        whole[changes] = time.monotonic() - start
    in_the_middle = 0
    with watched_by_a_reader(lab):
        for number in range(100):
            changes = 80 if number % 10 == 0 else 8
            change_folder(lab, dice, changes)
            before = len(lab.journal())
            process = multiprocessing.get_context("fork").Process(target=lab.once)
            process.start()
            time.sleep(dice.random() * whole[changes] * 1.2)
            process.kill()
            process.join()
            in_the_middle += process.exitcode == -signal.SIGKILL and len(lab.journal()) > before
    lab.once()
    agree(lab)
    assert in_the_middle > 0


def test_two_processes_may_take_in_one_folder(lab: Lab) -> None:
    """Each file comes in once, whoever is first."""
    change_folder(lab, random.Random(1), 60)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=lab.once) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    lab.once()
    agree(lab)
    assert {change.action for change in lab.journal()} == {"added"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_told_and_got_over(
    small_disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With no space left the old pages stay whole; when there is space again, all comes in."""
    lab = Lab(tmp_path, state=small_disk / "state")
    make_wheel(lab.packages, "p1", "1.0")
    watching = Watch(lab.spec)
    thread = threading.Thread(target=watching.run)
    thread.start()
    try:
        eventually(lambda: lab.files("p1"))
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        for number in range(20):
            make_wheel(lab.packages, f"p{number}", "2.0", modules={"m": "x" * 9999})
        eventually(lambda: [r for r in caplog.records if r.levelname == "ERROR"])
        look(lab)
        left = f"0 MB are left on the disk of {lab.spec.state}, and 64 MB are wanted"
        assert f"{left}: free some space" in status(lab.spec)["problems"]
        assert lab.files("p1")[0] == "p1-1.0-py2.py3-none-any.whl"
        filler.unlink()
        eventually(lambda: lab.files("p19") and len(lab.files("p1")) == 2)
        eventually(lambda: len(lab.projects()) == 20)
    finally:
        watching.stop()
        thread.join()
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert any("space" in text or "full" in text for text in told)
    assert len(told) < 20
    agree(lab)
