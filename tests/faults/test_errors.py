"""Failing system calls of the watcher: reports, published pages, recovery."""

import json
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from tests.conftest import eventually
from tests.dist import make_wheel
from tests.faults.commands import READING, Call, Ended, calls, failing, spread, traced, tracing
from tests.faults.labs import Bench, Memory, assert_success, check, describe_failures, on_all
from tests.faults.test_hangs import descendants
from tests.faults.test_kills import change_packages
from tests.wholeness import look, package_files

# Patterns of messages for each error; SQLite has its own texts.
WORDS = {
    "EIO": "Input/output error",
    "ESTALE": "Stale file handle",
    "ENOSPC": "No space left|free some (disk )?space",
    "EMFILE": "Too many open files",
    "EROFS": "Read-only file system",
}
CATALOG = r"catalog \S+/catalog.sqlite: "
# An interpreter that cannot read a directory or a file of its modules reports that the module does
# not exist.
UNREAD = r"examiner process: \S+ does not start: [^\n]*(\w+Error: |Fatal Python)"
TOUCHED = {"p3-1.0", "p4-2.0", "p5-1.0", "p6-1.0", "p7-1.0", "p0-3.0"}


@dataclass(frozen=True)
class Fault:
    """Error with which calls of these names fail."""

    error: str
    names: str

    def __str__(self) -> str:
        return f"{self.error} {self.names}"


FAULTS = [
    *(Fault("EIO", name) for name in ("openat", "read", "pread64", "newfstatat", "getdents64")),
    *(Fault("EIO", name) for name in ("write", "pwrite64", "fsync", "fdatasync")),
    *(Fault("EIO", name) for name in ("rename", "unlink", "mkdir", "utimensat", "fchmod", "flock")),
    *(Fault("ESTALE", name) for name in ("openat", "read", "newfstatat", "getdents64")),
    *(Fault("ENOSPC", name) for name in ("openat", "write", "pwrite64", "fsync", "mkdir")),
    *(Fault("ENOSPC", name) for name in ("rename", "utimensat", "ftruncate")),
    *(Fault("EMFILE", name) for name in ("openat",)),
    *(Fault("EROFS", name) for name in ("openat", "rename", "utimensat", "unlink", "mkdir")),
]
# Number of runs in which one call fails, and of runs in which all calls from one on fail.
ONCE, LASTING = 3, 1


@pytest.fixture(scope="module")
def changed(workplaces: list[Bench]) -> dict[str, list[Call]]:
    """Calls by name that concern files, on benches with changed package files."""
    for bench in workplaces:
        bench.furnished()
        change_packages(bench)
        bench.save("changed")
    bench, names = workplaces[0], f"{READING},write,pwrite64,fsync,fdatasync"
    trace = bench.root / "trace"
    names += ",rename,unlink,mkdir,utimensat,fchmod,ftruncate"
    assert_success(bench.run("watch", "--once", strace=tracing(names, trace)))
    by_name: dict[str, list[Call]] = {}
    for call in calls(trace, bench.root, changing=False):
        by_name.setdefault(call.name, []).append(call)
    return by_name


@pytest.mark.integration
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_failing_call_is_reported(
    workplaces: list[Bench], changed: dict[str, list[Call]], fault: Fault
) -> None:
    """The watcher reports a failing call, keeps published pages, and recovers."""
    candidates = changed[fault.names]
    chosen = [str(call.number) for call in spread(candidates, ONCE, seed=1)]
    if fault.names != "write":  # otherwise it cannot write a message
        chosen += [f"{call.number}+" for call in spread(candidates, LASTING, seed=2)]

    def fail(bench: Bench, when: str) -> None:
        bench.reset("changed")
        before = bench.remembered()
        ended = bench.run("watch", "--once", strace=failing(fault.names, fault.error, when))
        explained(ended, fault)
        look(bench.lab)
        untouched_are_served(bench)
        if ended.code == 0:
            accounted(bench)
        bench.recover()
        kept(check(bench, before), before)

    results = on_all(workplaces, chosen, fail)
    assert not (failures := describe_failures(chosen, results)), (
        f"of {len(candidates)} calls: {failures}"
    )


def explained(ended: Ended, fault: Fault) -> None:
    """Check that the command succeeded or printed a message about the error."""
    assert "Traceback" not in ended.err, f"{ended}"
    assert ended.code in (0, 1), f"{ended}"
    is_silenced = fault.names == "write" and not ended.err
    assert ended.code == 0 or is_silenced or is_reported(ended.err, fault), f"unexplained: {ended}"


def is_reported(text: str, fault: Fault) -> bool:
    """Return whether ``text`` has a message about the fault."""
    patterns = [WORDS[fault.error], CATALOG]
    if fault.names in READING.split(","):
        patterns.append(UNREAD)
    return re.search("|".join(patterns), text) is not None


def untouched_are_served(bench: Bench) -> None:
    """Check that each unchanged file is on its page with the right digest."""
    listed = {}
    for page in (bench.lab.spec.www / "simple").glob("*/index.json"):
        for file in json.loads(page.read_bytes())["files"]:
            listed[file["filename"]] = file["hashes"]["sha256"]
    package_digests = package_files(bench.lab)
    for path, sha256 in package_digests.items():
        name = path.rpartition("/")[2]
        if "/" not in path and not any(name.startswith(each) for each in ("p9", *TOUCHED)):
            if name == "p1-3.0.tar.gz":
                continue
            assert name in listed, f"{name} is not on its page"
            assert listed[name] == sha256, name


def accounted(bench: Bench) -> None:
    """Check that a successful command has accepted or rejected each file or its directory."""
    with bench.lab.catalog.read() as reader:
        known = {file.path for file in reader.offered(bench.lab.index, limit=10_000)}
        known |= {refusal.path for refusal in reader.rejections(bench.lab.index)}
    missing = {
        path
        for path in package_files(bench.lab)
        if not known & {path, *(f"{parent}/" for parent in PurePosixPath(path).parents)}
    }
    assert not missing, f"not accounted for: {missing}"


def kept(after: Memory, before: Memory) -> None:
    assert after.yanks == before.yanks
    assert after.statuses == before.statuses


# Calls of a running watcher that all fail for a while.
TEMPORARY_FAULTS = [
    Fault("EIO", "fsync,fdatasync"),
    Fault("EIO", "getdents64"),
    Fault("EIO", "newfstatat"),
    Fault("ESTALE", "openat"),
    Fault("ENOSPC", "pwrite64,fsync,mkdir"),
    Fault("EMFILE", "openat"),
    Fault("EROFS", "rename,unlink,mkdir"),
]


@pytest.mark.integration
@pytest.mark.parametrize("fault", TEMPORARY_FAULTS, ids=str)
def test_watcher_recovers_from_errors(workplaces: list[Bench], fault: Fault) -> None:
    """The watcher reports temporary errors, keeps published pages, and catches up on its own."""
    bench = workplaces[0]
    bench.furnished()
    before = bench.remembered()
    watcher = bench.commands.start(*bench.argv("watch"))
    try:
        make_wheel(bench.lab.packages, "p8", "1.0")
        eventually(lambda: bench.lab.files("p8"))
        # The watcher's threads, and its examiner.
        pids = [watcher.pid, *descendants(watcher.pid)]
        with traced(pids, *failing(fault.names, fault.error, "1+")):
            change_packages(bench)
            eventually(lambda: is_reported(watcher.err.read_text(), fault))
            look(bench.lab)
            untouched_are_served(bench)
        eventually(lambda: bench.lab.files("p9"))
        eventually(lambda: bench.lab.page("p5") and len(bench.lab.files("p5")) == 1)
        assert Path(f"/proc/{watcher.pid}").exists()
    finally:
        os.kill(watcher.pid, signal.SIGTERM)
        ended = watcher.wait()
    assert_success(ended)
    bench.recover()
    kept(check(bench, before), before)
