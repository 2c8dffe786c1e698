"""Counters that the processes of a server share."""

import contextlib
import os
import threading
from pathlib import Path

import pytest

from appliance.web.counters import Counters


def test_counters_of_processes_are_added(tmp_path: Path) -> None:
    """Totals have what every process has counted, also those that have ended."""
    counters = Counters(tmp_path / "counters", ["a", "b"])
    counters.add("a")
    for _ in range(2):
        if (child := os.fork()) == 0:
            counters.add("a", 10)
            counters.add("b")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert counters.totals() == {"a": 21, "b": 2}
    Counters(tmp_path / "counters", ["a", "b"]).add("b")
    files = [path.name for path in (tmp_path / "counters").glob("*-*")]
    assert len(files) <= 2  # the counts of processes that have ended are in one file
    assert counters.totals() == {"a": 21, "b": 3}
    counters.clear()
    assert Counters(tmp_path / "counters", ["a", "b"]).totals() == {"a": 0, "b": 0}


@pytest.mark.integration
def test_full_disk_ends_no_process(small_disk: Path) -> None:
    """On a full disk nothing is counted, and the process goes on; so does one whose counters were
    there before."""
    before = Counters(small_disk / "before", ["a"])
    before.add("a")
    (small_disk / "after").mkdir()
    (small_disk / "after" / "lock").touch()
    with (small_disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    before.add("a")
    after = Counters(small_disk / "after", ["a"])
    after.add("a")
    assert (before.totals(), after.totals()) == ({"a": 2}, {"a": 0})


def test_threads_lose_no_count(tmp_path: Path) -> None:
    """Threads that count at the same time lose nothing."""
    counters = Counters(tmp_path / "counters", ["a"])

    def count() -> None:
        for _ in range(2000):
            counters.add("a")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.totals() == {"a": 8000}


def test_counters_of_another_form_are_left_out(tmp_path: Path) -> None:
    """Files of a server with other counters, and damaged ones, add nothing wrong, and are removed
    when their process has ended."""
    Counters(tmp_path, ["x", "y"]).add("x")
    counters = Counters(tmp_path, ["a", "b"])
    counters.add("b")
    for path in list(tmp_path.glob("*-*")):
        (tmp_path / f"4194999-{path.name.partition('-')[2]}").write_bytes(b"\1")
    assert counters.totals() == {"a": 1, "b": 1}
    Counters(tmp_path, ["a", "b"]).add("a")
    assert not list(tmp_path.glob("4194999-*"))
    assert counters.totals() == {"a": 1, "b": 1}


def test_unknown_counter_is_an_error(tmp_path: Path) -> None:
    """A name that is not declared cannot be counted."""
    with pytest.raises(KeyError):
        Counters(tmp_path, ["a"]).add("b")


def test_directory_without_write_access_counts_nothing(tmp_path: Path) -> None:
    """Where nothing can be written, counting fails silently, and requests are answered."""
    (tmp_path / "file").touch()
    counters = Counters(tmp_path / "file" / "counters", ["a"])
    counters.add("a")
    assert counters.totals() == {"a": 0}
