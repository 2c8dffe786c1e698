"""Locks between processes."""

import subprocess
import sys
import time
from pathlib import Path

from appliance.accounts.throttle import Throttle

OTHER = """
import sys, time; from pathlib import Path; from appliance.accounts.throttle import Throttle
Throttle(Path(sys.argv[1]), time.CLOCK_BOOTTIME).record_failure("alice", 1, 1000.0)
"""


def test_processes_share_throttle(tmp_path: Path) -> None:
    """A process that has mapped the file of failures does not keep another from it."""
    throttle = Throttle(tmp_path / "failures", time.CLOCK_BOOTTIME)
    assert throttle.wait_seconds("alice", 1, 1000.0) == 0
    command = [sys.executable, "-c", OTHER, str(tmp_path / "failures")]
    subprocess.run(command, check=True, timeout=60)
    assert throttle.wait_seconds("alice", 1, 1000.0) > 0
