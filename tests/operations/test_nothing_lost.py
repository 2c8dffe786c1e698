"""Durability: after a kill, a full disk, or with two writers no file is lost and no partial page is
published."""

import contextlib
import gc
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from appliance.operations.status import status
from appliance.operations.watch import Watcher
from tests.conftest import Lab, eventually
from tests.dist import make_sdist, make_wheel
from tests.wholeness import agree, look, unbroken


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
            # Long ago, so that it is examined once; and each time is different.
            os.utime(path, (1, dice.randrange(10**9)))


@contextlib.contextmanager
def watched_by_a_reader(lab: Lab) -> Iterator[None]:
    """Read all pages repeatedly meanwhile; fail at the end if one was not complete."""
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


def has_begun(lab: Lab, before: int, process: BaseProcess) -> bool:
    return len(lab.journal()) > before or not process.is_alive()


@pytest.mark.integration
def test_kill_loses_nothing(lab: Lab) -> None:
    """After sixty kills during intake or publication, catalog, pages and directory agree, and
    no client read a partial page."""
    dice = random.Random(2026)
    whole = {}
    for changes in (80, 8):
        change_folder(lab, dice, changes)
        start = time.monotonic()
        lab.once()
        whole[changes] = time.monotonic() - start
    # Not forked from here: a thread reads, and what it has locked would stay so in the child.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.conftest"])
    in_the_middle = 0
    with watched_by_a_reader(lab):
        for number in range(60):
            changes = 80 if number % 10 == 0 else 8
            change_folder(lab, dice, changes)
            before = len(lab.journal())
            process = processes.Process(target=lab.once)
            process.start()
            try:
                if number % 2:  # surely in the middle, unless it was done before we have looked
                    eventually(partial(has_begun, lab, before, process))
                    time.sleep(dice.random() * whole[changes] * 0.2)
                else:
                    time.sleep(dice.random() * whole[changes] * 1.2)
            finally:
                process.kill()
                process.join()
            in_the_middle += process.exitcode == -signal.SIGKILL and len(lab.journal()) > before
    lab.once()
    agree(lab)
    unbroken(lab)
    assert in_the_middle > 0


def test_fork_opens_own_connection(lab: Lab) -> None:
    """A change that a child process commits survives, whatever its parent closes meanwhile."""
    lab.once()
    catalog = lab.catalog
    with catalog.read() as reader:
        reader.serial()  # its connection stays open for the next use
    context = multiprocessing.get_context("fork")
    begun, closed = context.Event(), context.Event()

    def commit() -> None:
        mine = lab.catalog
        mine.set_mark("first", 1)
        begun.set()
        closed.wait()
        mine.set_mark("second", 2)
        os.kill(os.getpid(), signal.SIGKILL)

    process = context.Process(target=commit)
    process.start()
    assert begun.wait(240), "the child did not commit"
    catalog.close()
    gc.collect()  # connections of other tests
    closed.set()
    process.join()
    with catalog.read() as reader:
        assert (reader.mark("first"), reader.mark("second")) == (1, 2)


def test_two_processes_scan_one_directory(lab: Lab) -> None:
    """Two processes that scan one packages directory accept each file once."""
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
    unbroken(lab)
    assert {change.action for change in lab.journal()} == {"added"}


def test_full_disk_is_reported_until_it_ends(
    small_disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk pages stay complete; when space is free again, all files are accepted."""
    lab = Lab(tmp_path, state=small_disk / "state")
    make_wheel(lab.packages, "p1", "1.0")
    watching = Watcher(lab.spec)
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
        left = f"{lab.spec.state}: only 0 MB free, 64 MB required"
        assert f"{left}; free some disk space" in status(lab.spec)["problems"]
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
    unbroken(lab)
