"""Throttle: buckets of failures that all workers share."""

import time
from pathlib import Path

from appliance.accounts.throttle import Throttle


def test_burst_then_one_each_interval(tmp_path: Path) -> None:
    """After a burst of failures the wait is at most an interval; other names do not wait."""
    throttle = Throttle(tmp_path / "failures")
    for _ in range(3):
        assert throttle.wait_seconds("a", 3, 1000.0) == 0
        throttle.record_failure("a", 3, 1000.0)
    assert 0 < throttle.wait_seconds("a", 3, 1000.0) <= 1000
    throttle.record_failure("a", 3, 1000.0)  # by a request that began before
    assert 0 < throttle.wait_seconds("a", 3, 1000.0) <= 1000
    assert throttle.wait_seconds("b", 3, 1000.0) == 0


def test_processes_count_together_and_remember(tmp_path: Path) -> None:
    """A second process sees the failures of the first, also after its end."""
    path = tmp_path / "failures"
    first, second = Throttle(path), Throttle(path)
    assert second.wait_seconds("a", 1, 1000.0) == 0
    first.record_failure("a", 1, 1000.0)
    assert second.wait_seconds("a", 1, 1000.0) > 0
    del first
    assert Throttle(path).wait_seconds("a", 1, 1000.0) > 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_times_of_an_earlier_boot_do_not_count(tmp_path: Path) -> None:
    """The clock begins at 0 with each boot: a time far ahead is of an earlier one."""
    Throttle(tmp_path / "failures", time.CLOCK_REALTIME).record_failure("a", 1, 1000.0)
    assert Throttle(tmp_path / "failures").wait_seconds("a", 1, 1000.0) == 0


def test_damaged_or_unwritable_file_is_replaced(tmp_path: Path) -> None:
    """A file of another size is written anew; without a file the process counts alone."""
    path = tmp_path / "failures"
    path.write_bytes(b"x")
    Throttle(path).record_failure("a", 1, 1000.0)
    assert Throttle(path).wait_seconds("a", 1, 1000.0) > 0
    alone = Throttle(tmp_path / "missing" / "failures")
    alone.record_failure("a", 1, 1000.0)
    assert alone.wait_seconds("a", 1, 1000.0) > 0
