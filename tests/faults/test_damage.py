"""A hundred catalogs damaged at random: `pyindex rebuild` restores files, decisions and serials."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.labs import Bench, Memory, assert_success, describe_failures, on_all
from tests.wholeness import agree

_PAGE = 4096


def flip(content: bytearray, dice: random.Random) -> None:
    """Flip single bits, as bad memory does."""
    for _ in range(dice.randrange(1, 40)):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)


def flip_text(content: bytearray, dice: random.Random) -> None:
    """Change bytes so that text is not UTF-8, but not in the header and the schema."""
    for _ in range(dice.randrange(20, 200)):
        content[dice.randrange(_PAGE, len(content))] |= 0x80


def zero(content: bytearray, dice: random.Random) -> None:
    """Zero pages, as a disk does that loses a write."""
    for _ in range(dice.randrange(1, 5)):
        start = _PAGE * dice.randrange(len(content) // _PAGE)
        content[start : start + _PAGE] = bytes(_PAGE)


def scramble(content: bytearray, dice: random.Random) -> None:
    """Overwrite pages with noise."""
    for _ in range(dice.randrange(1, 4)):
        start = _PAGE * dice.randrange(len(content) // _PAGE)
        content[start : start + _PAGE] = dice.randbytes(_PAGE)


def swap(content: bytearray, dice: random.Random) -> None:
    """Exchange two pages."""
    one, two = (_PAGE * dice.randrange(1, len(content) // _PAGE) for _ in range(2))
    first, second = content[one : one + _PAGE], content[two : two + _PAGE]
    content[one : one + _PAGE], content[two : two + _PAGE] = second, first


def truncate(content: bytearray, dice: random.Random) -> None:
    """Cut off the end, or everything."""
    del content[dice.choice([0, dice.randrange(len(content)), dice.randrange(len(content))]) :]


def behead(content: bytearray, dice: random.Random) -> None:
    """Overwrite the header with noise, and perhaps the schema."""
    length = dice.choice([16, 100, _PAGE])
    content[:length] = dice.randbytes(length)


@dataclass(frozen=True)
class Damage:
    """Kind of damage to the catalog or its write-ahead log, done ``count`` times."""

    spoil: Callable[[bytearray, random.Random], None]
    count: int
    file: str = "catalog.sqlite"

    def __str__(self) -> str:
        return f"{self.spoil.__name__} {self.file}"


DAMAGES = [
    Damage(flip, 8),
    Damage(flip_text, 8),
    Damage(zero, 8),
    Damage(scramble, 8),
    Damage(swap, 6),
    Damage(truncate, 6),
    Damage(behead, 4),
    *(Damage(spoil, 4, "catalog.sqlite-wal") for spoil in (flip, zero, truncate)),
]


@dataclass
class Outcome:
    """Failures of a kind of damage, one line for each kind of failure."""

    files: str = ""
    decisions: str = ""
    serials: str = ""


@dataclass
class Rebuilds:
    """Cache of outcomes: each kind is run once and checked by three tests."""

    benches: list[Bench]
    before: Memory
    known: dict[Damage, Outcome] = field(default_factory=dict)

    def outcome(self, damage: Damage) -> Outcome:
        if damage not in self.known:
            self.known[damage] = self._try(damage)
        return self.known[damage]

    def _try(self, damage: Damage) -> Outcome:
        seeds = range(damage.count)

        def rebuild(bench: Bench, seed: int) -> Memory:
            bench.reset("damaged")
            path = bench.lab.spec.state / damage.file
            content = bytearray(path.read_bytes())
            damage.spoil(content, random.Random(f"{damage} {seed}"))
            path.write_bytes(content)
            assert_success(bench.run("rebuild"))
            agree(bench.lab)
            return bench.remembered()

        results = on_all(self.benches, seeds, rebuild)
        return Outcome(
            describe_failures(seeds, results),
            describe_failures(seeds, [_decided(result, self.before) for result in results]),
            describe_failures(seeds, [_run_on(result, self.before) for result in results]),
        )


def _decided(outcome: object, before: Memory) -> object:
    if not isinstance(outcome, Memory):
        return None  # reported with the files
    lost = [name for name in before.yanks if outcome.yanks.get(name) != before.yanks[name]]
    lost += [
        name for name in before.statuses if outcome.statuses.get(name) != before.statuses[name]
    ]
    return AssertionError("decisions are lost") if lost else None


def _run_on(outcome: object, before: Memory) -> object:
    if not isinstance(outcome, Memory):
        return None
    ran = outcome.serial >= before.serial and all(
        int(serial) >= int(before.pages.get(name, "0")) for name, serial in outcome.pages.items()
    )
    return None if ran else AssertionError("serials ran back")


@pytest.fixture(scope="module")
def rebuilds(workplaces: list[Bench]) -> Rebuilds:
    """Benches with a catalog of many decisions, some of them in its write-ahead log."""
    for bench in workplaces:
        bench.furnished()
        for number in range(3, 7):
            assert_success(bench.run("yank", f"p{number}==1.0", "--reason", f"reason {number}"))
        assert_success(bench.run("status-set", "p5", "deprecated", "--reason", "café"))
        leave_log(bench)
        bench.save("damaged")
    return Rebuilds(workplaces, workplaces[0].remembered())


def leave_log(bench: Bench) -> None:
    """Decide during a read, so that SQLite leaves the decision in the write-ahead log."""
    catalog = bench.lab.spec.catalog
    log = catalog.with_name(f"{catalog.name}-wal")
    with closing(sqlite3.connect(catalog, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM journal").fetchall()
        assert_success(bench.run("yank", "p7==1.0", "--reason", "in the log"))
        kept = [shutil.copy2(file, bench.root / file.name) for file in (catalog, log)]
    for path in kept:
        shutil.move(path, catalog.with_name(Path(path).name))
    assert log.stat().st_size > 0


@pytest.mark.integration
@pytest.mark.parametrize("damage", DAMAGES, ids=str)
class TestRebuild:
    """Result of `pyindex rebuild` on a damaged catalog."""

    def test_rebuild_restores_files(self, rebuilds: Rebuilds, damage: Damage) -> None:
        """The command exits with 0, and packages directory, catalog and pages agree."""
        assert not (failures := rebuilds.outcome(damage).files), failures

    def test_rebuild_restores_decisions(self, rebuilds: Rebuilds, damage: Damage) -> None:
        """The command restores yanks and statuses with their reasons."""
        assert not (failures := rebuilds.outcome(damage).decisions), failures

    def test_rebuild_continues_serials(self, rebuilds: Rebuilds, damage: Damage) -> None:
        """The command continues the serials, and no page shows a lower one."""
        assert not (failures := rebuilds.outcome(damage).serials), failures
