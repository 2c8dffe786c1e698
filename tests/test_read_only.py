"""State directory on a read-only file system: serving, status, changes made elsewhere."""

import gc
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from falcon.testing import TestClient

from appliance.cli import main
from appliance.operations import decisions
from appliance.web.app import create_app
from tests.conftest import Lab
from tests.dist import make_wheel

WHEEL = "foo-1.0-py2.py3-none-any.whl"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")


@pytest.fixture
def published(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    return lab


@contextmanager
def read_only(lab: Lab) -> Iterator[Lab]:
    """Mount the state directory a second time, read-only."""
    mounted = lab.packages.parent / "mounted"
    mounted.mkdir(exist_ok=True)
    mount = ["mount", "--bind", str(lab.spec.state), str(mounted)]
    subprocess.run(mount, check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(mounted)], check=True)
        other = object.__new__(Lab)
        other.packages = lab.packages
        other.spec = lab.spec.model_copy(update={"state": mounted})
        yield other
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def answers(lab: Lab) -> dict[str, str]:
    """Return the complete answers of all parts of the application that read the catalog."""
    client = TestClient(create_app(lab.spec))
    paths = ("/pypi/foo/json", "/packages/", "/simple/foo/", f"/packages/{WHEEL}", "/?q=foo")
    by_path = {path: client.simulate_get(path) for path in paths}
    assert {path: answer.status_code for path, answer in by_path.items()} == dict.fromkeys(
        paths, 200
    )
    return {path: answer.text for path, answer in by_path.items() if not path.endswith(".whl")}


def command(lab: Lab, *arguments: str) -> int:
    return main([*arguments, "-d", str(lab.packages), "--state", str(lab.spec.state)])


def test_read_only_state_is_served(published: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The server works with a read-only state, and commands that change it name the cause."""
    with read_only(published) as lab:
        assert answers(lab) == answers(published)
        assert command(lab, "status") == 1
        output = capsys.readouterr().out
        assert "main: 1 project, 1 file" in output
        assert f"problem: state directory {lab.spec.state}: mounted read-only" in output
        assert command(lab, "verify") == 0
        assert "1 file, 0 MB verified: 0 problems" in capsys.readouterr().out
        assert command(lab, "yank", WHEEL) == 1
        assert "mounted read-only" in capsys.readouterr().err


def test_catalog_opens_while_log_disappears(
    published: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog opens while another process removes the write-ahead log."""
    with closing(sqlite3.connect(published.spec.catalog)) as held, read_only(published) as lab:
        held.execute("SELECT * FROM mark").fetchall()
        decisions.yank(published.spec, published.index, WHEEL, "x")
        catalog = lab.catalog
        current = catalog._file

        def close_after() -> object:
            seen = current()
            monkeypatch.setattr(catalog, "_file", current)
            held.close()
            gc.collect()
            for part in ("-wal", "-shm"):
                (published.spec.state / f"catalog.sqlite{part}").unlink(missing_ok=True)
            return seen

        monkeypatch.setattr(catalog, "_file", close_after)
        with catalog.read() as reader:
            assert reader.counts(lab.index) == (1, 1)


def test_read_only_mount_shows_changes_of_others(published: Lab) -> None:
    """A read-only mount shows changes of other processes, also those in the log."""
    with read_only(published) as lab:
        client = TestClient(create_app(lab.spec))

        def yanked() -> object:
            (file,) = json.loads(client.simulate_get("/pypi/foo/json").text)["urls"]
            return file["yanked_reason"]

        assert yanked() is None
        decisions.yank(published.spec, published.index, WHEEL, "first")
        assert yanked() == "first"
        with closing(sqlite3.connect(published.spec.catalog)) as held:
            held.execute("SELECT * FROM mark").fetchall()
            decisions.yank(published.spec, published.index, WHEEL, "second")
            assert (published.spec.state / "catalog.sqlite-wal").stat().st_size
            assert yanked() == "second"
        decisions.yank(published.spec, published.index, WHEEL, "third")
        assert yanked() == "third"


def test_remaining_log_is_read(published: Lab, tmp_path: Path) -> None:
    """The catalog reads a remaining write-ahead log, or the error names it."""
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(published.spec.catalog)) as held:
        held.execute("SELECT * FROM mark").fetchall()
        decisions.yank(published.spec, published.index, WHEEL, "last")
        shutil.copytree(published.spec.state, copy)
    published.spec = published.spec.model_copy(update={"state": copy})
    with read_only(published) as lab, lab.catalog.read() as reader:
        (file,) = reader.files_after(lab.index)
        assert file.yanked == "last"
    (copy / "catalog.sqlite-shm").unlink()
    # Another process, because SQLite shares open files within one process.
    with read_only(published) as lab:
        arguments = [sys.executable, "-m", "appliance", "status", "-d", str(lab.packages)]
        arguments += ["--state", str(lab.spec.state)]
        ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "mounted read-only; last changes are in catalog.sqlite-wal" in ended.stderr
