"""Processes of a server: their family, their CPU and memory, and their end."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path


def end(process: subprocess.Popen[bytes]) -> None:
    """End the process group that ``process`` leads: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            if number == signal.SIGTERM:
                process.terminate()
            else:
                os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def command(pid: int) -> bytes:
    """Return the command line of a process, as proc(5) has it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def session(leader: int) -> list[int]:
    """Return the processes of the session that ``leader`` leads."""
    pids = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(path.name)) == leader:
                pids.append(int(path.name))
    return pids


def cpu(pid: int) -> float:
    """Return the seconds of CPU of a process (utime + stime + cutime + cstime, see proc(5)); 0 if
    it has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> tuple[float, float]:
    """Return (RSS, PSS) of a process in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return sizes["Rss"], sizes["Pss"]
