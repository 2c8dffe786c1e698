"""Apply, confirm, roll back and prune, on a host that is a directory."""

import json
import os
from pathlib import Path

import pytest

from appliance.errors import PyindexError, SpecError
from appliance.host import PARTS, HostPaths, apply, prune, rollback
from tests.host.hosts import (
    FIRST,
    PROGRAMS,
    SECOND,
    SERVICE,
    SITE,
    SPEC,
    SUPERVISOR,
    SYSTEMD,
    THIRD,
    TMPFILES,
    install,
    links,
    load,
    new_host,
    placed,
    render,
    run,
    tree,
)

OTHER_SITE = SYSTEMD | {SITE: "server { listen 81; }\n"}


@pytest.fixture
def host(tmp_path: Path) -> HostPaths:
    """A host with three releases, none of which runs."""
    return new_host(tmp_path, FIRST, SECOND, THIRD)


def run_all(host: HostPaths, *releases: str) -> None:
    """Apply releases one after another, each loaded and accepted as a play does."""
    for release in releases:
        run(host, release)
        load(host)
        prune(host, keep=9)


def test_apply_places_the_files_and_links_the_release(host: HostPaths) -> None:
    """The first apply writes all files, and every part is pending."""
    change = run(host, FIRST)
    assert placed(host) == SYSTEMD
    assert sorted(change.placed) == sorted(SYSTEMD)
    assert (change.changed, change.pending) == (True, list(PARTS))
    assert (change.release, change.previous, change.manager) == (FIRST, "", "systemd")
    assert links(host) == (FIRST, "")
    assert host.of(SPEC).stat().st_mode & 0o7777 == 0o640
    assert host.of("/usr/local/bin/pyindex").readlink() == Path("/opt/pyindex/current/bin/pyindex")


def test_a_second_apply_changes_nothing(host: HostPaths) -> None:
    """Neither a file nor its time of change; parts stay pending until they are loaded."""
    run(host, FIRST)
    before = {path: path.lstat().st_mtime_ns for path in host.root.rglob("*")}
    change = apply(host, host.opt / "rendered", FIRST)
    assert (change.changed, change.placed, change.removed) == (False, [], [])
    assert change.pending == list(PARTS)
    assert {path: path.lstat().st_mtime_ns for path in host.root.rglob("*")} == before
    load(host)
    assert apply(host, host.opt / "rendered", FIRST).pending == []


def test_dry_run_changes_nothing(host: HostPaths) -> None:
    """``dry_run`` returns what apply and rollback then change."""
    run_all(host, FIRST, SECOND)
    before, directory = tree(host), render(host.root / "elsewhere", OTHER_SITE)
    plans = [apply(host, directory, THIRD, dry_run=True), rollback(host, dry_run=True)]
    assert tree(host) | before == tree(host)
    assert links(host) == (SECOND, FIRST)
    assert apply(host, directory, THIRD) == plans[0]
    assert (plans[0].placed, plans[1].placed) == ([SITE], [])
    assert plans[1].release == FIRST


# (path that was edited on the host, parts that are pending then)
EDITS = [(SITE, ["nginx"]), (SERVICE, ["service"]), (TMPFILES, ["base"]), (SPEC, ["service"])]


@pytest.mark.parametrize(("path", "pending"), EDITS)
def test_apply_replaces_an_edited_file(host: HostPaths, path: str, pending: list[str]) -> None:
    """A manual change is undone, and the programs of that part load the file again."""
    run_all(host, FIRST)
    host.of(path).write_text("edited\n")
    change = run(host, FIRST)
    assert (change.placed, change.pending) == ([path], pending)
    assert placed(host) == SYSTEMD


@pytest.mark.parametrize("kind", ["mode", "link", "missing"])
def test_apply_replaces_what_is_not_the_file(host: HostPaths, kind: str, tmp_path: Path) -> None:
    """Another mode, a link and a missing file are replaced; the target of the link stays."""
    run_all(host, FIRST)
    target = host.of(SITE)
    if kind == "mode":
        target.chmod(0o666)
    else:
        target.unlink()
    if kind == "link":
        (tmp_path / "precious").write_text("precious")
        target.symlink_to(tmp_path / "precious")
    assert run(host, FIRST).placed == [SITE]
    assert (target.is_symlink(), target.stat().st_mode & 0o777) == (False, 0o644)
    assert kind != "link" or (tmp_path / "precious").read_text() == "precious"


def test_apply_removes_files_that_are_no_longer_rendered(host: HostPaths) -> None:
    """Units go when supervisor takes over, and its programs when systemd does."""
    run_all(host, FIRST)
    change = run(host, FIRST, SUPERVISOR)
    assert placed(host) == SUPERVISOR
    assert sorted(change.units) == ["pyindex.service", "pyindex.socket"]
    assert change.manager == "supervisor"

    change = run(host, FIRST)
    assert (change.removed, change.units, change.manager) == ([PROGRAMS], [], "systemd")
    assert placed(host) == SYSTEMD


def test_rollback_restores_release_and_files(host: HostPaths) -> None:
    """Another rollback leads forward again."""
    run_all(host, FIRST)
    run(host, SECOND, OTHER_SITE)
    assert links(host) == (SECOND, FIRST)
    change = rollback(host)
    assert (change.release, change.previous) == (FIRST, SECOND)
    assert (links(host), placed(host)) == ((FIRST, SECOND), SYSTEMD)
    assert set(change.pending) >= {"service", "nginx"}
    rollback(host)
    assert (links(host), placed(host)) == ((SECOND, FIRST), OTHER_SITE)


def test_a_failed_release_is_undone(host: HostPaths) -> None:
    """The release before runs again, and the previous one is as it was."""
    run_all(host, FIRST, SECOND)
    run(host, THIRD, OTHER_SITE)
    assert links(host) == (THIRD, SECOND)
    rollback(host, failed=True)
    assert (links(host), placed(host)) == ((SECOND, FIRST), SYSTEMD)
    with pytest.raises(PyindexError, match="no switch of releases to undo"):
        rollback(host, failed=True)


def test_a_confirmed_release_is_not_undone(host: HostPaths) -> None:
    """Nor one of which only the files changed."""
    run_all(host, FIRST, SECOND)
    run(host, SECOND, OTHER_SITE)
    with pytest.raises(PyindexError, match="no switch of releases to undo"):
        rollback(host, failed=True)


def test_there_is_no_rollback_from_the_first_release(host: HostPaths) -> None:
    run_all(host, FIRST)
    with pytest.raises(PyindexError, match=f"no release before {FIRST}"):
        rollback(host)


# (releases to keep, releases that remain; the newest is the last one)
KEPT = [(0, [1, 4]), (2, [1, 4]), (3, [1, 3, 4]), (9, [0, 1, 2, 3, 4])]


@pytest.mark.parametrize(("keep", "remaining"), KEPT)
def test_prune_keeps_the_linked_and_the_newest(
    tmp_path: Path, keep: int, remaining: list[int]
) -> None:
    """Anything that is not called like a release stays, and so do links."""
    names = [f"0.{number}-0123456789ab" for number in range(5)]
    host = new_host(tmp_path, *names)
    run_all(host, names[1], names[4])
    for number, name in enumerate(names):
        os.utime(host.releases / name, (number, number))
    (host.releases / "notes").mkdir()
    (host.releases / "9-0123456789ab").symlink_to("notes")
    pruned = prune(host, keep)
    assert host.installed() == [names[number] for number in reversed(remaining)]
    assert set(pruned.removed) == set(names) - set(host.installed())
    assert (host.releases / "notes").is_dir()
    assert not prune(host, keep).changed


def test_apply_is_refused_before_it_changes_anything(host: HostPaths) -> None:
    """A release that is not installed, a file that was changed on the way, an invalid spec."""
    run_all(host, FIRST)
    (host.releases / SECOND / "complete").unlink()
    before = tree(host)

    def fail(release: str, match: str, error: type[Exception] = PyindexError) -> None:
        with pytest.raises(error, match=match):
            apply(host, directory, release)
        assert links(host) == (FIRST, "")

    directory = host.opt / "rendered"
    for name in (SECOND, "missing", "../../etc", ""):
        fail(name, "release not installed; run the whole play")
    assert tree(host) == before
    (directory / SITE.lstrip("/")).write_text("changed")
    fail(FIRST, f"{SITE}: differs from files.json; run the whole play")
    (directory / SITE.lstrip("/")).unlink()
    fail(FIRST, f"{SITE}: missing; run the whole play")
    (directory / "files.json").unlink()
    fail(FIRST, "files.json: missing; run the whole play")
    render(directory, SYSTEMD | {SPEC: "indexes: {main: {}}\n"})
    fail(FIRST, "packages", SpecError)
    assert placed(host) == SYSTEMD


def test_a_bare_host_has_nothing_to_roll_back(tmp_path: Path) -> None:
    with pytest.raises(PyindexError, match="missing; run the whole play"):
        rollback(HostPaths(tmp_path))


def test_a_newer_record_is_not_read(host: HostPaths) -> None:
    """A host that a newer pyindex manages is left to it."""
    run(host, FIRST)
    host.state.write_text(json.dumps({"schema": 2}))
    with pytest.raises(PyindexError, match="expected schema 1, got 2; use the pyindex that wrote"):
        run(host, FIRST)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"schema": 1, "current": 5}'])
def test_damaged_record_is_reported(host: HostPaths, content: bytes) -> None:
    """A damaged record is an error that says what to do, and doing it works."""
    run(host, FIRST)
    host.state.write_bytes(content)
    with pytest.raises(PyindexError, match=r"host\.json: .*; delete it and run the whole play"):
        run(host, FIRST)
    host.state.unlink()
    assert run(host, FIRST).release == FIRST
    assert not run(host, FIRST).changed


def test_damaged_list_of_stored_files_is_reported(host: HostPaths) -> None:
    """A rollback to a release whose stored files are damaged changes nothing and says why."""
    run(host, FIRST)
    run(host, SECOND)
    (host.releases / FIRST / "files.json").write_text("[{")
    before = tree(host)
    with pytest.raises(
        PyindexError, match=r"files\.json: not JSON .*; delete it and run the whole"
    ):
        rollback(host)
    assert tree(host) == before


def test_a_new_release_can_be_installed_later(host: HostPaths) -> None:
    """A release is applied as soon as it is complete."""
    run_all(host, FIRST)
    install(host, "2.0-abcdef012345")
    assert run(host, "2.0-abcdef012345").changed


def test_prune_deletes_pythons_without_a_release(host: HostPaths) -> None:
    """A Python that only deleted releases ran with is deleted, incomplete from the first moment;
    what has another name stays."""
    release = host.releases / host.installed()[0]
    used, unused = (host.opt / f"python-{digit * 12}" for digit in "ab")
    for directory in (used, unused, host.opt / "python-of-mine"):
        (directory / "bin").mkdir(parents=True)
        (directory / "complete").touch()
    (release / "pyvenv.cfg").write_text(f"home = /opt/pyindex/{used.name}/bin\n")
    assert prune(host, keep=9).removed == [unused.name]
    assert sorted(path.name for path in host.opt.glob("python-*")) == [used.name, "python-of-mine"]
    assert not prune(host, keep=9).changed
