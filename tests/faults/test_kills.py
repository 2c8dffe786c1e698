"""Killed before the Nth call that changes something, then recovered as a user would: nothing that
was acknowledged is lost, what was not is there as a whole or not at all."""

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
from tests.faults.labs import Bench, Memory, check, on_all, told, well
from tests.faults.test_hangs import descendants
from tests.wholeness import digest, look, package_files

BEFORE = "decided before"
YANKED = {"p1-1.0-py2.py3-none-any.whl": BEFORE}
RELEASE = {"p6-2.0-py2.py3-none-any.whl", "p6-2.0.tar.gz"}


@dataclass(frozen=True)
class Verb:
    """A command to kill.

    Attributes:
        kills: How many, each before another call; fewer where it makes fewer calls.
        prepare: Makes what it finds, from a furnished index.
        holds: Raises if the outcome, after recovery, is not one that it may have.
        again: Whether it is given again, where it was killed, as nothing else does its work.
    """

    name: str
    argv: tuple[str, ...]
    kills: int
    holds: Callable[[Bench, Memory, Ended], None]
    prepare: Callable[[Bench], None] = lambda bench: None
    again: bool = False


def one_of(found: object, *allowed: object) -> None:
    assert found in allowed, f"{found}, not one of {allowed}"


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
    """The bytes of each file are in the packages directory or in the trash, once."""
    nothing_decided(bench, after, ended)
    trash = {digest(path.read_bytes()) for path in (bench.lab.spec.state / "trash").glob("[!.]*")}
    folder = set(package_files(bench.lab).values())
    for name in RELEASE:
        known = digest((bench.root / "kept" / name).read_bytes())
        one_of((known in trash, known in folder), (True, False), (False, True))
        assert not acknowledged(ended) or known in trash


def keep_release(bench: Bench) -> None:
    kept = bench.root / "kept"
    kept.mkdir(exist_ok=True)
    for name in RELEASE:
        shutil.copy2(bench.lab.packages / name, kept)


def backed_up(bench: Bench, after: Memory, ended: Ended) -> None:
    """Each copy that can be seen is a whole one, and another can be made."""
    nothing_decided(bench, after, ended)
    well(bench.run("backup"))
    for copy in bench.lab.spec.backup.directory.glob("*.sqlite"):
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = connection.execute("SELECT filename, reason FROM yank").fetchall()
        assert dict(found) == YANKED, copy


def back_up(bench: Bench) -> None:
    """A copy at a fixed place, and a decision after it."""
    for verb, *more in (("backup",), ("yank", "p6==2.0", "--reason", "now")):
        well(bench.run(verb, *more))
    (copy,) = bench.lab.spec.backup.directory.glob("*.sqlite")
    copy.rename(bench.root / "copy.sqlite")


def restored(bench: Bench, after: Memory, ended: Ended) -> None:
    now = YANKED | dict.fromkeys(RELEASE, "now")
    one_of(after.yanks, *([YANKED] if acknowledged(ended) else [YANKED, now]))
    one_of(after.statuses, {"p2": ("archived", BEFORE)})


def change_folder(bench: Bench) -> None:
    """One change of every kind."""
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
    """So many files that worker processes look at them."""
    for number in range(70):
        make_wheel(bench.lab.packages, f"q{number}", "1.0")


def damage(bench: Bench) -> None:
    """The table of files cannot be read; all else can."""
    with closing(sqlite3.connect(bench.lab.spec.catalog)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'file'"
        page = connection.execute(query).fetchone()[0]
    with bench.lab.spec.catalog.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def fresh(bench: Bench, after: Memory, ended: Ended) -> None:
    """A first intake has nothing to remember."""


OLD, YOUNG = "20200101T000000", "20990101T000000"


def grow(bench: Bench) -> None:
    """Something old of each kind that gc removes, so much of it that the catalog is compacted."""
    state = bench.lab.spec.state
    well(bench.run("remove", "p5==1.0"))
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
    """What is old is gone, and nothing else."""
    nothing_decided(bench, after, ended)
    state = bench.lab.spec.state
    left = [path.name for path in (*state.iterdir(), *(state / "trash").iterdir())]
    assert not [name for name in left if OLD in name or name.startswith(".catalog.")], left
    assert len([name for name in left if YOUNG in name]) == 2, left
    assert min(change.serial for change in bench.lab.journal()) > 25
    assert bench.lab.spec.catalog.stat().st_size < 4_000_000


def verified(bench: Bench, after: Memory, ended: Ended) -> None:
    nothing_decided(bench, after, ended)
    ended = bench.run("verify")
    well(ended)
    assert f"{len(package_files(bench.lab))} files" in ended.out, ended.out


def interrupted(bench: Bench) -> None:
    """A verification that has come half way."""
    words = {"indexes": ["main"], "index": "main", "path": "p3", "files": 6, "bytes": 0}
    place = bench.lab.spec.state / "verify.json"
    place.write_text(json.dumps(words | {"findings": []}))


def vanish(bench: Bench) -> None:
    """Most files go at once, and stay listed until somebody confirms it."""
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
    Verb("watch", ("watch", "--once"), 40, nothing_decided, change_folder),
    Verb("first watch", ("watch", "--once"), 25, fresh, lose_state),
    Verb("watch many files", ("watch", "--once"), 10, nothing_decided, fill),
    Verb("yank", ("yank", "p6==2.0", "--reason", "now"), 20, yanked),
    Verb("unyank", ("unyank", "p1==1.0"), 20, unyanked),
    Verb("status-set", ("status-set", "p3", "deprecated", "--reason", "now"), 20, status_set),
    Verb("remove", ("remove", "p6==2.0"), 40, removed, keep_release),
    Verb("rebuild", ("rebuild",), 30, nothing_decided),
    Verb("rebuild damaged", ("rebuild",), 30, nothing_decided, damage),
    Verb("backup", ("backup",), 15, backed_up),
    Verb("restore", ("restore", "COPY"), 40, restored, back_up),
    Verb("gc", ("gc",), 25, pruned, grow, again=True),
    Verb("verify", ("verify",), 10, verified, interrupted),
    Verb("confirm-deletions", ("confirm-deletions",), 25, confirmed, vanish, again=True),
]


def acknowledged(ended: Ended) -> bool:
    """Whether the command said that it was done."""
    return ended.code == 0


def set_up(bench: Bench, verb: Verb) -> tuple[Memory, tuple[str | Path, ...]]:
    """Save what the verb begins with, as its name; what is remembered then, and its arguments."""
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
    """The calls of a run that nobody disturbs."""
    bench.reset(verb.name)
    trace = bench.root / "trace"
    well(bench.run(str(argv[0]), *argv[1:], strace=tracing(MUTATING, trace)))
    return calls(trace, bench.root, changing=True)


@pytest.mark.integration
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_a_kill_before_any_call_loses_nothing(workplaces: list[Bench], verb: Verb) -> None:
    """Whatever the call, recovery brings all to one state, and the index goes on from there; the
    same holds of a run that is not killed, which is the first."""
    begun = {bench.root: set_up(bench, verb) for bench in workplaces}
    first = workplaces[0]
    found = mutating_calls(first, verb, begun[first.root][1])
    chosen = [None, *spread(found, verb.kills, seed=2026)]

    def kill(bench: Bench, call: Call | None) -> bool:
        before, argv = begun[bench.root]
        bench.reset(verb.name)
        ended = bench.run(str(argv[0]), *argv[1:], strace=killing(call) if call else None)
        assert ended.was_killed or ended.code == 0, f"{ended}"
        look(bench.lab)
        bench.recover()
        if verb.again and not acknowledged(ended):
            well(bench.run(str(argv[0]), *argv[1:]))
        verb.holds(bench, check(bench, before), ended)
        make_wheel(bench.lab.packages, "p0", "9.0")
        bench.recover()
        check(bench, before)
        assert call is not None or ended.code == 0, f"{ended}"
        return ended.was_killed

    results = on_all(workplaces, chosen, kill)
    assert not (failures := told(chosen, results)), f"of {len(found)} calls: {failures}"
    assert results.count(True) >= (len(chosen) - 1) * 0.8


# --- the process that examines files -----------------------------------------------------------

EXAMINING = "openat,read,write,rename,unlink,mkdir,ftruncate,fsync,fdatasync,syncfs"
# What it is at, a few files or many; each is killed so often.
LOOKS: dict[str, Callable[[Bench], None]] = {"a few files": change_folder, "many files": fill}
EXAMINERS = 8


@contextmanager
def examiner(bench: Bench, *options: str) -> Iterator[int]:
    """A watcher whose process that examines files is traced; at the end it is stopped, as the
    process that it was."""
    watcher = bench.commands.start(*bench.argv("watch"))
    try:
        make_wheel(bench.lab.packages, "p8", "1.0")
        eventually(lambda: bench.lab.files("p8"))
        (pid,) = descendants(watcher.pid)  # it waits for more
        with traced([pid], *options):
            yield pid
    finally:
        os.kill(watcher.pid, signal.SIGTERM)
        well(watcher.wait())


@pytest.mark.integration
@pytest.mark.parametrize("what", LOOKS)
def test_a_killed_examiner_stops_nothing(workplaces: list[Bench], what: str) -> None:
    """Whatever it was at, the watcher goes on with another, and every file comes in."""
    for bench in workplaces:
        bench.furnished()
    first, trace = workplaces[0], workplaces[0].root / "trace"
    with examiner(first, *tracing(EXAMINING, trace)):
        follow(first, what)
    found = calls(trace, first.root, changing=False)
    chosen = spread(found, EXAMINERS, seed=2026)

    def kill(bench: Bench, call: Call) -> bool:
        bench.furnished()
        before = bench.remembered()
        with examiner(bench, *killing(call)) as pid:
            follow(bench, what)
            was_killed = not Path(f"/proc/{pid}").exists()
        bench.recover()
        nothing_decided(bench, check(bench, before), Ended((), None, "", ""))
        return was_killed

    results = on_all(workplaces, chosen, kill)
    assert not (failures := told(chosen, results)), f"of {len(found)} calls: {failures}"
    assert any(results)  # how many calls it comes to depends on how soon it is given work


def follow(bench: Bench, what: str) -> None:
    """Change the packages directory, and wait until all that is there was looked at; then once
    more, as whoever was killed last must have a successor."""
    LOOKS[what](bench)
    eventually(lambda: set(package_files(bench.lab)) <= seen(bench))
    look(bench.lab)
    wheel = make_wheel(bench.lab.packages, "p0", "8.0")
    eventually(lambda: wheel.name in bench.lab.files("p0"))


def seen(bench: Bench) -> set[str]:
    """The paths of what was accepted or refused."""
    with bench.lab.catalog.read() as reader:
        files = reader.offered(bench.lab.index, limit=10_000)
        return {file.path for file in files} | bench.lab.refused().keys()
