"""Retention: releases that an index no longer keeps."""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from appliance import spec
from appliance.cli import main
from appliance.index.model import Project
from appliance.operations.update import update
from appliance.policy.retention import outdated
from appliance.spec.policy import Retention
from tests.dist import make_wheel, uploaded
from tests.policy.test_rules import DAY, file

NOW = 1000 * DAY
# Versions with their ages in days, in any order.
RELEASES = {"1.0": 900, "1.1": 500, "2.0": 300, "2.1rc1": 200, "2.1": 100, "3.0b1": 95, "3.0b2": 50}


def removed(
    keep: Mapping[str, object], releases: dict[str, int], status: str = "active"
) -> list[str]:
    files = [
        file(f"foo-{version}.tar.gz", version=version, upload_time=NOW - age * DAY)
        for version, age in releases.items()
    ]
    project = Project("main", "foo", "foo", 1, status, None, tuple(files))
    return [f"{each.version} {each.rule}" for each in outdated(Retention(**keep), project, NOW)]


CASES: dict[str, tuple[dict[str, object], dict[str, int], list[str]]] = {
    "nothing": ({}, RELEASES, []),
    "as many as there are": ({"versions": 7}, RELEASES, []),
    "too many": ({"versions": 5}, RELEASES, ["1.1 versions", "1.0 versions"]),
    "the latest final one stays": (
        {"versions": 1},
        RELEASES,
        ["3.0b1 versions", "2.1rc1 versions", "2.0 versions", "1.1 versions", "1.0 versions"],
    ),
    "age": ({"age": timedelta(days=365)}, RELEASES, ["1.1 age", "1.0 age"]),
    "an old project keeps its newest": ({"age": timedelta(days=9)}, {"1.0": 900}, []),
    "pre-releases": (
        {"prereleases": timedelta(days=90)},
        RELEASES,
        ["3.0b1 prereleases", "2.1rc1 prereleases"],
    ),
    "pre-releases only": (
        {"prereleases": timedelta(days=1)},
        {"1b1": 9, "1b2": 8},
        ["1b1 prereleases"],
    ),
    "a version not of PEP 440": ({"versions": 1}, {"2004d": 10, "1.0": 900}, ["2004d versions"]),
    "several rules": (
        {"versions": 6, "age": timedelta(days=400), "prereleases": timedelta(days=150)},
        RELEASES,
        ["2.1rc1 prereleases", "1.1 age", "1.0 versions"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_releases_are_outdated(case: str) -> None:
    """Each rule names releases beyond it; the highest version and the latest one stay."""
    keep, releases, expected = CASES[case]
    assert removed(keep, releases) == expected


def test_release_is_as_old_as_its_last_file() -> None:
    """A new wheel of an old release keeps it."""
    files = [
        file("foo-1.0.tar.gz", upload_time=0),
        file("foo-1.0-py3-none-any.whl", upload_time=NOW - DAY),
        file("foo-2.0.tar.gz", version="2.0", upload_time=0),
    ]
    project = Project("main", "foo", "foo", 1, "active", None, tuple(files))
    assert not list(outdated(Retention(age=timedelta(days=9)), project, NOW))


def test_quarantined_project_is_kept() -> None:
    """Files of a quarantined project are evidence."""
    assert removed({"versions": 1}, RELEASES, "quarantined") == []


def test_gc_moves_releases_to_the_trash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run names releases and changes nothing; `gc` moves them, and only in that index."""
    for name in ("main", "other"):
        (tmp_path / name).mkdir()
        for version in ("1.0", "2.0", "3.0"):
            uploaded(make_wheel(tmp_path / name, "foo", version), "2024-01-01T00:00:00+00:00")
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "state: state\nbackup: {directory: backups}\nindexes:\n"
        "  main: {packages: main, keep: {versions: 2, age: 2y}}\n  other: {packages: other}\n"
    )
    given = spec.load(path)
    assert given.indexes["main"].keep.age == timedelta(days=730)
    update(given)
    release = r"main: foo 1\.0, to the trash \(`indexes\.main\.keep\.versions`\)"

    assert main(["gc", "--dry-run", "-c", str(path)]) == 0
    assert re.search(f"would remove {release}", capsys.readouterr().out)
    assert len(list((tmp_path / "main").iterdir())) == 3

    assert main(["gc", "-c", str(path)]) == 0
    assert re.search(f"removed {release}", capsys.readouterr().out)
    assert len(list((tmp_path / "other").iterdir())) == 3
    assert main(["log", "-c", str(path), "--json", "--last", "1"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert (entry["action"], entry["version"], entry["actor"]) == ("removed", "1.0", "pyindex gc")
    assert main(["trash", "restore", "foo==1.0", "-c", str(path)]) == 0
