"""The links by digest of an appliance that stands in for another index (``nginx.stand_in``), when
the command that changes them is killed or its calls fail."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from appliance import spec
from appliance.site.digests import digest_links
from appliance.site.tree import Site
from tests.dist import make_wheel
from tests.faults.commands import MUTATING, Call, Ended, calls, failing, killing, spread, tracing
from tests.faults.labs import Bench, assert_success, benches, describe_failures, on_all
from tests.faults.test_errors import Fault, explained

pytestmark = pytest.mark.integration
KILLS, ONCE, LASTING = 26, 3, 1
FAULTS = [
    *(Fault("EIO", name) for name in ("symlink", "unlink", "rename", "readlink", "rmdir")),
    *(Fault("ENOSPC", name) for name in ("symlink", "mkdir", "rename")),
    *(Fault("EROFS", name) for name in ("symlink", "unlink", "rmdir")),
]


class StandIn(Bench):
    """A bench whose spec has ``nginx.stand_in``."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.root / "stand-in", bench.commands)
        path = self.root / "pyindex.yml"
        path.write_text(
            "url: https://pypi.lab.example\nstate: state\nindexes: {main: {packages: packages}}\n"
            "nginx: {tls: {certificate: c.pem, key: k.pem}, stand_in: [index.example]}\n"
        )
        self.lab.spec = spec.load(path)

    def once(self, strace: Sequence[str] | None = None) -> Ended:
        """Update once."""
        path = self.root / "pyindex.yml"
        return self.commands.run("watch", "--once", "-c", path, strace=strace)


@pytest.fixture(scope="module")
def standing_in(strace: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[StandIn]]:
    """Benches with links for some files, and with changes that are not published yet."""
    with benches(tmp_path_factory.mktemp("links")) as ready:
        made = []
        for each in ready:
            (each.root / "stand-in").mkdir()
            made.append(bench := StandIn(each))
            packages = bench.lab.packages
            for number in range(5):
                make_wheel(packages, f"p{number}", "1.0")
            assert_success(bench.once())
            check(bench)
            (packages / "p0-1.0-py2.py3-none-any.whl").unlink()
            (packages / "p1-1.0-py2.py3-none-any.whl").unlink()
            os.utime(make_wheel(packages, "p1", "1.0", summary="other bytes"), (1, 1))
            (packages / "sub").mkdir()
            wheel = packages / "p2-1.0-py2.py3-none-any.whl"
            wheel.rename(packages / "sub" / wheel.name)
            make_wheel(packages, "p9", "1.0")
            bench.save("changed")
        yield made


def safe(bench: StandIn) -> None:
    """Check that no link leads to a marker that names another one: of other bytes at its path."""
    (links,) = digest_links(Site(bench.lab.spec)).values()
    assert not list(links.strays())


def check(bench: StandIn) -> None:
    """Check that each file has its link, and that there are no others."""
    (links,) = digest_links(Site(bench.lab.spec)).values()
    with bench.lab.catalog.read() as reader:
        files = reader.offered(bench.lab.index, limit=1000)
    assert all(links.has(file) for file in files)
    assert sorted(_links(bench)) == sorted(file.digest_path for file in files)
    assert not list(links.strays())


def _links(bench: StandIn) -> list[str]:
    top = Path(Site(bench.lab.spec).digests(bench.lab.index))
    return [str(path.relative_to(top)) for path in top.rglob("*") if path.is_symlink()]


def recorded(bench: StandIn, names: str, changing: bool) -> list[Call]:
    """Return the calls of an undisturbed run."""
    bench.reset("changed")
    trace = bench.root / "trace"
    assert_success(bench.once(tracing(names, trace)))
    check(bench)
    return calls(trace, bench.root, changing)


def test_links_are_right_after_a_kill(standing_in: list[StandIn]) -> None:
    """After a kill at any change no link leads to other bytes; the next run has them all."""
    candidates = recorded(standing_in[0], f"{MUTATING},symlink", changing=True)
    chosen = spread(candidates, KILLS, seed=2026)

    def kill(bench: Bench, call: Call) -> bool:
        assert isinstance(bench, StandIn)
        bench.reset("changed")
        ended = bench.once(killing(call))
        safe(bench)
        assert_success(bench.once())
        check(bench)
        return ended.was_killed

    results = on_all(standing_in, chosen, kill)
    assert not (failures := describe_failures(chosen, results)), (
        f"of {len(candidates)} calls: {failures}"
    )
    assert results.count(True) >= len(chosen) * 0.8


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_failing_call_leaves_right_links(standing_in: list[StandIn], fault: Fault) -> None:
    """After a failing call no link leads to other bytes; the next run has them all."""
    candidates = recorded(standing_in[0], fault.names, changing=False)
    assert candidates
    chosen = [str(call.number) for call in spread(candidates, ONCE, seed=1)]
    chosen += [f"{call.number}+" for call in spread(candidates, LASTING, seed=2)]

    def fail(bench: Bench, when: str) -> None:
        assert isinstance(bench, StandIn)
        bench.reset("changed")
        ended = bench.once(failing(fault.names, fault.error, when))
        explained(ended, fault)
        safe(bench)
        assert_success(bench.once())
        check(bench)

    results = on_all(standing_in, chosen, fail)
    assert not (failures := describe_failures(chosen, results)), (
        f"of {len(candidates)} calls: {failures}"
    )
