"""Commands killed before the Nth change: recovery keeps all acknowledged changes."""

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.dist import make_sdist, make_wheel
from tests.faults.commands import MUTATING, Call, Ended, calls, killing, spread, traced, tracing
from tests.faults.labs import Bench, Memory, assert_success, check, describe_failures, on_all
from tests.faults.test_hangs import descendants
from tests.wholeness import digest, look, package_files

BEFORE = "decided before"
YANKED = {"p1-1.0-py2.py3-none-any.whl": BEFORE}
RELEASE = {"p6-2.0-py2.py3-none-any.whl", "p6-2.0.tar.gz"}


@dataclass(frozen=True)
class Verb:
    """Command to kill.

    Attributes:
        kills: How many times it is killed, each before another call; at most once per call.
        prepare: Prepares a furnished index for it.
        holds: Raises if the outcome after recovery is not allowed.
        again: Whether it is repeated after a kill, because no other command does its work.
    """

    name: str
    argv: tuple[str, ...]
    kills: int
    holds: Callable[[Bench, Memory, Ended], None]
    prepare: Callable[[Bench], None] = lambda bench: None
    again: bool = False


def one_of(actual: object, *allowed: object) -> None:
    assert actual in allowed, f"{actual}, not one of {allowed}"


def nothing_decided(bench: Bench, after: Memory, ended: Ended) -> None:
    one_of(after.yanks, YANKED)
    one_of(after.statuses, {"p2": ("archived", BEFORE)})


def yanked(bench: Bench, after: Memory, ended: Ended) -> None:
    now = YANKED | dict.fromkeys(RELEASE, "now")
    one_of(after.yanks, *([now] if acknowledged(ended) else [YANKED, now]))


def unyanked(bench: Bench, after: Memory, ended: Ended) -> None:
    one_of(after.yanks, *([{}] if acknowledged(ended) else [YANKED, {}]))


def status_set(bench: Bench, after: Memory, ended: Ended) -> None:
    old, new = {"p2": ("archived", BEFORE)}, {"p3": ("deprecated", "now")}
    one_of(after.statuses, *([old | new] if acknowledged(ended) else [old, old | new]))


def removed(bench: Bench, after: Memory, ended: Ended) -> None:
    """Check that each file is either in the packages directory or in the trash."""
    nothing_decided(bench, after, ended)
    trash = {digest(path.read_bytes()) for path in (bench.lab.spec.state / "trash").glob("[!.]*")}
    package_digests = set(package_files(bench.lab).values())
    for name in RELEASE:
        known = digest((bench.root / "kept" / name).read_bytes())
        one_of((known in trash, known in package_digests), (True, False), (False, True))
        assert not acknowledged(ended) or known in trash


def keep_release(bench: Bench) -> None:
    kept = bench.root / "kept"
    kept.mkdir(exist_ok=True)
    for name in RELEASE:
        shutil.copy2(bench.lab.packages / name, kept)


def backed_up(bench: Bench, after: Memory, ended: Ended) -> None:
    """Check that each visible backup is complete, and that another can be made."""
    nothing_decided(bench, after, ended)
    assert_success(bench.run("backup"))
    for copy in bench.lab.spec.backup.directory.glob("*.sqlite"):
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            yanks = connection.execute("SELECT filename, reason FROM yank").fetchall()
        assert dict(yanks) == YANKED, copy


def back_up(bench: Bench) -> None:
    """Make a backup at a fixed path and a decision after it."""
    for verb, *more in (("backup",), ("yank", "p6==2.0", "--reason", "now")):
        assert_success(bench.run(verb, *more))
    (copy,) = bench.lab.spec.backup.directory.glob("*.sqlite")
    copy.rename(bench.root / "copy.sqlite")


def restored(bench: Bench, after: Memory, ended: Ended) -> None:
    now = YANKED | dict.fromkeys(RELEASE, "now")
    one_of(after.yanks, *([YANKED] if acknowledged(ended) else [YANKED, now]))
    one_of(after.statuses, {"p2": ("archived", BEFORE)})


def change_packages(bench: Bench) -> None:
    """Make one change of every kind."""
    packages = bench.lab.packages
    wheel = "-py2.py3-none-any.whl"
    make_wheel(packages, "p9", "1.0")
    make_sdist(packages, "p1", "3.0")
    (packages / f"p3-1.0{wheel}").unlink()
    os.utime(make_wheel(packages, "p3", "1.0", summary="other bytes"), (1, 1))
    (packages / "p4-2.0.tar.gz").rename(packages / "sub" / "p4-2.0.tar.gz")
    (packages / f"p5-1.0{wheel}").unlink()
    signature = packages / f"p6-1.0{wheel}.asc"
    signature.write_text("-----BEGIN PGP SIGNATURE-----")
    os.utime(signature, (1, 1))
    (packages / "links").mkdir()
    (packages / "links" / f"p7-1.0{wheel}").hardlink_to(packages / f"p7-1.0{wheel}")
    (packages / "sub").rename(packages / "other")


def lose_state(bench: Bench) -> None:
    shutil.rmtree(bench.lab.spec.state)


def fill(bench: Bench) -> None:
    """Write so many files that several examiners work."""
    for number in range(70):
        make_wheel(bench.lab.packages, f"q{number}", "1.0")


def damage(bench: Bench) -> None:
    """Damage the table of files and nothing else."""
    with closing(sqlite3.connect(bench.lab.spec.catalog)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'file'"
        page = connection.execute(query).fetchone()[0]
    with bench.lab.spec.catalog.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def fresh(bench: Bench, after: Memory, ended: Ended) -> None:
    """Accept any state after a first scan."""


OLD, YOUNG = "20200101T000000", "20990101T000000"


def grow(bench: Bench) -> None:
    """Create old data of each kind that gc removes, enough to compact the catalog."""
    state = bench.lab.spec.state
    assert_success(bench.run("remove", "p5==1.0"))
    (trash,) = (state / "trash").glob("[!.]*")
    for stamp in (OLD, YOUNG):
        shutil.copy2(trash, trash.with_name(f"{stamp}-{trash.name.partition('-')[2]}"))
        shutil.copy2(trash, state / f"catalog.sqlite.replaced-{stamp}")
    for name in ("0123456789abcdef", "0123456789abcdef-wal"):
        shutil.copy2(trash, state / f".catalog.{name}")
        os.utime(state / f".catalog.{name}", (1, 1))
    with closing(sqlite3.connect(bench.lab.spec.catalog)) as connection:
        line = 'INSERT INTO journal (serial, time, "index", project, action, detail) VALUES'
        rows = [(serial, "main", "gone", "removed", "x" * 400_000) for serial in range(1, 26)]
        connection.executemany(f"{line} (?, 1, ?, ?, ?, ?)", rows)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def pruned(bench: Bench, after: Memory, ended: Ended) -> None:
    """Check that old data is removed, and nothing else."""
    nothing_decided(bench, after, ended)
    state = bench.lab.spec.state
    remaining = [path.name for path in (*state.iterdir(), *(state / "trash").iterdir())]
    assert not [name for name in remaining if OLD in name or name.startswith(".catalog.")], (
        remaining
    )
    assert len([name for name in remaining if YOUNG in name]) == 2, remaining
    assert min(change.serial for change in bench.lab.journal()) > 25
    assert bench.lab.spec.catalog.stat().st_size < 4_000_000


def verified(bench: Bench, after: Memory, ended: Ended) -> None:
    nothing_decided(bench, after, ended)
    ended = bench.run("verify")
    assert_success(ended)
    assert f"{len(package_files(bench.lab))} files" in ended.out, ended.out


def interrupted(bench: Bench) -> None:
    """Write the progress of a verification that is half done."""
    progress = {"indexes": ["main"], "index": "main", "path": "p3", "files": 6, "bytes": 0}
    path = bench.lab.spec.state / "verify.json"
    path.write_text(json.dumps(progress | {"findings": []}))


def vanish(bench: Bench) -> None:
    """Delete most files, so that they remain listed as pending deletions."""
    for name in ("p0", "p3", "p4", "p5", "p7"):
        for path in bench.lab.packages.glob(f"{name}-*"):
            path.unlink()
    shutil.rmtree(bench.lab.packages / "sub")
    ended = bench.run("watch", "--once")
    assert "vanished in bulk" in ended.err, f"{ended}"
    assert bench.lab.files("p7")


def confirmed(bench: Bench, after: Memory, ended: Ended) -> None:
    nothing_decided(bench, after, ended)
    assert not bench.lab.page("p7")
    assert "vanished" not in bench.run("watch", "--once").err


VERBS = [
    Verb("watch", ("watch", "--once"), 20, nothing_decided, change_packages),
    Verb("first watch", ("watch", "--once"), 12, fresh, lose_state),
    Verb("watch many files", ("watch", "--once"), 6, nothing_decided, fill),
    Verb("yank", ("yank", "p6==2.0", "--reason", "now"), 10, yanked),
    Verb("unyank", ("unyank", "p1==1.0"), 10, unyanked),
    Verb("status-set", ("status-set", "p3", "deprecated", "--reason", "now"), 10, status_set),
    Verb("remove", ("remove", "p6==2.0"), 20, removed, keep_release),
    Verb("rebuild", ("rebuild",), 15, nothing_decided),
    Verb("rebuild damaged", ("rebuild",), 15, nothing_decided, damage),
    Verb("backup", ("backup",), 7, backed_up),
    Verb("restore", ("restore", "COPY"), 20, restored, back_up),
    Verb("gc", ("gc",), 12, pruned, grow, again=True),
    Verb("verify", ("verify",), 6, verified, interrupted),
    Verb("confirm-deletions", ("confirm-deletions",), 12, confirmed, vanish, again=True),
]


def acknowledged(ended: Ended) -> bool:
    """Return whether the command reported success."""
    return ended.code == 0


def set_up(bench: Bench, verb: Verb) -> tuple[Memory, tuple[str | Path, ...]]:
    """Save the state for a verb under its name; return its memory and the arguments."""
    bench.furnished()
    before = bench.remembered()
    verb.prepare(bench)
    if verb.prepare is back_up:
        before = bench.remembered()
    if verb.prepare is lose_state:
        before = Memory(0, {}, {}, {})
    bench.save(verb.name)
    copy = bench.root / "copy.sqlite"
    return before, tuple(copy if each == "COPY" else each for each in verb.argv)


def mutating_calls(bench: Bench, verb: Verb, argv: tuple[str | Path, ...]) -> list[Call]:
    """Return the changing calls of an undisturbed run."""
    bench.reset(verb.name)
    trace = bench.root / "trace"
    assert_success(bench.run(str(argv[0]), *argv[1:], strace=tracing(MUTATING, trace)))
    return calls(trace, bench.root, changing=True)


@pytest.mark.integration
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_killed_command_loses_no_acknowledged_change(workplaces: list[Bench], verb: Verb) -> None:
    """Recovery after a kill before any call keeps acknowledged changes and allows further ones."""
    begun = {bench.root: set_up(bench, verb) for bench in workplaces}
    first = workplaces[0]
    candidates = mutating_calls(first, verb, begun[first.root][1])
    chosen = [None, *spread(candidates, verb.kills, seed=2026)]

    def kill(bench: Bench, call: Call | None) -> bool:
        before, argv = begun[bench.root]
        bench.reset(verb.name)
        ended = bench.run(str(argv[0]), *argv[1:], strace=killing(call) if call else None)
        assert ended.was_killed or ended.code == 0, f"{ended}"
        look(bench.lab)
        bench.recover()
        if verb.again and not acknowledged(ended):
            assert_success(bench.run(str(argv[0]), *argv[1:]))
        verb.holds(bench, check(bench, before), ended)
        make_wheel(bench.lab.packages, "p0", "9.0")
        bench.recover()
        check(bench, before)
        assert call is not None or ended.code == 0, f"{ended}"
        return ended.was_killed

    results = on_all(workplaces, chosen, kill)
    assert not (failures := describe_failures(chosen, results)), (
        f"of {len(candidates)} calls: {failures}"
    )
    assert results.count(True) >= (len(chosen) - 1) * 0.8


# --- examiners --------------------------------------------------------------------------------

EXAMINING = "openat,read,write,rename,unlink,mkdir,ftruncate,fsync,fdatasync,syncfs"
# Work of an examiner, and the number of kills for each.
WORKLOADS: dict[str, Callable[[Bench], None]] = {"a few files": change_packages, "many files": fill}
EXAMINERS = 8


@contextmanager
def examiner(bench: Bench, *options: str) -> Iterator[int]:
    """Run a watcher whose examiner is traced; check that the watcher ends normally."""
    watcher = bench.commands.start(*bench.argv("watch"))
    try:
        make_wheel(bench.lab.packages, "p8", "1.0")
        eventually(lambda: bench.lab.files("p8"))
        (pid,) = descendants(watcher.pid)  # the idle examiner
        with traced([pid], *options):
            yield pid
    finally:
        os.kill(watcher.pid, signal.SIGTERM)
        assert_success(watcher.wait())


@pytest.mark.integration
@pytest.mark.parametrize("what", WORKLOADS)
def test_watcher_replaces_killed_examiner(workplaces: list[Bench], what: str) -> None:
    """The watcher replaces an examiner killed at any call and accepts every file."""
    for bench in workplaces:
        bench.furnished()
    first, trace = workplaces[0], workplaces[0].root / "trace"
    with examiner(first, *tracing(EXAMINING, trace)):
        change_and_wait(first, what)
    candidates = calls(trace, first.root, changing=False)
    chosen = spread(candidates, EXAMINERS, seed=2026)

    def kill(bench: Bench, call: Call) -> bool:
        bench.furnished()
        before = bench.remembered()
        with examiner(bench, *killing(call)) as pid:
            change_and_wait(bench, what)
            was_killed = not Path(f"/proc/{pid}").exists()
        bench.recover()
        nothing_decided(bench, check(bench, before), Ended((), None, "", ""))
        return was_killed

    results = on_all(workplaces, chosen, kill)
    assert not (failures := describe_failures(chosen, results)), (
        f"of {len(candidates)} calls: {failures}"
    )
    assert any(results)  # the number of calls depends on timing


def change_and_wait(bench: Bench, what: str) -> None:
    """Change package files and wait until all are examined; then add one, for the next examiner."""
    WORKLOADS[what](bench)
    eventually(lambda: set(package_files(bench.lab)) <= seen(bench))
    look(bench.lab)
    wheel = make_wheel(bench.lab.packages, "p0", "8.0")
    eventually(lambda: wheel.name in bench.lab.files("p0"))


def seen(bench: Bench) -> set[str]:
    """Return the paths of accepted and rejected files."""
    with bench.lab.catalog.read() as reader:
        files = reader.offered(bench.lab.index, limit=10_000)
        return {file.path for file in files} | bench.lab.refused().keys()
