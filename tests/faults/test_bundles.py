"""``pyindex load`` and ``pyindex bundle`` killed before the Nth change, alone and beside a watcher:
all of a bundle is visible or nothing, and the next run finishes."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.operations.watchlock import is_watched
from tests.conftest import Lab, eventually
from tests.dist import make_sdist, make_wheel
from tests.faults.commands import MUTATING, Call, calls, killing, spread, tracing
from tests.faults.labs import Bench, assert_success, describe_failures, on_all
from tests.wholeness import agree, digest, look

NEW = {f"n{number}" for number in range(4)}
MANY, BESIDE = 16, 4


@contextmanager
def watcher(bench: Bench) -> Iterator[None]:
    """Run a watcher; check that it ends normally."""
    running = bench.commands.start(*bench.argv("watch"))
    try:
        eventually(lambda: is_watched(bench.lab.spec) and bench.lab.page_path("p0").exists())
        yield
    finally:
        os.kill(running.pid, signal.SIGTERM)
        assert_success(running.wait())


def prepare(bench: Bench) -> Path:
    """Save a far index as ``far``; return a bundle with four projects that it lacks."""
    bench.furnished()
    bench.save("far")
    stick = bench.root / "stick"
    if not stick.exists():
        stick.mkdir()
        (bench.root / "near").mkdir()
        near = Lab(bench.root / "near")
        for name in sorted(NEW):
            make_wheel(near.packages, name, "1.0")
        (near.packages / "deep").mkdir()
        sdist = make_sdist(near.packages / "deep", "n0", "2.0")
        sdist.with_name(f"{sdist.name}.asc").write_text("signature")
        source: list[str | Path] = ["-d", near.packages, "--state", near.spec.state]
        assert_success(bench.commands.run("watch", "--once", near.packages, *source[2:]))
        assert_success(bench.commands.run("yank", "n1==1.0", *source))
        assert_success(bench.commands.run("bundle", stick / "out.tar", *source))
    return stick / "out.tar"


def shown(bench: Bench) -> int:
    """Return how many of the new projects are visible, which must be all or none; in pages, in the
    list, and in the catalog."""
    simple = bench.lab.spec.www / "simple"
    projects = json.loads((simple / "index.json").read_bytes())["projects"]
    listed = NEW & {project["name"] for project in projects}
    pages = {name for name in NEW if (simple / name / "index.json").exists()}
    with bench.lab.catalog.read() as reader:
        known = set(reader.named(bench.lab.index, sorted(NEW)))
    assert pages in (set(), NEW), f"some pages are visible: {pages}"
    assert known in (set(), NEW), f"some projects are in the catalog: {known}"
    assert listed == pages, f"listed {listed}, with pages {pages}"
    return len(pages)


def check_loaded(bench: Bench) -> None:
    agree(bench.lab)
    assert shown(bench) == len(NEW)
    assert [file["yanked"] for file in (bench.lab.page("n1") or {})["files"]] == [True]
    assert not (bench.lab.spec.state / "loading.json").exists()
    assert not list(bench.lab.packages.glob(".pyindex-load-*"))
    receipts = list((bench.lab.spec.state / "receipts").glob("*.json"))
    assert len(receipts) == 1, receipts


def candidates(bench: Bench, out: Path) -> list[Call]:
    """Return the changing calls of an undisturbed load."""
    bench.reset("far")
    trace = bench.root / "trace"
    assert_success(bench.run("load", out, strace=tracing(MUTATING, trace)))
    check_loaded(bench)
    return calls(trace, bench.root, changing=True)


def check_kills(workplaces: list[Bench], count: int, is_watched: bool) -> None:
    """Kill loads at so many calls, and check each outcome."""
    bundles = {bench.root: prepare(bench) for bench in workplaces}
    first = workplaces[0]
    found = candidates(first, bundles[first.root])
    chosen = spread(found, count, seed=2026)

    def kill(bench: Bench, call: Call) -> bool:
        out = bundles[bench.root]
        bench.reset("far")
        if not is_watched:
            ended = bench.run("load", out, strace=killing(call))
            look(bench.lab)
            shown(bench)
            if call.number % 2:  # a watcher that starts, before the next load
                bench.recover()
                shown(bench)
            assert_success(bench.run("load", out))
            check_loaded(bench)
            return ended.was_killed

        with watcher(bench):
            ended = bench.run("load", out, strace=killing(call))
            shown(bench)
            make_wheel(bench.lab.packages, "p9", "1.0")
            eventually(lambda: bench.lab.files("p9"))
            shown(bench)
            assert_success(bench.run("load", out))
        bench.recover()
        check_loaded(bench)
        return ended.was_killed

    results = on_all(workplaces, chosen, kill)
    assert not (failures := describe_failures(chosen, results)), f"of {len(found)}: {failures}"
    assert any(results)  # beside a watcher a load makes fewer calls


@pytest.mark.integration
def test_killed_load_shows_all_or_nothing(workplaces: list[Bench]) -> None:
    """After a kill of a load, nothing of it is visible or all, and the next load finishes."""
    check_kills(workplaces, MANY, is_watched=False)


@pytest.mark.integration
def test_load_killed_beside_watcher_shows_all_or_nothing(workplaces: list[Bench]) -> None:
    """The same beside a running watcher, which goes on accepting other files."""
    check_kills(workplaces, BESIDE, is_watched=True)


@pytest.mark.integration
def test_killed_bundle_leaves_old_or_new(workplaces: list[Bench]) -> None:
    """After a kill of a bundle command its output is the former or the new one, and the next run
    gives the same bytes as one that was not killed."""

    def prepared(bench: Bench) -> tuple[Path, str]:
        bench.furnished()
        out = bench.root / "killed.tar"
        assert_success(bench.run("bundle", out))
        return out, digest(out.read_bytes())

    first = workplaces[0]
    out, _ = prepared(first)
    trace = first.root / "trace"
    assert_success(first.run("bundle", out, strace=tracing(MUTATING, trace)))
    chosen = spread(calls(trace, first.root, changing=True), 6, seed=2026)

    def kill(bench: Bench, call: Call) -> bool:
        out, expected = prepared(bench)
        ended = bench.run("bundle", out, strace=killing(call))
        assert digest(out.read_bytes()) == expected
        assert_success(bench.run("bundle", out))
        assert digest(out.read_bytes()) == expected
        assert not list(bench.root.glob(".killed*"))
        return ended.was_killed

    results = on_all(workplaces, chosen, kill)
    assert not (failures := describe_failures(chosen, results)), failures
    assert any(results)
