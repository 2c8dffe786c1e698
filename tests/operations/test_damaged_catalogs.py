"""Rebuild of a damaged catalog: what is readable is recovered."""

import multiprocessing
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.catalog.database import Catalog
from appliance.cli import main
from appliance.operations import decisions
from appliance.operations.rebuild import rebuild
from appliance.spec import Spec
from tests.conftest import Lab
from tests.dist import make_wheel
from tests.operations.damages import (
    DAMAGES,
    SDIST_1,
    WHEEL_1,
    WHEEL_2,
    flip,
    known,
    lose,
    spoil,
    state_of,
    yanked,
)

# --- a catalog that is damaged -----------------------------------------------------------------


def test_rebuild_of_damaged_catalog_reports_recovered_data(foo: Lab) -> None:
    """A damaged catalog is saved; decisions come from the log, and serials increase."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    before = foo.journal()
    spoil(foo.spec.catalog, "file")
    said = list(rebuild(foo.spec))
    assert "recovered 1 decision (yanks, statuses, owners) from the decision log" in said
    assert "recovered 0 files, 5 journal entries" in said
    assert not any("lost" in line for line in said)
    assert yanked(foo) == {WHEEL_1: "x", SDIST_1: False, WHEEL_2: False}
    assert foo.journal()[: len(before)] == before
    assert foo.journal()[len(before)].serial > before[-1].serial


def test_rebuild_without_log_recovers_decisions(foo: Lab) -> None:
    """Without a log, readable decisions of the damaged catalog are recovered."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    decisions.set_status(foo.spec, foo.index, "foo", "archived", None)
    (foo.spec.state / "decisions.jsonl").unlink()
    spoil(foo.spec.catalog, "journal")
    said = list(rebuild(foo.spec))
    source = "its readable rows (no decision log)"
    assert f"recovered 2 decisions (yanks, statuses, owners) from {source}" in said
    assert "lost journal entries: all" in said
    assert yanked(foo)[WHEEL_1] == "x"


def test_rebuild_keeps_upload_times_and_digests(foo: Lab) -> None:
    """Readable rows keep upload times, and digests by which changed bytes are recognized."""
    os.utime(foo.packages / WHEEL_1, (1, 1))
    foo.once()
    before = known(foo)
    assert before[WHEEL_1].upload_time > 1_000_000
    flip(foo.packages / WHEEL_2)
    spoil(foo.spec.catalog, "journal")
    list(rebuild(foo.spec))
    assert known(foo) == {path: before[path] for path in (SDIST_1, WHEEL_1)}
    assert list(foo.refused()) == [WHEEL_2]


def test_rebuild_replaces_file_that_is_no_database(foo: Lab) -> None:
    """If nothing is readable, facts come from the packages directory, and serials increase."""
    last = foo.journal()[-1].serial
    lose(foo.spec.catalog)
    foo.spec.catalog.write_bytes(b"no database at all" * 400)
    said = list(rebuild(foo.spec))
    assert any("saved as" in line for line in said)
    assert len(list(foo.spec.state.glob("catalog.sqlite.damaged-*"))) >= 1
    assert foo.files("foo") == [WHEEL_1, SDIST_1, WHEEL_2]
    assert foo.journal()[0].serial > last


def test_rebuild_corrects_decision_from_log(foo: Lab) -> None:
    """A decision with one damaged character in the catalog is corrected from the log."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    with closing(sqlite3.connect(foo.spec.catalog)) as connection:
        connection.execute("UPDATE yank SET filename = replace(filename, '1', '2')")
        connection.commit()
    assert "catalog different from the decision log: using the log's 1 decisions" in list(
        rebuild(foo.spec)
    )
    assert yanked(foo) == {WHEEL_1: "x", SDIST_1: False, WHEEL_2: False}


# Kinds of damage to a catalog by name; each is a function of the file and dice.


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """An index of forty files and a dozen decisions, whose catalog has dozens of pages."""
    lab = Lab(tmp_path_factory.mktemp("large"))
    for number in range(40):
        make_wheel(lab.packages, f"p{number % 8}", f"1.{number}", summary="x" * 300)
    lab.once()
    for number in range(10):
        what = f"p{number % 8}-1.{number}-py2.py3-none-any.whl"
        decisions.yank(lab.spec, lab.index, what, f"reason {number}")
    decisions.set_status(lab.spec, lab.index, "p7", "archived", "for good")
    with closing(sqlite3.connect(lab.spec.catalog)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return lab


SEEDS = [
    pytest.param(seed, marks=[pytest.mark.integration] if seed >= 2 * len(DAMAGES) else [])
    for seed in range(6 * len(DAMAGES))
]


@pytest.mark.parametrize("seed", SEEDS)
def test_rebuild_repairs_any_damage(
    large: Lab, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rebuild repairs any damage, with all files and all decisions."""
    state = tmp_path / "state"
    shutil.copytree(large.spec.state, state, symlinks=True)
    DAMAGES[seed % len(DAMAGES)](state / "catalog.sqlite", random.Random(seed))
    assert main(["rebuild", "-d", str(large.packages), "--state", str(state)]) == 0
    capsys.readouterr()
    spec = large.spec.model_copy(update={"state": state})
    there, here = state_of(large.spec), state_of(spec)
    assert here == there
    Catalog(spec.catalog).check()
    assert main(["verify", "-d", str(large.packages), "--state", str(state)]) == 0


def test_concurrent_rebuilds_wait_for_each_other(foo: Lab) -> None:
    """Two concurrent rebuilds run one after the other."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    spoil(foo.spec.catalog, "yank")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=lambda: list(rescue(foo.spec))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(list(foo.spec.state.glob("catalog.sqlite.damaged-*[0-9]"))) == 1
    foo.once()
    assert yanked(foo)[WHEEL_1] == "x"


def rescue(spec: Spec) -> Iterator[str]:
    """Run a rebuild up to the examination of files."""
    for line in rebuild(spec):
        yield line
        if line.startswith("recovered") and "journal" in line:
            return
