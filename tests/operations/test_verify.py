"""Verification finds damage of files, metadata, catalog, log and published tree."""

import gzip
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest

from appliance import spec
from appliance.cli import main
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.operations.verify import Finding, Verification, verify
from appliance.operations.watch import Watcher
from tests.conftest import Lab, eventually, watched
from tests.dist import make_wheel

FOO, BAR = "foo-1.0-py2.py3-none-any.whl", "bar-1.0-py2.py3-none-any.whl"


@pytest.fixture
def both(lab: Lab) -> Lab:
    """An index of two files."""
    make_wheel(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    return lab


def found(lab: Lab, restart: bool = False) -> list[Finding]:
    *_, last = verify(lab.spec, [lab.index], restart)
    return last.findings


def run(lab: Lab, *options: str) -> int:
    return main(["verify", "-d", str(lab.packages), "--state", str(lab.spec.state), *options])


def flip(path: Path, keep_times: bool = True) -> None:
    """Change the last byte of a file."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    if keep_times:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def everything(place: Path) -> dict[str, bytes]:
    """Every file but the database, which moves its log at times."""
    return {
        str(path): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and not path.name.startswith("catalog.sqlite")
    }


def test_verify_of_intact_index(both: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Verification of an intact index reports the amount read, and writes nothing."""
    decisions.yank(both.spec, both.index, FOO, "x")
    journal = both.journal()
    before = everything(both.spec.state), everything(both.packages)
    assert run(both) == 0
    assert (everything(both.spec.state), everything(both.packages)) == before
    assert both.journal() == journal
    assert capsys.readouterr().out == "2 files, 0 MB verified: 0 problems\n"


def test_verify_reports_changed_byte(both: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed byte without a change of size and mtime is reported; the exit code is 1."""
    flip(both.packages / FOO)
    assert run(both) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"main: {FOO}: content changed: expected sha256 ")
    assert last == "2 files, 0 MB verified: 1 problem"


def test_verify_separates_changes_from_damage(
    both: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with another mtime, and a deleted one, are reported but are no damage."""
    flip(both.packages / FOO, keep_times=False)
    (both.packages / BAR).unlink()
    assert run(both) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"main: {BAR}: deleted since it was accepted; the watcher will examine it",
        f"main: {FOO}: changed since it was accepted; the watcher will examine it",
    ]


def test_verify_follows_no_link_out(both: Lab, tmp_path: Path) -> None:
    """A symbolic link that replaced a file is not read."""
    (both.packages / FOO).rename(tmp_path / FOO)
    (both.packages / FOO).symlink_to(tmp_path / FOO)
    (finding,) = found(both)
    assert (finding.path, finding.is_damage) == (FOO, True)
    assert finding.problem.startswith("cannot be read: ")


@pytest.mark.parametrize("spoil", [flip, Path.unlink])
def test_verify_compares_metadata(both: Lab, spoil: object) -> None:
    """Published metadata is compared; a rebuild rewrites it."""
    assert callable(spoil)
    spoil(both.spec.www / "packages" / f"{FOO}.metadata")
    (finding,) = found(both)
    assert finding.path == FOO
    assert "published metadata: " in finding.problem
    assert main(["rebuild", "-d", str(both.packages), "--state", str(both.spec.state)]) == 0
    assert found(both) == []


def test_verify_checks_catalog_and_log(both: Lab) -> None:
    """A row that an SQLite index lacks, a changed line, and different decisions are reported."""
    decisions.yank(both.spec, both.index, FOO, "x")
    decisions.yank(both.spec, both.index, BAR, "y")
    log = both.spec.state / "decisions.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"x"', b'"z"'))
    with closing(sqlite3.connect(both.spec.catalog)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master"
            " WHERE name = 'project_by_serial') WHERE name = 'file_by_project'"
        )
        connection.commit()
    problems = [finding.problem for finding in found(both) if not finding.index]
    assert len(problems) == 3
    assert "malformed" in problems[0]
    assert problems[1].startswith("decisions differ from the catalog")
    assert "line 3 does not match the digest of the line before" in problems[2]


def test_verify_resumes(both: Lab) -> None:
    """An interrupted verification resumes with its findings; ``restart`` begins again."""
    flip(both.packages / BAR)
    with pytest.raises(KeyboardInterrupt):
        interrupt(verify(both.spec, [both.index]))
    flip(both.packages / BAR)
    resumed = {(each.files, len(each.damage)) for each in verify(both.spec, [both.index])}
    assert resumed == {(2, 1)}
    assert found(both) == []
    assert not (both.spec.state / "verify.json").exists()


def interrupt(going: Generator[Verification, None, None]) -> None:
    """End it as SIGINT does, after its first file."""
    assert next(going).path == BAR
    going.throw(KeyboardInterrupt)


SAVED = [b"", b"[]", b"\xff", b'{"indexes": ["main"], "index": "other", "findings": []}', b"{}"]


@pytest.mark.parametrize("saved", SAVED)
def test_invalid_bookmark_is_ignored(both: Lab, saved: bytes) -> None:
    """With an invalid bookmark verification begins with the first file."""
    (both.spec.state / "verify.json").write_bytes(saved)
    *_, last = verify(both.spec, [both.index])
    assert last.files == 2


def test_verify_prints_json(both: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON output has the counts, and each finding with its index and path."""
    flip(both.packages / FOO)
    assert run(both, "--json", "--index", "main") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], [each["path"] for each in told["findings"]]) == (2, [FOO])


def test_verify_rejects_unknown_index(both: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown index is named, and no file is read."""
    assert run(both, "--index", "other") == 1
    assert capsys.readouterr().err == "pyindex: index 'other' not found; the spec has main\n"


def test_damage_is_found_rejected_and_repaired(both: Lab, tmp_path: Path) -> None:
    """Damage is found, rejected by a rebuild, and served again after the file is restored."""
    shutil.copy2(both.packages / FOO, tmp_path)
    flip(both.packages / FOO)
    assert run(both) == 1
    main(["rebuild", "-d", str(both.packages), "--state", str(both.spec.state)])
    assert both.files("foo") == []
    (tmp_path / FOO).replace(both.packages / FOO)
    both.once()
    assert both.files("foo") == [FOO]
    assert run(both) == 0


def test_metadata_of_quarantined_project_is_no_damage(lab: Lab) -> None:
    """The metadata of a quarantined project is stored elsewhere, which is no damage."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    decisions.set_status(lab.spec, lab.index, "foo", "quarantined", None)
    source = ["-d", str(lab.packages), "--state", str(lab.spec.state)]
    assert main(["verify", *source]) == 0


def test_missing_directory_is_reported_once(both: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing packages directory is reported once, and the published tree is compared."""
    both.packages.rename(both.packages.with_name("away"))
    both.page_path("foo").unlink()
    assert run(both) == 1
    folder, page, last = capsys.readouterr().out.splitlines()
    assert folder == f"main: packages directory {both.packages}: not found; mount or create it"
    assert page.startswith("main: simple/foo/index.json: published page: missing")
    assert last == "0 files, 0 MB verified: 2 problems"


def bases(root: Path) -> spec.Spec:
    """Two indexes, one above the other: each has a project of its own, and both have ``both``."""
    for index, project in (("a", "foo"), ("b", "bar"), ("a", "both"), ("b", "both")):
        (root / index).mkdir(exist_ok=True)
        make_wheel(root / index, project, "1.0")
    (root / "pyindex.yml").write_text(
        "state: state\nindexes: {a: {packages: a, bases: [b]}, b: {packages: b}}\n"
    )
    found = spec.load(root / "pyindex.yml")
    update(found)
    return found


def differently(path: Path) -> None:
    """Other bytes of a page, with the times that it had."""
    status = path.stat()
    other = b"<html></html>"
    path.write_bytes(gzip.compress(other) if path.suffix == ".gz" else other)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a page is gone": ("simple/foo/index.json", Path.unlink, "published page: missing"),
    "pages are gone": ("simple/foo", shutil.rmtree, "published page: missing"),
    "of a base": ("simple/bar/index.html", Path.unlink, "published page: missing"),
    "another name": ("b/simple/both/index.html.gz", Path.unlink, "published page: missing"),
    "an old page": ("simple/foo/index.html", os.utime, "published page: serial "),
    "other bytes": ("simple/foo/index.html.gz", differently, "published page: content changed"),
    "half a page": ("simple/foo/index.html.gz", flip, "published page: "),
    "a list": ("b/simple/index.json", Path.unlink, "published list: missing"),
    "all pages": ("b/simple", shutil.rmtree, "no pages published"),
    "a marker": (f".accepted/a/packages/{FOO}", Path.unlink, "marker missing"),
    "all markers": (".accepted/b", shutil.rmtree, "marker missing"),
    "no such file": (".accepted/a/packages/no.whl", Path.touch, "served, but not in"),
    "no such signature": (f".accepted/a/packages/{FOO}.asc", Path.touch, "served, but not in"),
    "no such project": (
        "simple/nobody",
        Path.mkdir,
        "pages of a project that the index does not",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_verify_compares_published_tree(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each page and marker is compared; a rebuild repairs them."""
    of = bases(tmp_path)
    place, spoil, problem = DAMAGES[name]
    spoil(of.www / place)
    source = ["-c", str(tmp_path / "pyindex.yml")]
    assert main(["verify", *source]) == 1
    *told, last = capsys.readouterr().out.splitlines()
    assert told
    assert not last.endswith(" 0 problems")
    for line in told:
        assert problem in line
        assert "`pyindex rebuild` " in line
    assert main(["rebuild", *source]) == 0
    assert main(["verify", *source]) == 0


def test_unpublished_change_is_no_damage(both: Lab) -> None:
    """Pages and markers of a change that is not published yet are no damage."""
    with both.catalog.change() as change:
        change.remove(both.index, [FOO])
        change.yank(both.index, BAR, "x")
    (both.spec.www / ".accepted/main/packages" / BAR).unlink()
    (both.packages / FOO).unlink()
    assert [finding for finding in found(both) if finding.is_damage] == []


LACKING = [
    name
    for name, (_, spoil, _) in DAMAGES.items()
    if spoil in (Path.unlink, shutil.rmtree, os.utime)
]


@pytest.mark.integration
@pytest.mark.parametrize("name", LACKING)
def test_watcher_repairs_published_tree(name: str, tmp_path: Path) -> None:
    """The watcher restores missing pages soon; changed bytes with the same mtime are for
    ``verify``."""
    of = bases(tmp_path)
    place, spoil, _ = DAMAGES[name]
    spoil(of.www / place)
    with watched(Watcher(of)):
        eventually(lambda: not problems(of))


def problems(of: spec.Spec) -> list[Finding]:
    *_, last = verify(of, list(of.indexes), restart=True)
    return last.findings
