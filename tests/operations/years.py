"""Years of an index in one process, which sets its own clock: libfaketime reads it from a file.

``python -m tests.operations.years DIRECTORY DAY…`` goes through the days, one after the other, and
prints a line of JSON for each.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.operations import decisions
from appliance.operations.backup import backup
from appliance.operations.health import health
from appliance.operations.housekeeping import begin
from appliance.operations.prune import prune
from appliance.pack.authority import renew
from appliance.spec import Host, Spec
from appliance.spec.model import Backup, Nginx, Tls
from tests.conftest import Lab
from tests.dist import make_wheel

# A day on which no job runs.
IDLE = "idle"
KEPT = 5


def live(directory: Path, days: list[str]) -> Iterator[dict[str, Any]]:
    """Yield what there is at the end of each day, and what health reported before its jobs."""
    lab = Lab(directory)
    _set_clock(0)
    ca, certificate = renew(directory / "ca", ["pypi.lab.example"])
    tls = Tls(certificate=certificate.path, key=certificate.path, ca=ca.path)
    changes = {
        "nginx": Nginx(tls=tls),
        "host": Host(system="debian-12"),
        "backup": Backup(directory=directory / "backups", keep=KEPT),
    }
    lab.spec = lab.spec.model_copy(update=changes)
    begin(lab.spec)
    for word in days:
        day, _, idle = word.partition(":")
        _set_clock(int(day))
        _work(lab, int(day))
        problems = health(lab.spec, lab.catalog).degraded
        if idle != IDLE:
            backup(lab.spec)
            list(prune(lab.spec))
        yield {"day": int(day), "problems": problems, **_sizes(lab.spec, lab)}


def _set_clock(day: int) -> None:
    Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(f"+{day}d\n")


def _work(lab: Lab, day: int) -> None:
    """Publish a file, and move the previous one to the trash."""
    old = [path.name for path in lab.packages.glob("*.whl")]
    make_wheel(lab.packages, "foo", f"1.{day}")
    lab.once()
    for name in old:
        list(decisions.remove(lab.spec, lab.index, name))
    lab.once()


def _sizes(spec: Spec, lab: Lab) -> dict[str, Any]:
    return {
        "backups": sorted(path.name[17:25] for path in spec.backup.directory.glob("*")),
        "trash": len(list(spec.trash.iterdir())) if spec.trash.exists() else 0,
        "journal": len(lab.journal()),
        "samples": max(map(len, json.loads(_record(spec))["free"].values()), default=0),
        "state": sorted(path.name for path in spec.state.iterdir()),
    }


def _record(spec: Spec) -> str:
    return (spec.state / "housekeeping.json").read_text()


if __name__ == "__main__":
    for fact in live(Path(sys.argv[1]), sys.argv[2:]):
        print(json.dumps(fact), flush=True)
