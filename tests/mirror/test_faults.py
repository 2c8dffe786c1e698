"""``pyindex mirror`` killed before a change, with failing calls, and on a full disk: what is in the
packages directory is whole, and the next run completes it."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import MUTATING, Ended, calls, failing, killing, spread, tracing
from tests.faults.labs import Bench, assert_success, benches, describe_failures, on_all
from tests.faults.test_errors import CATALOG
from tests.integration.servers import Server
from tests.wholeness import agree, digest, look

pytestmark = pytest.mark.integration
LIB, SOURCE = "lib-2.0-py2.py3-none-any.whl", "source-1.0.tar.gz"
WITHDRAWN = "withdrawn-1.0-py2.py3-none-any.whl"
WANTED = ["lib==2.0", "source==1.0", "withdrawn==1.0", "--no-deps"]
KILLS, ONCE, LASTING = 20, 3, 1
# Errors, and the calls that fail with them.
FAULTS = [
    *(("EIO", name) for name in ("openat", "read", "pwrite64", "fsync", "rename", "link")),
    *(("ENOSPC", name) for name in ("openat", "write", "pwrite64", "fsync", "mkdir", "link")),
    *(("EROFS", name) for name in ("openat", "unlink", "mkdir", "rename")),
]
MESSAGES = {
    "EIO": "Input/output error|disk I/O error|does not start",
    "ENOSPC": "No space left|free some (disk )?space",
    "EROFS": "Read-only file system|readonly database|unable to open",
}


@pytest.fixture(scope="module")
def workplaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Bench]]:
    """Benches, each with an empty index; skips where processes cannot be traced."""
    tried = subprocess.run(["strace", "true"], check=False, capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"strace true: {tried.stderr.strip()}")
    with benches(tmp_path_factory.mktemp("mirrors")) as ready:
        for bench in ready:
            assert_success(bench.run("watch", "--once"))
            bench.save("empty")
        yield ready


def command(upstream: Server) -> list[str]:
    target = ["--target", "cp312-manylinux_2_28_x86_64"]
    return ["mirror", *WANTED, *target, "--index-url", f"{upstream.url}/simple/"]


def check_parts(bench: Bench, upstream: Server) -> None:
    """Check that each file is whole, and that pages list no others."""
    look(bench.lab)
    for path in bench.lab.packages.glob("[!.]*"):
        assert digest(path.read_bytes()) == digest((upstream.packages / path.name).read_bytes())


def check_complete(bench: Bench, upstream: Server) -> None:
    """Run the command again, and check that it has done everything."""
    assert_success(bench.run(*command(upstream)))
    check_parts(bench, upstream)
    agree(bench.lab)
    assert {path.name for path in bench.lab.packages.iterdir()} == {LIB, SOURCE, WITHDRAWN}
    (withdrawn,) = (bench.lab.page("withdrawn") or {})["files"]
    assert withdrawn["yanked"]
    assert not list(bench.lab.spec.state.glob("mirror-yanks-*"))


def test_killed_mirror_is_completed_by_the_next(workplaces: list[Bench], upstream: Server) -> None:
    """After a kill at any change all files are whole, and the next run completes them, with
    yanks."""
    first, trace = workplaces[0], workplaces[0].root / "trace"
    first.reset("empty")
    assert_success(first.run(*command(upstream), strace=tracing(MUTATING, trace)))
    candidates = calls(trace, first.root, changing=True)
    chosen = spread(candidates, KILLS, seed=2026)

    def kill(bench: Bench, call: object) -> bool:
        bench.reset("empty")
        ended = bench.run(*command(upstream), strace=killing(call))  # type: ignore[arg-type]
        check_parts(bench, upstream)
        check_complete(bench, upstream)
        return ended.was_killed

    results = on_all(workplaces, chosen, kill)
    assert not (failures := describe_failures(chosen, results)), (
        f"of {len(candidates)} calls: {failures}"
    )
    assert results.count(True) >= len(chosen) * 0.5  # threads take calls from one another


@pytest.mark.parametrize(("error", "name"), FAULTS, ids=[f"{e} {n}" for e, n in FAULTS])
def test_failing_call_of_mirror_is_reported(
    error: str, name: str, workplaces: list[Bench], upstream: Server
) -> None:
    """A failing call is reported and leaves whole files; the next run completes them."""
    first, trace = workplaces[0], workplaces[0].root / "trace"
    first.reset("empty")
    assert_success(first.run(*command(upstream), strace=tracing(name, trace)))
    candidates = [call for call in calls(trace, first.root, changing=False) if call.name == name]
    assert candidates
    chosen = [str(call.number) for call in spread(candidates, ONCE, seed=1)]
    if name != "write":  # otherwise it cannot write a message
        chosen += [f"{call.number}+" for call in spread(candidates, LASTING, seed=2)]

    def fail(bench: Bench, when: str) -> None:
        bench.reset("empty")
        ended = bench.run(*command(upstream), strace=failing(name, error, when))
        said = f"{MESSAGES[error]}|{CATALOG}"  # SQLite has its own texts
        check_reported(ended, said, is_silenced=name == "write")
        check_parts(bench, upstream)
        check_complete(bench, upstream)

    results = on_all(workplaces, chosen, fail)
    assert not (failures := describe_failures(chosen, results)), failures


def check_reported(ended: Ended, message: str, is_silenced: bool = False) -> None:
    assert "Traceback" not in ended.err, f"{ended}"
    assert ended.code in (0, 1), f"{ended}"
    said = re.search(message, ended.err)
    assert ended.code == 0 or said or is_silenced, f"unexplained: {ended}"


@pytest.mark.parametrize("full", ["packages", "state"])
def test_full_disk_is_reported(
    full: str, workplaces: list[Bench], upstream: Server, small_disk: Path, tmp_path: Path
) -> None:
    """On a full disk the command says so and leaves whole files; with space it completes them."""
    bench = workplaces[0]
    places = {name: tmp_path / name for name in ("packages", "state")}
    places[full] = small_disk / full
    for each in places.values():
        each.mkdir()
    where = ["-d", str(places["packages"]), "--state", str(places["state"])]
    filler = small_disk / "filler"
    run = [*command(upstream), *where]
    assert_success(bench.commands.run("watch", "--once", places["packages"], *where[2:]))

    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(bytes(free - (4096 if full == "packages" else 16384)))
    ended = bench.commands.run(*run)
    assert ended.code == 1, f"{ended}"
    check_reported(ended, MESSAGES["ENOSPC"])
    for path in places["packages"].glob("[!.]*"):
        assert path.read_bytes() == (upstream.packages / path.name).read_bytes()

    filler.unlink()
    assert_success(bench.commands.run(*run))
    assert {path.name for path in places["packages"].iterdir()} == {LIB, SOURCE, WITHDRAWN}
