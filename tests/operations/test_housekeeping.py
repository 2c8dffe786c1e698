"""Daily jobs that do not succeed, and disks that fill, are problems of the index."""

import json
import os
import time
from pathlib import Path

import pytest

from appliance.operations import housekeeping
from appliance.operations.backup import backup
from appliance.operations.health import health
from appliance.operations.housekeeping import begin, housekeeping_problems
from appliance.operations.prune import prune
from appliance.spec import Host, Server, Spec
from tests.conftest import Lab

DAY = 86_400


def on_host(lab: Lab, manager: str = "systemd") -> Spec:
    server = Server(manager="supervisor" if manager == "supervisor" else "systemd")
    return lab.spec.model_copy(update={"host": Host(system="debian-12"), "server": server})


def record(lab: Lab, **fields: object) -> None:
    """Write the record of an earlier day; times are days before now."""
    now = time.time()
    times = {name: now - DAY * float(str(fields.get(name, 0))) for name in ("since",)}
    for name in ("backup", "gc"):
        days = fields.get(name)
        times[name] = 0.0 if days is None else now - DAY * float(str(days))
    free = {
        path: [(now - DAY * days, size) for days, size in samples]
        for path, samples in dict(fields.get("free", {})).items()  # type: ignore[call-overload]
    }
    lab.spec.state.mkdir(exist_ok=True)
    text = json.dumps({**times, "free": free})
    (lab.spec.state / "housekeeping.json").write_text(text)


def test_first_gc_begins_the_record(lab: Lab) -> None:
    """A host whose first recorded job is gc, as after an update, has no overdue backup."""
    spec = on_host(lab)
    lab.once()
    list(prune(spec))
    assert list(housekeeping_problems(spec)) == []


JOBS: dict[str, tuple[dict[str, float], list[str]]] = {
    "a new host": ({"since": 1}, []),
    "both last night": ({"since": 900, "backup": 0.5, "gc": 0.5}, []),
    "a weekend": ({"since": 900, "backup": 2.5, "gc": 2.5}, []),
    "never": ({"since": 4}, ["no `pyindex backup` succeeded yet", "no `pyindex gc` succeeded yet"]),
    "no backup": ({"since": 900, "backup": 3.5, "gc": 1}, ["no `pyindex backup` succeeded since "]),
    "no gc": ({"since": 900, "backup": 1, "gc": 3.5}, ["no `pyindex gc` succeeded since "]),
    "a clock that was ahead": (
        {"since": 900, "backup": -3650, "gc": 0},
        ["no `pyindex backup` succeeded since 20"],
    ),
}


@pytest.mark.parametrize("case", JOBS)
@pytest.mark.parametrize("manager", ["systemd", "supervisor"])
def test_job_without_success_is_reported(lab: Lab, case: str, manager: str) -> None:
    """A job that has not succeeded for three days is a problem, with where to read why."""
    times, expected = JOBS[case]
    record(lab, **times)
    found = list(housekeeping_problems(on_host(lab, manager)))
    assert len(found) == len(expected)
    where = {"systemd": "journalctl -u pyindex-backup", "supervisor": "root's mail from cron"}
    for text, start in zip(found, expected, strict=True):
        assert text.startswith(start)
        assert text.endswith(f"; read {where[manager]}")
    assert not list(housekeeping_problems(lab.spec))  # no host, no daily job


GB = 10**9
DISKS: dict[str, tuple[list[tuple[float, int]], str | None]] = {
    "no change": ([(29, 50 * GB), (0, 50 * GB)], None),
    "more than before": ([(29, 50 * GB), (0, 60 * GB)], None),
    "a year left": ([(20, 100 * GB), (0, 95 * GB)], None),
    "31 days left": ([(31, 62 * GB), (0, 31 * GB)], None),
    "20 days left": ([(10, 30 * GB), (0, 20 * GB)], "20.0 GB free, full in about 20 days"),
    "full": ([(10, 30 * GB), (0, 0)], "0.0 GB free, full in about 0 days"),
    "too few days to tell": ([(6, 30 * GB), (0, 20 * GB)], None),
    "one sample": ([(0, 20 * GB)], None),
    "no sample": ([], None),
}


@pytest.mark.parametrize("case", DISKS)
def test_disk_that_fills_is_reported(lab: Lab, case: str) -> None:
    """A disk that is full within 30 days at its pace is a problem, on any machine that runs gc."""
    samples, expected = DISKS[case]
    record(lab, free={"/srv/packages": samples})
    found = list(housekeeping_problems(lab.spec))
    assert [text.partition(" at the pace")[0] for text in found] == (
        [f"/srv/packages: {expected}"] if expected else []
    )


def test_jobs_record_their_success(lab: Lab) -> None:
    """`backup` and `gc` record that they have succeeded; gc also the free space, once a disk."""
    lab.once()
    spec = on_host(lab)
    record(lab, since=900, backup=9, gc=9)
    assert len(list(housekeeping_problems(spec))) == 2
    backup(spec)
    assert [text[:15] for text in housekeeping_problems(spec)] == ["no `pyindex gc`"]
    list(prune(spec, dry_run=True))
    assert len(list(housekeeping_problems(spec))) == 1
    list(prune(spec))
    assert not list(housekeeping_problems(spec))
    written = json.loads((spec.state / "housekeeping.json").read_text())
    assert next(iter(written["free"])) == str(spec.state)
    devices = [Path(path).stat().st_dev for path in written["free"]]
    assert len(devices) == len(set(devices))
    assert "no `pyindex" not in str(health(spec, lab.catalog).problems)


def test_samples_are_limited_and_forget_the_future(lab: Lab) -> None:
    """A month of samples stays; those of a clock that was ahead do not."""
    lab.once()
    state = str(lab.spec.state)
    record(lab, free={state: [*((40 - day, GB) for day in range(40)), (-900, GB)]})
    list(prune(lab.spec))
    samples = json.loads((lab.spec.state / "housekeeping.json").read_text())["free"][state]
    assert len(samples) == housekeeping._SAMPLES
    assert samples[-1][0] <= time.time()


DAMAGED = ["", "[]", "{}", '{"free": 3}', '{"since": "x", "free": {}}', "[" * 100_000]
DAMAGED += ['{"since": 1, "backup": 1e300, "gc": 1, "free": {}}']
DAMAGED += ['{"since": 1, "backup": 1, "gc": 1, "free": {"/": [[1, 1e999]]}}']


@pytest.mark.parametrize("text", DAMAGED)
def test_unreadable_record_starts_again(lab: Lab, text: str) -> None:
    """A record that was damaged is no problem, and the next job replaces it."""
    lab.once()
    path = lab.spec.state / "housekeeping.json"
    path.write_text(text)
    assert not list(housekeeping_problems(on_host(lab)))
    list(prune(lab.spec))
    assert json.loads(path.read_text())["gc"] > 0


def test_watcher_begins_the_record(lab: Lab) -> None:
    """The first start begins the three days, and a later one does not."""
    with lab.watched():
        pass
    path = lab.spec.state / "housekeeping.json"
    begun = path.read_bytes()
    os.utime(path, (1, 1))
    begin(lab.spec)
    assert (path.read_bytes(), path.stat().st_mtime) == (begun, 1)
