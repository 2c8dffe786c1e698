"""``pyindex mirror``: exactly the files that inputs need, whole and once."""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import main
from tests.dist import make_wheel
from tests.integration.servers import PYINDEX, Server
from tests.mirror.conftest import REASON

LINUX, WINDOWS = "cp312-manylinux_2_28_x86_64", "cp312-win_amd64"
DAMAGED = "rejected: truncated or damaged archive: no zip directory at the end"
LIB = "lib-2.0-py2.py3-none-any.whl"
APP = {"app-1.0-py2.py3-none-any.whl", LIB, "native-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"}
APP_WINDOWS = {
    *("app-1.0-py2.py3-none-any.whl", LIB, "native-1.0-cp312-cp312-win_amd64.whl"),
    "only_windows-1.0-cp312-cp312-win_amd64.whl",
}
SOURCE = {
    *("source-1.0.tar.gz", "lib-1.0-py2.py3-none-any.whl", "builder-1.0.tar.gz"),
    "builder_base-1.1-py2.py3-none-any.whl",
}
CASES = {
    "an application": ("app", [LINUX], APP),
    "another platform": ("app", [WINDOWS], APP_WINDOWS),
    "two platforms": ("app", [LINUX, WINDOWS], APP | APP_WINDOWS),
    "an sdist with what builds it, and what builds that": ("source", [LINUX], SOURCE),
    "an extra": (
        "extra[more]",
        [LINUX],
        {"extra-1.0-py2.py3-none-any.whl", "lib-1.0-py2.py3-none-any.whl"},
    ),
    "without the extra": ("extra", [LINUX], {"extra-1.0-py2.py3-none-any.whl"}),
    "a pre-release": ("lib==3.0b1", [LINUX], {"lib-3.0b1-py2.py3-none-any.whl"}),
    "a yanked release": ("withdrawn==1.0", [LINUX], {"withdrawn-1.0-py2.py3-none-any.whl"}),
    "Python 2.7": ("lib", ["centos7-py27"], {LIB}),
    "an sdist that says nothing of its metadata": (
        "canary",
        [LINUX],
        {"canary-1.0.tar.gz", LIB},
    ),
}


def mirror(
    packages: Path,
    upstream: Server,
    *words: str,
    targets: list[str] | None = None,
    code: int = 0,
    base: str | None = None,
) -> dict[str, Any]:
    """Run the command in this process; return its report."""
    report = packages.parent / "report.json"
    options = [option for each in targets or [LINUX] for option in ("--target", each)]
    options += ["--directory", str(packages), "--state", str(packages.parent / "state")]
    options += ["--index-url", f"{base or upstream.url}/simple/", "--report", str(report)]
    assert main(["mirror", *words, *options]) == code
    document: dict[str, Any] = json.loads(report.read_text())
    return document


def test_constraint_of_pip_is_not_read(
    packages: Path,
    upstream: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """pip's setting `constraint` does not count, and a note names the option that does."""
    constraints = packages.parent / "constraints.txt"
    constraints.write_text("lib<2\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(constraints))
    document = mirror(packages, upstream, "lib", "--dry-run")
    note = "pip's configuration: its `constraint` is not read; pass --constraint FILE"
    assert (document["notes"], [each["filename"] for each in document["files"]]) == ([note], [LIB])
    capsys.readouterr()
    for verb in (["prove"], ["bundle", str(packages.parent / "out.tar")]):
        assert main([*verb, "lib", "--target", LINUX, "-d", str(packages)]) == 1
        assert f"note: {note}\n" in capsys.readouterr().err
    document = mirror(packages, upstream, "lib", "--dry-run", "--constraint", str(constraints))
    assert document["notes"] == []
    assert [each["filename"] for each in document["files"]] == [LIB.replace("2.0", "1.0")]


def names(packages: Path) -> set[str]:
    return {path.name for path in packages.iterdir()}


@pytest.mark.parametrize("case", CASES)
def test_mirror_takes_what_the_input_needs(case: str, packages: Path, upstream: Server) -> None:
    """The files of the closure on each target are in the packages directory, and no others."""
    requirement, targets, files = CASES[case]
    code = 1 if case.startswith("an sdist that") else 0  # setuptools is not in this upstream
    document = mirror(packages, upstream, requirement, targets=targets, code=code)
    assert names(packages) == files
    assert {file["filename"] for file in document["files"]} == files


def test_wheels_of_other_pythons_do_not_suit(
    packages: Path, upstream: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that no file suits has a reason, and nothing is fetched."""
    document = mirror(packages, upstream, "native", targets=["centos7-py27"], code=1)
    (unsolved,) = document["unsolved"]
    assert unsolved["requirement"] == "native"
    assert unsolved["reason"].endswith("no tag of centos7-py27")
    assert "missing: centos7-py27: native (required by command line)" in capsys.readouterr().err
    assert names(packages) == set()


def test_what_is_missing_upstream_stops_nothing_else(packages: Path, upstream: Server) -> None:
    """A requirement that no upstream satisfies is named; the other input is complete."""
    requirements = packages.parent / "requirements.txt"
    requirements.write_text("dead-end\n")
    document = mirror(packages, upstream, "app", "-r", str(requirements), code=1)
    (unsolved,) = document["unsolved"]
    assert unsolved == {
        "target": LINUX,
        "requirement": "nowhere>=3",
        "required_by": "dead-end 1.0",
        "reason": "no such project",
    }
    assert names(packages) == APP


def test_yanks_and_upload_times_are_those_of_the_upstream(packages: Path, upstream: Server) -> None:
    """A file keeps its upload time and the reason of its yank."""
    mirror(packages, upstream, "withdrawn==1.0")
    (path,) = packages.iterdir()
    assert path.stat().st_mtime == (upstream.packages / path.name).stat().st_mtime
    state = packages.parent / "state"
    page = json.loads((state / "www/simple/withdrawn/index.json").read_bytes())
    (file,) = page["files"]
    assert file["yanked"] == REASON
    assert file["upload-time"].startswith("2018-05-01T12:00:00")


def test_one_requirement_more_fetches_its_files_alone(packages: Path, upstream: Server) -> None:
    """A run fetches what is not there; a run with nothing new fetches nothing."""
    mirror(packages, upstream, "app")
    assert mirror(packages, upstream, "app")["new"] == []
    both = mirror(packages, upstream, "app", "source")
    assert set(both["new"]) == SOURCE


def test_dry_run_changes_nothing(
    packages: Path, upstream: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run prints each file with its size and targets."""
    document = mirror(packages, upstream, "app", "--dry-run")
    assert names(packages) <= {".pyindex-mirror"}
    size = (upstream.packages / LIB).stat().st_size
    assert f"{LIB}  {size:,}  {LINUX}\n" in capsys.readouterr().out
    assert {file["filename"] for file in document["files"]} == APP


@pytest.mark.parametrize("is_valid", [True, False])
def test_other_content_is_not_replaced(
    is_valid: bool, packages: Path, upstream: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of the same name with other bytes stays, also a rejected one; the command says so."""
    if is_valid:
        make_wheel(packages, "lib", "2.0", summary="another")
    else:
        (packages / LIB).write_text("junk")
    before = (packages / LIB).read_bytes()
    mirror(packages, upstream, "app", code=1)
    assert (packages / LIB).read_bytes() == before
    accepted = f"missing: {LIB}: the index has other content at {LIB}\n"
    rejected = f"missing: {packages / LIB}: exists, and is not in the index; see `pyindex status`\n"
    assert (accepted if is_valid else rejected) in capsys.readouterr().err


def test_hashes_of_the_input_count(packages: Path, upstream: Server) -> None:
    """A file with another digest than the input demands is not taken."""
    requirements = packages.parent / "requirements.txt"
    requirements.write_text(f"lib==2.0 --hash=sha256:{'0' * 64}\n")
    document = mirror(packages, upstream, "-r", str(requirements), code=1)
    assert document["unsolved"] and names(packages) == set()


@pytest.mark.parametrize("is_right", [True, False])
def test_digest_that_no_page_states_is_computed(
    is_right: bool, packages: Path, upstream: Server
) -> None:
    """A file is hashed if the input demands a digest of another algorithm than the page states."""
    content = (upstream.packages / LIB).read_bytes() if is_right else b"another"
    requirements = packages.parent / "requirements.txt"
    requirements.write_text(f"lib==2.0 --hash=sha512:{hashlib.sha512(content).hexdigest()}\n")
    document = mirror(packages, upstream, "-r", str(requirements), code=0 if is_right else 1)
    assert document["complete"] == is_right
    assert names(packages) - {".pyindex-mirror"} == ({LIB} if is_right else set())


def test_other_content_is_seen_by_any_digest(packages: Path, upstream: Server) -> None:
    """A file that is there is compared by the digest that its upstream states, whichever it is."""
    make_wheel(packages, "lib", "2.0", summary="another")
    digest = hashlib.sha512((upstream.packages / LIB).read_bytes()).hexdigest()
    url = f"{upstream.url}/packages/{LIB}#sha512={digest}"
    document = mirror(packages, upstream, f"lib @ {url}", code=1)
    (failed,) = document["failed"]
    assert failed == {
        "filename": LIB,
        "reason": f"{LIB}: the index has other content at {LIB}",
    }


def test_file_that_intake_rejects_is_not_new(
    packages: Path, upstream: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fetched file that the index rejects is named with the reason, and the run is incomplete."""
    name = "broken-1.0-py3-none-any.whl"
    links = packages.parent / "links"
    links.mkdir()
    (links / name).write_text("junk")
    requirements = packages.parent / "requirements.txt"
    requirements.write_text(f"--find-links {links}\nbroken==1.0\n")
    document = mirror(packages, upstream, "-r", str(requirements), "--no-deps", code=1)
    assert document["new"] == []
    assert not document["complete"]
    (failed,) = document["failed"]
    assert failed["reason"] == f"{packages / name}: {DAMAGED}"
    captured = capsys.readouterr()
    assert f"missing: {failed['reason']}\n" in captured.err
    assert "0 new, 1 missing" in captured.out


def test_unfinished_files_of_old_runs_are_removed(packages: Path, upstream: Server) -> None:
    """A partial file that no run has continued for a week is removed, a younger one stays."""
    staging = packages / ".pyindex-mirror"
    staging.mkdir()
    old, young = staging / "old-1.0.tar.gz.0123.part", staging / "young-1.0.tar.gz.0123.part"
    for path, days in ((old, 8), (young, 6)):
        path.write_text("part")
        os.utime(path, (time.time() - days * 86400,) * 2)
    mirror(packages, upstream, "lib", "--dry-run")
    assert not old.exists()
    assert young.exists()


def test_no_code_of_a_package_runs(packages: Path, upstream: Server, tmp_path: Path) -> None:
    """An sdist whose setup.py leaves a trace is collected, proven and bundled without one."""
    trace = tmp_path / "trace"
    canary = tmp_path / "links"
    canary.mkdir()
    _canary(canary, trace)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"--find-links {canary}\nbird==1.0\n")
    document = mirror(packages, upstream, "-r", str(requirements), "--no-deps")
    where = ["--directory", str(packages), "--state", str(packages.parent / "state")]
    asked = ["-r", str(requirements), "--no-deps", "--target", LINUX]
    assert main(["prove", *asked, *where]) == 0
    assert main(["bundle", str(tmp_path / "out.tar"), *asked, *where]) == 0
    assert document["new"] == ["bird-1.0.tar.gz"]
    assert not trace.exists()


def _canary(directory: Path, trace: Path) -> None:
    program = f"open({str(trace)!r}, 'w')\nimport setuptools\nsetuptools.setup(name='bird')\n"
    texts = {
        "PKG-INFO": "Metadata-Version: 1.0\nName: bird\nVersion: 1.0\n",
        "setup.py": program,
    }
    with tarfile.open(directory / "bird-1.0.tar.gz", "w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(f"bird-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.mark.integration
def test_killed_runs_leave_what_one_run_does(packages: Path, upstream: Server) -> None:
    """However often a run is killed, the last one leaves the tree of one run, byte for byte."""
    whole = packages.parent / "whole"
    whole.mkdir()
    command = [str(PYINDEX), "mirror", "app", "source", "--target", LINUX, "--target", WINDOWS]
    command += ["--index-url", f"{upstream.url}/simple/"]
    once = [*command, "-d", str(whole), "--state", str(packages.parent / "once")]
    often = [*command, "-d", str(packages), "--state", str(packages.parent / "state")]
    started = time.monotonic()
    assert _run(once) == 0
    seconds = time.monotonic() - started

    chance = random.Random(8)
    for ending in (signal.SIGKILL, signal.SIGINT) * 5:
        with subprocess.Popen(often, stdout=-3, stderr=-3) as run:
            time.sleep(chance.uniform(0.3, 1.0) * seconds)  # anywhere in a run
            run.send_signal(ending)
    assert _run(often) == 0
    assert _content(packages) == _content(whole)


def _run(command: list[str]) -> int:
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode


def _content(directory: Path) -> dict[str, tuple[bytes, int]]:
    paths = sorted(Path(top, name) for top, _, files in os.walk(directory) for name in files)
    return {
        str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in paths
    }


def test_file_that_is_named_by_its_url_is_taken_from_there(
    packages: Path, upstream: Server
) -> None:
    """A requirement with a URL gets that file, not one of the same release from an index."""
    elsewhere = packages.parent / "elsewhere"
    elsewhere.mkdir()
    path = make_wheel(elsewhere, "lib", "2.0", summary="another")
    mirror(packages, upstream, f"lib @ file://{path}")
    assert (packages / LIB).read_bytes() == path.read_bytes()
    assert path.read_bytes() != (upstream.packages / LIB).read_bytes()


def test_private_project_is_not_fetched(packages: Path, upstream: Server) -> None:
    """No upstream is asked for a private project; a note says so."""
    spec = packages.parent / "pyindex.yml"
    text = f"state: state\nindexes:\n  main: {{packages: {packages}, policy: {{private: [lib]}}}}\n"
    spec.write_text(text)
    report = packages.parent / "report.json"
    options = ["--spec", str(spec), "--target", LINUX, "--report", str(report)]
    options += ["--index-url", f"{upstream.url}/simple/"]
    assert main(["mirror", "native", "lib", *options]) == 1
    document = json.loads(report.read_text())
    notes = "lib: private (`policy.private` in the spec): no upstream was asked for it"
    assert notes in document["notes"]
    assert not list(packages.glob("lib*"))


def test_removed_file_returns_with_its_content_alone(packages: Path, upstream: Server) -> None:
    """A file that was removed is fetched again only with the content that it had."""
    make_wheel(packages, "lib", "1.0", summary="other")
    state = ["--directory", str(packages), "--state", str(packages.parent / "state")]
    assert main(["watch", "--once", str(packages), *state[2:]]) == 0
    assert main(["remove", "lib==1.0", *state]) == 0
    document = mirror(packages, upstream, "lib==1.0", code=1)
    [failed] = document["failed"]
    assert "was removed, and had other content" in failed["reason"]

    mirror(packages, upstream, "lib==2.0")
    assert main(["remove", "lib==2.0", *state]) == 0
    mirror(packages, upstream, "lib==2.0")
    assert (packages / LIB).exists()
