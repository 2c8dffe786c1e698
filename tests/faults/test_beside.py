"""Concurrent commands, one of them killed, while package files change."""

import os
import random
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.catalog import decisionlog
from appliance.operations.watchlock import is_watched
from tests.conftest import eventually
from tests.dist import make_sdist, make_wheel
from tests.faults.commands import MUTATING, Call, Ended, Running, calls, killing, tracing
from tests.faults.labs import Bench, Memory, assert_success, check, describe_failures, on_all

BETWEEN_CHECKS, CHECKS, STORIES = 4, 1, 2
DECIDED = [f"p{number}" for number in range(3, 8)]  # no test changes their files
Argv = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Command ``killed`` at some call, while each of ``beside`` runs."""

    killed: str
    beside: tuple[str, ...]
    watched: bool = True

    def __str__(self) -> str:
        beside = (*self.beside, *(["a watcher"] if self.watched else []))
        return f"{self.killed} beside {', '.join(beside)}"


PAIRS = [
    Pair("rebuild", ("yank",)),
    Pair("rebuild", ("rebuild",), watched=False),
    Pair("rebuild", ("rebuild", "unyank")),
    Pair("remove", ("yank",)),
    Pair("remove", ("rebuild",)),
    Pair("yank", ("unyank", "watch once")),
    Pair("unyank", ("backup",)),
    Pair("status-set", ("watch once",), watched=False),
    Pair("backup", ("yank", "remove")),
    Pair("watch once", ("yank",)),
    Pair("watch once", ("watch once", "remove"), watched=False),
    Pair("watch once", ("rebuild",), watched=False),
    Pair("restore", ("yank",), watched=False),
    Pair("restore", ("watch once",), watched=False),
    Pair("follow", ("yank", "rebuild"), watched=False),
    Pair("follow", ("remove", "unyank"), watched=False),
]

VERBS: dict[str, Callable[[random.Random], Argv]] = {
    "rebuild": lambda dice: ("rebuild",),
    "backup": lambda dice: ("backup",),
    "watch once": lambda dice: ("watch", "--once"),
    "follow": lambda dice: ("watch",),
    "restore": lambda dice: ("restore", "COPY"),
    "remove": lambda dice: ("remove", f"r{dice.randrange(30)}==1.0"),
    "yank": lambda dice: ("yank", f"{dice.choice(DECIDED)}==1.0", "--reason", str(dice.random())),
    "unyank": lambda dice: ("unyank", f"{dice.choice(DECIDED)}==1.0"),
    "status-set": lambda dice: ("status-set", dice.choice(DECIDED), "deprecated"),
}


@dataclass
class Story:
    """Course of a test on a bench, and the decisions that may hold."""

    bench: Bench
    dice: random.Random
    kills: dict[str, list[Call]]
    before: Memory
    yanks: dict[str, set[str | None]] = field(default_factory=dict)
    watcher: Running | None = None
    acknowledged: set[str] = field(default_factory=set)  # reasons of yanks, all different
    killed: int = 0

    def start(self, kind: str, killed: bool) -> Running:
        argv: list[str | Path] = list(VERBS[kind](self.dice))
        argv = [self.bench.root / "copy.sqlite" if each == "COPY" else each for each in argv]
        strace = killing(self.dice.choice(self.kills[kind])) if killed else None
        whole = self.bench.argv(str(argv[0]), *argv[1:])
        return self.bench.commands.start(*whole, strace=strace)

    def note(self, together: Sequence[Ended]) -> None:
        """Record concurrent decisions: any may hold; the earlier one if none was acknowledged."""
        made: dict[str, list[tuple[str | None, bool]]] = {}
        for ended in together:
            verb, *more = ended.argv
            if verb in ("yank", "unyank"):
                reason = more[2] if verb == "yank" else None
                made.setdefault(more[0].partition("==")[0], []).append((reason, ended.code == 0))
        for name, decisions in made.items():
            before = self.yanks.get(name, {None})
            kept = set() if any(sure for _, sure in decisions) else before
            self.yanks[name] = kept | {reason for reason, _ in decisions}
            self.acknowledged |= {reason for reason, sure in decisions if sure and reason}

    def round(self, pair: Pair) -> None:
        for _ in range(self.dice.randrange(1, 4)):
            disturb(self.bench, self.dice)
        running = [self.start(pair.killed, killed=True)]
        running += [self.start(kind, killed=False) for kind in pair.beside]
        for _ in range(self.dice.randrange(3)):
            disturb(self.bench, self.dice)
        together = []
        for number, each in reversed(list(enumerate(running))):
            is_stopped = number == 0 and pair.killed == "follow"
            if is_stopped:
                os.kill(each.pid, signal.SIGTERM)
            ended = each.wait()
            together.append(ended)
            self.killed += ended.was_killed
            assert "Traceback" not in ended.err, f"{ended}"
            absent = ended.argv[0] == "remove" and ": project '" in ended.err
            early = is_stopped and ended.code == -signal.SIGTERM  # before it had a handler
            killed = number == 0 and ended.was_killed
            assert ended.code == 0 or absent or early or killed, f"{ended}"
        self.note(together)

    def check(self, pair: Pair) -> None:
        """Stop the watcher, recover, and check all copies of the decisions."""
        self.stop()
        self.bench.recover()
        self.before = check(self.bench, self.before)
        log = decisionlog.read(self.bench.lab.spec.state)
        assert not log.problems, log.problems
        held = log.decisions().holding().yanks
        assert {filename: why for (_, filename), why in held.items()} == self.before.yanks
        if "restore" not in (pair.killed, *pair.beside):  # it undoes later decisions
            logged = {line["detail"] for line in log.lines if line["action"] == "yanked"}
            assert self.acknowledged <= logged, f"not logged: {self.acknowledged - logged}"
            for name, allowed in self.yanks.items():
                reason = self.before.yanks.get(f"{name}-1.0-py2.py3-none-any.whl")
                assert reason in allowed, f"{name} is yanked for {reason}, not for one of {allowed}"

    def follow(self) -> None:
        """Run a watcher from now on."""
        self.watcher = self.bench.commands.start(*self.bench.argv("watch"))
        eventually(lambda: is_watched(self.bench.lab.spec))

    def stop(self) -> None:
        if self.watcher is not None:
            os.kill(self.watcher.pid, signal.SIGTERM)
            assert_success(self.watcher.wait())
            self.watcher = None


def disturb(bench: Bench, dice: random.Random) -> None:
    """Change package files in a way that does not concern decisions."""
    packages, away = bench.lab.packages, bench.root / "away"
    directories = [packages, *(packages / name for name in ("one", "two", "three"))]
    files = [path for directory in directories for path in directory.glob("q*")]
    action = dice.choice(["add", "add", "replace", "move", "link", "delete", "rename", "out"])
    target = dice.choice(directories)
    target.mkdir(exist_ok=True)
    if action == "add" or not files:
        make = dice.choice([make_wheel, make_sdist])
        _write(make, target, f"q{dice.randrange(9)}", f"1.{dice.randrange(9)}", dice)
        return
    file = dice.choice(files)
    if action == "replace":
        name, version = file.name.split("-")[:2]
        make = make_wheel if file.suffix == ".whl" else make_sdist
        _write(make, file.parent, name, version.removesuffix(".tar.gz"), dice)
    elif action == "move":
        file.rename(target / file.name)
    elif action == "link" and not (target / file.name).exists():
        (target / file.name).hardlink_to(file)
    elif action == "delete":
        file.unlink()
    elif action == "rename" and target != packages:
        target.rename(other := packages / "other")
        other.rename(target)
    elif action == "out" and target != packages:
        if away.exists():
            shutil.copytree(away, target, dirs_exist_ok=True, copy_function=_put_back)
            shutil.rmtree(away)
        else:
            target.rename(away)


def _put_back(source: str, target: str) -> None:
    """Copy a file to a path where another link to it may exist."""
    Path(target).unlink(missing_ok=True)
    shutil.copy2(source, target)


def _write(
    make: Callable[..., Path], directory: Path, name: str, version: str, dice: random.Random
) -> None:
    """Write a file elsewhere and rename it to its path, so that it is complete with a new inode."""
    apart = directory.parent.parent / "apart"
    apart.mkdir(exist_ok=True)
    made = make(apart, name, version, summary=str(dice.random()))
    made.rename(directory / made.name)


@pytest.fixture(scope="module")
def kills(workplaces: list[Bench]) -> dict[str, list[Call]]:
    """Calls of each command that change something, at which it can be killed."""
    by_command: dict[str, list[Call]] = {}
    bench = workplaces[0]
    for each in workplaces:
        each.furnished()
        for number in range(30):
            make_wheel(each.lab.packages, f"r{number}", "1.0")
        assert_success(each.run("watch", "--once"))
        assert_success(each.run("backup"))
        (copy,) = each.lab.spec.backup.directory.glob("*.sqlite")
        copy.rename(each.root / "copy.sqlite")
        each.save("beside")
    for kind, argv in VERBS.items():
        if kind == "follow":
            by_command[kind] = by_command["watch once"]
            continue
        bench.reset("beside")
        _write(make_wheel, bench.lab.packages, "q1", "1.0", random.Random(1))
        arguments = [
            bench.root / "copy.sqlite" if w == "COPY" else w for w in argv(random.Random(1))
        ]
        trace = bench.root / "trace"
        assert_success(
            bench.run(str(arguments[0]), *arguments[1:], strace=tracing(MUTATING, trace))
        )
        by_command[kind] = calls(trace, bench.root, changing=True)
    return by_command


@pytest.mark.integration
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_concurrent_commands_survive_kill(
    workplaces: list[Bench], kills: dict[str, list[Call]], pair: Pair
) -> None:
    """Commands next to a killed one succeed, and all copies agree after a recovery."""

    def tell(bench: Bench, seed: int) -> int:
        bench.reset("beside")
        shutil.rmtree(bench.root / "away", ignore_errors=True)
        story = Story(bench, random.Random(f"{pair} {seed}"), kills, bench.remembered())
        try:
            for _ in range(CHECKS):
                if pair.watched:
                    story.follow()
                for _ in range(BETWEEN_CHECKS):
                    story.round(pair)
                story.check(pair)
        finally:
            story.stop()
        return story.killed

    seeds = range(STORIES)
    results = on_all(workplaces, seeds, tell)
    assert not (failures := describe_failures(seeds, results)), failures
