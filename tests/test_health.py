"""Health and status: both report the problems of the watcher."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import TestClient

from appliance.catalog.readiness import scan_mark
from appliance.cli import main
from appliance.incoming import comparison
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.scan import Scanner
from appliance.operations import report
from appliance.operations.health import health
from appliance.operations.status import status
from appliance.operations.watchlock import is_watched, watching
from appliance.spec import Accounts
from appliance.web.app import create_app
from tests.conftest import Lab, eventually
from tests.dist import make_wheel

WHEEL = "foo-1.0-py2.py3-none-any.whl"


@contextmanager
def watcher(lab: Lab, *before: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `pyindex watch` as a process, after the words ``before``."""
    command = [*before, sys.executable, "-m", "appliance", "watch", str(lab.packages)]
    with subprocess.Popen([*command, "--state", str(lab.spec.state)]) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()


def problems(lab: Lab) -> list[str]:
    reported: list[str] = status(lab.spec)["problems"]
    return reported


def asked(lab: Lab) -> tuple[int, str]:
    """Return status code and status of a health request."""
    answer = TestClient(create_app(lab.spec)).simulate_get("/health")
    return answer.status_code, answer.json["status"]


def code(lab: Lab) -> int:
    return main(["status", "-d", str(lab.packages), "--state", str(lab.spec.state)])


@pytest.fixture
def running(lab: Lab) -> Iterator[Lab]:
    """Index that is served and watched, without problems."""
    make_wheel(lab.packages, "foo", "1.0")
    with lab.watched():
        eventually(lambda: health(lab.spec, lab.catalog).status == "ok")
        yield lab


def test_healthy_index_is_ok(running: Lab) -> None:
    """Health answers 200 with `ok`, and the status command exits with 0."""
    assert asked(running) == (200, "ok")
    assert code(running) == 0


def test_missing_packages_directory_is_failing(running: Lab) -> None:
    """Health answers 503 while the packages directory is missing."""
    away = running.packages.with_name("away")
    running.packages.rename(away)
    eventually(lambda: asked(running) == (503, "failing"))
    assert any("not found; mount or create it" in each for each in problems(running))
    assert running.files("foo") == [WHEEL]
    away.rename(running.packages)
    eventually(lambda: asked(running) == (200, "ok"))


def test_watcher_survives_exception(running: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher reports an exception during a scan and recovers from it."""

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("as tested")

    with monkeypatch.context() as patch:
        patch.setattr("appliance.incoming.directory.PackagesDirectory.entries", fail)
        make_wheel(running.packages, "bar", "1.0")
        eventually(lambda: any("as tested" in each for each in problems(running)))
        assert asked(running) == (200, "degraded")
        assert code(running) == 1
    eventually(lambda: running.files("bar"))
    eventually(lambda: asked(running) == (200, "ok"))


def test_exception_of_one_file_does_not_block_others(
    running: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher and the scanner report an exception about one file and accept the other files."""
    entries, compare = PackagesDirectory.entries, Scanner._compare

    def fail_entries(self: PackagesDirectory, path: str = "") -> Iterator[Entry]:
        if "poison" in path:
            raise ZeroDivisionError("as tested")
        return entries(self, path)

    def fail_compare(self: Scanner, part: Any, again: bool) -> tuple[list[Entry], Set[str]]:
        if any("poison" in path for path in part.entries):
            raise ZeroDivisionError("as tested")
        return compare(self, part, again)

    monkeypatch.setattr(comparison, "_SLICE", 1)
    monkeypatch.setattr(PackagesDirectory, "entries", fail_entries)
    monkeypatch.setattr(Scanner, "_compare", fail_compare)
    make_wheel(running.packages, "poison", "1.0")
    eventually(lambda: any("as tested" in each for each in problems(running)))
    make_wheel(running.packages, "bar", "1.0")
    eventually(lambda: running.files("bar"))
    make_wheel(running.packages, "zoo", "1.0")
    with pytest.raises(ZeroDivisionError):
        running.once()
    assert running.files("zoo")
    assert running.files("foo") == [WHEEL]


@pytest.mark.integration
def test_stopped_watcher_is_degraded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health reports a watcher that is stopped but holds its lock."""
    monkeypatch.setattr(report, "STALE_SECONDS", 2 * report._BEAT_SECONDS)
    make_wheel(lab.packages, "foo", "1.0")
    with watcher(lab) as process:
        eventually(lambda: lab.spec.catalog.exists() and asked(lab) == (200, "ok"))
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: any("no progress since" in each for each in problems(lab)))
        assert is_watched(lab.spec)
        assert asked(lab) == (200, "degraded")
        process.send_signal(signal.SIGCONT)
        eventually(lambda: asked(lab) == (200, "ok"))
    eventually(lambda: any("no watcher is running" in each for each in problems(lab)))
    assert asked(lab) == (200, "degraded")


def test_health_is_starting_until_first_scan(lab: Lab) -> None:
    """Health answers 503 with `starting` and Retry-After until the first scan has ended."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    lab.catalog.set_mark(scan_mark(lab.spec, lab.index), 0)
    client = TestClient(create_app(lab.spec))
    with watching(lab.spec):
        answer = client.simulate_get("/health")
        assert (answer.status_code, answer.json["status"]) == (503, "starting")
        assert answer.headers["retry-after"]
        text = "main: starting: 1 file accepted, 0 names scanned so far"
        assert answer.json["problems"] == [text]
        assert code(lab) == 1
    answer = client.simulate_get("/health")  # without a watcher
    assert (answer.status_code, answer.json["status"]) == (503, "failing")
    lab.once()
    assert lab.catalog.read().__enter__().mark(scan_mark(lab.spec, lab.index)) == 1


def junk(directory: Path) -> None:
    for name in ("lost+found", "@eaDir", "sub"):
        (directory / name).mkdir()
    make_wheel(directory / "@eaDir", "hidden", "1.0")
    names = ("Thumbs.db", ".DS_Store", "index.html", "SHA256SUMS", "README.md", "foo-2.0.zip.part")
    for name in (*names, "sub/desktop.ini", "foo-2.0.zip.crdownload", "bar.whl.aria2", "x.tmp"):
        (directory / name).write_text("junk")


def test_junk_is_ignored(running: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The watcher ignores junk, and status lists it without reporting a problem."""
    junk(running.packages)
    make_wheel(running.packages, "bar", "1.0")
    eventually(lambda: running.files("bar"))
    assert running.refused() == {}
    eventually(lambda: code(running) == 0)
    assert "  ignored 11: " in capsys.readouterr().out
    assert "README.md" in status(running.spec)["indexes"]["main"]["ignored"]
    assert running.page("hidden") is None
    assert asked(running) == (200, "ok")


def test_package_named_like_junk_is_accepted(lab: Lab) -> None:
    """The scanner accepts package files of projects that are named like junk, such as readme."""
    for name in ("readme", "license", "changelog"):
        make_wheel(lab.packages, name, "1.0")
    lab.once()
    assert lab.projects() == ["changelog", "license", "readme"]


def read_only(state: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)


def full(state: Path) -> None:
    with (state / "filler").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


BROKEN: list[tuple[Callable[[Path], None], str]] = [
    (read_only, "mounted read-only"),
    (full, "only 0 MB free, 64 MB required"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("break_it", "message"), BROKEN)
def test_health_reports_unwritable_state(
    small_disk: Path, tmp_path: Path, break_it: Callable[[Path], None], message: str
) -> None:
    """The server serves published pages and reports why the state directory is not writable."""
    lab = Lab(tmp_path, state=small_disk / "state")
    make_wheel(lab.packages, "foo", "1.0")
    source = ["-d", str(lab.packages), "--state", str(lab.spec.state)]
    command = [sys.executable, "-m", "appliance"]
    once = ["watch", str(lab.packages), "--once", *source[2:]]
    subprocess.run([*command, *once], check=True)
    break_it(small_disk)
    with lab.watched():
        answer = TestClient(create_app(lab.spec)).simulate_get("/health")
        assert answer.status_code == 200
        assert any(message in each for each in answer.json["problems"])
        for verb in (["status"], ["yank", WHEEL]):
            break_it(small_disk)  # the watcher may have deleted the WAL of the catalog
            ended = subprocess.run(
                [*command, *verb, *source], capture_output=True, text=True, check=False
            )
            assert ended.returncode == 1
            assert message in ended.stdout + ended.stderr or break_it is full
            assert "permission" not in ended.stderr


@pytest.mark.integration
def test_watcher_notifies_systemd_when_ready(lab: Lab, tmp_path: Path) -> None:
    """The watcher sends READY=1 after all files were scanned and published (sd_notify(3))."""
    for number in range(30):
        make_wheel(lab.packages, f"p{number}", "1.0")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bus:
        bus.bind(str(tmp_path / "notify"))
        bus.settimeout(60)
        before = ["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}"]
        with watcher(lab, *before):
            while "READY=1" not in (message := bus.recv(4096).decode()):
                assert message.startswith("STATUS=scanning: ")
        assert "STATUS=ready: 30 projects, 30 files" in message
        assert len(lab.projects()) == 30


def test_stale_report_is_ignored(lab: Lab) -> None:
    """A watcher's report from before a reboot is stale, and a damaged one is ignored."""
    lab.once()
    path = lab.spec.state / "watcher.json"
    path.write_text(
        json.dumps({"pid": 1, "beat": 1e12, "time": "x", "indexes": {}, "troubles": []})
    )
    stale = report.read_report(lab.spec)
    assert stale is not None
    assert stale.is_stale
    for damaged in ("", "[]", "{}", '{"pid": []}'):
        path.write_text(damaged)
        assert report.read_report(lab.spec) is None
    shutil.rmtree(lab.spec.state / "www" / "simple")
    path.unlink()
    assert asked(lab) == (503, "failing")


def test_unusable_accounts_are_reported(lab: Lab, tmp_path: Path) -> None:
    """Health reports an htpasswd file that is missing, and lines of it that are no account."""
    path = tmp_path / "htpasswd"
    lab.spec = lab.spec.model_copy(update={"accounts": Accounts(htpasswd=path)})
    lab.once()
    assert any(
        text.startswith(f"{path}: No such file or directory; no account can log in: create it")
        for text in health(lab.spec, lab.catalog).degraded
    )
    path.write_text("alice:geheim\n")
    problem = f"{path}: 1 line without a usable account; run `pyindex spec check`"
    assert problem in health(lab.spec, lab.catalog).degraded
    path.write_text("")
    assert not any("htpasswd" in text for text in health(lab.spec, lab.catalog).degraded)
