"""kill -9 during a yank, a restore, a rebuild: acknowledged changes survive, even if the catalog is
lost afterwards; others are complete or absent."""

import multiprocessing
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog
from appliance.index.model import Decisions
from appliance.operations import decisions
from appliance.operations.backup import backup
from appliance.operations.opening import open_catalog
from appliance.operations.rebuild import rebuild
from appliance.operations.restore import restore
from appliance.operations.update import update
from appliance.spec import Spec
from tests.conftest import Lab, eventually
from tests.dist import make_wheel
from tests.operations.damages import DAMAGES, lose, state_of

pytestmark = pytest.mark.integration

NAMES = [f"p{number}-1.0-py2.py3-none-any.whl" for number in range(6)]


@pytest.fixture
def six(lab: Lab) -> Lab:
    """An index of six files."""
    for number in range(6):
        make_wheel(lab.packages, f"p{number}", "1.0")
    lab.once()
    return lab


def killed(target: Callable[[], object], seconds: float) -> bool:
    """Run ``target`` in a process, and kill it after some time; returns whether it had ended."""
    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode == 0


def took(target: Callable[[], object]) -> float:
    start = time.monotonic()
    assert killed(target, 600)
    return time.monotonic() - start


def held(spec: Spec) -> Decisions:
    with Catalog(spec.catalog).read() as reader:
        return reader.decisions()


def test_decisions_survive_kill_and_lost_catalog(six: Lab, tmp_path: Path) -> None:
    """Acknowledged decisions survive the kills of forty processes, and the loss of the catalog
    after every second one."""
    dice = random.Random(17)
    told = tmp_path / "told"

    def yank(first: int) -> None:
        with told.open("w", buffering=1) as file:
            for number in range(first, first + 10_000):
                decisions.yank(six.spec, six.index, NAMES[number % 6], str(number))
                file.write(f"{number}\n")

    expected: dict[str, str] = {}
    for _ in range(40):
        first = 10_000 * dice.randrange(1, 1000)
        told.write_text("")
        process = multiprocessing.get_context("fork").Process(target=yank, args=(first,))
        process.start()
        if dice.random() < 0.8:  # else before the first is acknowledged, or soon after
            eventually(told.read_text)
        time.sleep(dice.random() * 0.2)
        process.kill()
        process.join()
        numbers = [int(line) for line in told.read_text().splitlines()]
        expected |= {NAMES[number % 6]: str(number) for number in numbers}
        if dice.random() < 0.5:
            lose(six.spec.catalog)
        open_catalog(six.spec, create=True)
        now = {filename: reason for (_, filename), reason in held(six.spec).yanks.items()}
        pending = numbers[-1] + 1 if numbers else first
        allowed = expected | {NAMES[pending % 6]: str(pending)}
        assert now in (expected, allowed)
        expected = {name: reason for name, reason in now.items() if reason is not None}
        log = decisionlog.read(six.spec.state)
        assert log.problems == []
        assert log.decisions().holding() == held(six.spec)
        six.once()


def test_killed_restore_is_complete_or_absent(six: Lab, tmp_path: Path) -> None:
    """After a killed restore the catalog is the old one or the backup, and no serial is lower."""
    dice = random.Random(16)
    for name in NAMES[:3]:
        decisions.yank(six.spec, six.index, name, "then")
    copy = backup(six.spec)
    shutil.copy(copy, tmp_path / "copy")
    then = held(six.spec)
    for name in NAMES[2:]:
        decisions.yank(six.spec, six.index, name, "now")
    decisions.set_status(six.spec, six.index, "p0", "archived", None)
    now = held(six.spec)
    last = six.journal()[-1].serial
    whole, sides = 0.0, set()
    for number in range(27):
        state = tmp_path / "states" / str(number)
        shutil.copytree(six.spec.state, state, symlinks=True)
        spec = six.spec.model_copy(update={"state": state})

        def put_back(spec: Spec = spec) -> None:
            list(restore(spec, tmp_path / "copy"))

        if number == 0:
            whole = took(put_back)
            continue
        ended = killed(put_back, dice.random() * whole * 1.2)
        if number % 2:
            lose(spec.catalog)
        update(spec)
        found = held(spec)
        assert found in (([then]) if ended else [then, now])
        sides.add(found == then)
        with Catalog(spec.catalog).read() as reader:
            assert reader.serial() >= last
        shutil.rmtree(state)
    assert sides == {True, False}


def test_killed_rebuild_can_be_repeated(six: Lab, tmp_path: Path) -> None:
    """A rebuild after a killed one repairs everything."""
    dice = random.Random(15)
    for name in NAMES[:3]:
        decisions.yank(six.spec, six.index, name, "x")
    right = state_of(six.spec)
    whole = 0.0
    for number in range(33):
        state = tmp_path / "states" / str(number)
        shutil.copytree(six.spec.state, state, symlinks=True)
        spec = six.spec.model_copy(update={"state": state})
        DAMAGES[number % len(DAMAGES)](spec.catalog, random.Random(number))

        def repair(spec: Spec = spec) -> None:
            list(rebuild(spec))

        if number == 0:
            whole = took(repair)
            continue
        killed(repair, dice.random() * whole * 1.2)
        list(rebuild(spec))
        assert state_of(spec) == right
        Catalog(spec.catalog).check()
        shutil.rmtree(state)
