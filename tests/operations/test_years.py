"""Years of daily jobs, and a clock that is set forward and back: nothing grows without limit, and
what needs an operator is in /health."""

import getpass
import grp
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from appliance.render import files
from appliance.render.layout import LOGS
from tests.operations.years import IDLE, KEPT
from tests.render.specs import load

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime"),
]

DAILY = (0, 1, 2, 3)
RARELY = (30, 200, 400, 600, 750, 780, 810, 1000, 1200, 1400)
AHEAD = 5000
BACK = (1600, 1601, 1602, 1603, 1604, 1605)
LATER = (2400, 2430)
DAYS = [*map(str, DAILY), f"10:{IDLE}", *map(str, (*RARELY, AHEAD, *BACK, *LATER))]
Facts = Mapping[int, dict[str, Any]]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """What there was on each day."""
    directory = tmp_path_factory.mktemp("years")
    (directory / "clock").write_text("+0d\n")
    preload = subprocess.run(
        ["faketime", "-m", "-f", "+0d", "printenv", "LD_PRELOAD"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    variables = {
        "LD_PRELOAD": preload,
        "FAKETIME_TIMESTAMP_FILE": str(directory / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.operations.years", directory, *DAYS],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["day"]: line for line in lines}


def problems(facts: Facts, day: int, about: str) -> list[str]:
    return [each for each in facts[day]["problems"] if about in each]


def test_days_with_jobs_have_no_problem(facts: Facts) -> None:
    """While the jobs succeed, health reports nothing but the watcher, which does not run here."""
    for day in DAILY:
        (only,) = facts[day]["problems"]
        assert only.startswith("no watcher is running")


def test_days_without_jobs_are_reported(facts: Facts) -> None:
    """A backup and a gc that have not succeeded for days are problems, with where to read why."""
    for name in ("backup", "gc"):
        (text,) = problems(facts, 10, f"no `pyindex {name}` succeeded since ")
        assert text.endswith("; read journalctl -u pyindex-backup")


def test_nothing_grows_without_limit(facts: Facts) -> None:
    """Backups, trash, journal and samples have their limits, and the state directory no new file,
    after each day of years."""
    for day in (*DAILY, *RARELY):
        fact = facts[day]
        assert len(fact["backups"]) <= KEPT
        assert fact["samples"] <= 30
        assert fact["trash"] <= sum(day - 31 <= each <= day for each in facts)
        assert fact["journal"] <= 2 * sum(day - 731 <= each <= day for each in facts) + 1
    assert facts[RARELY[-1]]["state"] == facts[RARELY[0]]["state"]


def test_certificate_is_reported_before_it_expires(facts: Facts) -> None:
    """A certificate that nobody renews is a problem for its last month, and after it."""
    assert problems(facts, 750, "certificate") == []
    (text,) = problems(facts, 780, "certificate")
    assert "expires in 19 days, on " in text
    (text,) = problems(facts, 810, "certificate")
    assert "has expired on " in text


def test_clock_that_was_ahead_is_forgotten(facts: Facts) -> None:
    """After the clock was years ahead, the next jobs replace the copies from then first, and say
    so until they have run; the journal of that day does not keep older lines for years."""
    ahead = facts[AHEAD]["backups"][-1]
    assert problems(facts, BACK[0], "no `pyindex backup` succeeded since ")
    assert not problems(facts, BACK[1], "no `pyindex backup` succeeded since ")
    assert ahead not in facts[BACK[1]]["backups"]
    for before, after in pairwise(BACK):
        assert set(facts[before]["backups"][-KEPT + 1 :]) <= {*facts[after]["backups"], ahead}
    assert facts[LATER[-1]]["journal"] <= 4


def test_logs_of_nginx_are_bounded(tmp_path: Path) -> None:
    """logrotate keeps a fortnight of logs, compressed, by the file that is rendered for a host."""
    spec = load("debian-12", tmp_path)
    (text,) = [each.content for each in files(spec) if each.path.startswith("/etc/logrotate.d/")]
    rules, log = tmp_path / "rules", tmp_path / "access.log"
    user = f"{getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}"
    text = re.sub(r"create 0640 \S+ \S+", f"create 0640 {user}", text.replace(LOGS, str(tmp_path)))
    rules.write_text(text.replace("/run/nginx.pid", str(tmp_path / "nginx.pid")))
    for day in range(20):
        with log.open("a") as file:
            file.write("{}\n")
        command = ["faketime", "-f", f"+{day}d", "logrotate", "--state"]
        subprocess.run([*command, str(tmp_path / "state"), str(rules)], check=True)
    names = sorted(path.name for path in tmp_path.glob("access.log*"))
    assert names == sorted(
        ["access.log", "access.log.1", *(f"access.log.{number}.gz" for number in range(2, 15))]
    )
