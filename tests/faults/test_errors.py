"""Calls of the watcher that fail, once or from then on: nothing is lost or published in part, the
trouble is told in words, and when it is over one more look brings everything right."""

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
from tests.faults.labs import Bench, Memory, check, on_all, told, well
from tests.faults.test_hangs import descendants
from tests.faults.test_kills import change_folder
from tests.wholeness import look, package_files

# What a person reads of each error: its own words, or where SQLite met it words of that.
WORDS = {
    "EIO": "Input/output error",
    "ESTALE": "Stale file handle",
    "ENOSPC": "No space left|free some (disk )?space",
    "EMFILE": "Too many open files",
    "EROFS": "Read-only file system",
}
CATALOG = r"catalog \S+/catalog.sqlite: "
# An interpreter that cannot read a directory or a file of its modules goes on without: what it says
# then is that there is no such module.
UNREAD = r"examiner process: \S+ does not start: [^\n]*(\w+Error: |Fatal Python)"
TOUCHED = {"p3-1.0", "p4-2.0", "p5-1.0", "p6-1.0", "p7-1.0", "p0-3.0"}


@dataclass(frozen=True)
class Fault:
    """Calls of these names fail with an error."""

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
# How often each fails once, at another call each time; and from a call on.
ONCE, LASTING = 4, 2


@pytest.fixture(scope="module")
def changed(workplaces: list[Bench]) -> dict[str, list[Call]]:
    """Each bench begins with a changed packages directory; the calls about it, by name."""
    for bench in workplaces:
        bench.furnished()
        change_folder(bench)
        bench.save("changed")
    bench, names = workplaces[0], f"{READING},write,pwrite64,fsync,fdatasync"
    trace = bench.root / "trace"
    names += ",rename,unlink,mkdir,utimensat,fchmod,ftruncate"
    well(bench.run("watch", "--once", strace=tracing(names, trace)))
    found: dict[str, list[Call]] = {}
    for call in calls(trace, bench.root, changing=False):
        found.setdefault(call.name, []).append(call)
    return found


@pytest.mark.integration
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_failing_call_is_told_and_got_over(
    workplaces: list[Bench], changed: dict[str, list[Call]], fault: Fault
) -> None:
    """Whichever call fails, what was published stays, and a message names the trouble."""
    found = changed[fault.names]
    chosen = [str(call.number) for call in spread(found, ONCE, seed=1)]
    if fault.names != "write":  # else no message can be written
        chosen += [f"{call.number}+" for call in spread(found, LASTING, seed=2)]

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
    assert not (failures := told(chosen, results)), f"of {len(found)} calls: {failures}"


def explained(ended: Ended, fault: Fault) -> None:
    """It did its work, or said in one line why it could not."""
    assert "Traceback" not in ended.err, f"{ended}"
    assert ended.code in (0, 1), f"{ended}"
    is_silenced = fault.names == "write" and not ended.err
    assert ended.code == 0 or is_silenced or tells(ended.err, fault), f"unexplained: {ended}"


def tells(text: str, fault: Fault) -> bool:
    """Whether a person can read in ``text`` what is wrong."""
    words = [WORDS[fault.error], CATALOG]
    if fault.names in READING.split(","):
        words.append(UNREAD)
    return re.search("|".join(words), text) is not None


def untouched_are_served(bench: Bench) -> None:
    """What nobody changed is on its page and has the bytes that the page says."""
    listed = {}
    for page in (bench.lab.spec.www / "simple").glob("*/index.json"):
        for file in json.loads(page.read_bytes())["files"]:
            listed[file["filename"]] = file["hashes"]["sha256"]
    folder = package_files(bench.lab)
    for path, sha256 in folder.items():
        name = path.rpartition("/")[2]
        if "/" not in path and not any(name.startswith(each) for each in ("p9", *TOUCHED)):
            if name == "p1-3.0.tar.gz":
                continue
            assert name in listed, f"{name} is not on its page"
            assert listed[name] == sha256, name


def accounted(bench: Bench) -> None:
    """Who reports success has taken in or refused each file, or the directory that it is in."""
    with bench.lab.catalog.read() as reader:
        known = {file.path for file in reader.offered(bench.lab.index, limit=10_000)}
        known |= {refusal.path for refusal in reader.rejections(bench.lab.index)}
    missing = {
        path
        for path in package_files(bench.lab)
        if not known & {path, *map(str, PurePosixPath(path).parents)}
    }
    assert not missing, f"not accounted for: {missing}"


def kept(after: Memory, before: Memory) -> None:
    assert after.yanks == before.yanks
    assert after.statuses == before.statuses


# Calls of a watcher that runs, each failing until the trouble is over.
TROUBLES = [
    Fault("EIO", "fsync,fdatasync"),
    Fault("EIO", "getdents64"),
    Fault("EIO", "newfstatat"),
    Fault("ESTALE", "openat"),
    Fault("ENOSPC", "pwrite64,fsync,mkdir"),
    Fault("EMFILE", "openat"),
    Fault("EROFS", "rename,unlink,mkdir"),
]


@pytest.mark.integration
@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
def test_a_watcher_outlives_what_passes(workplaces: list[Bench], trouble: Fault) -> None:
    """It says what is wrong, goes on serving what there was, and catches up by itself."""
    bench = workplaces[0]
    bench.furnished()
    before = bench.remembered()
    watcher = bench.commands.start(*bench.argv("watch"))
    try:
        make_wheel(bench.lab.packages, "p8", "1.0")
        eventually(lambda: bench.lab.files("p8"))
        # Its threads, and the process that waits to examine files.
        pids = [watcher.pid, *descendants(watcher.pid)]
        with traced(pids, *failing(trouble.names, trouble.error, "1+")):
            change_folder(bench)
            eventually(lambda: tells(watcher.err.read_text(), trouble))
            look(bench.lab)
            untouched_are_served(bench)
        eventually(lambda: bench.lab.files("p9"))
        eventually(lambda: bench.lab.page("p5") and len(bench.lab.files("p5")) == 1)
        assert Path(f"/proc/{watcher.pid}").exists()
    finally:
        os.kill(watcher.pid, signal.SIGTERM)
        ended = watcher.wait()
    well(ended)
    bench.recover()
    kept(check(bench, before), before)
