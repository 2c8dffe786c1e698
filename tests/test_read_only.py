"""A state that nobody here may write to is served, and told about, as it is."""

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
    """The state mounted a second time, where it can only be read."""
    place = lab.packages.parent / "mounted"
    place.mkdir(exist_ok=True)
    mount = ["mount", "--bind", str(lab.spec.state), str(place)]
    subprocess.run(mount, check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        other = object.__new__(Lab)
        other.packages = lab.packages
        other.spec = lab.spec.model_copy(update={"state": place})
        yield other
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def answers(lab: Lab) -> dict[str, str]:
    """What each part of the application that asks the catalog says, in full."""
    client = TestClient(create_app(lab.spec))
    paths = ("/pypi/foo/json", "/packages/", "/simple/foo/", f"/packages/{WHEEL}", "/?q=foo")
    found = {path: client.simulate_get(path) for path in paths}
    assert {path: answer.status_code for path, answer in found.items()} == dict.fromkeys(paths, 200)
    return {path: answer.text for path, answer in found.items() if not path.endswith(".whl")}


def command(lab: Lab, *words: str) -> int:
    return main([*words, "-d", str(lab.packages), "--state", str(lab.spec.state)])


def test_everything_that_reads_works(published: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The application says what it says elsewhere, and commands tell why nothing changes."""
    with read_only(published) as lab:
        assert answers(lab) == answers(published)
        assert command(lab, "status") == 1
        told = capsys.readouterr().out
        assert "main: 1 projects, 1 files" in told
        assert f"problem: state directory {lab.spec.state}: mounted read-only" in told
        assert command(lab, "verify") == 0
        assert "1 files, 0 MB verified: 0 problems" in capsys.readouterr().out
        assert command(lab, "yank", WHEEL) == 1
        assert "mounted read-only" in capsys.readouterr().err


def test_a_log_that_goes_while_it_is_opened_is_no_error(
    published: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write to it elsewhere has just closed it."""
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


def test_what_others_write_is_seen(published: Lab) -> None:
    """A mount that can only be read may be of a state that is written to elsewhere: while that
    happens, with what lies in the log of SQLite; before it; and after it."""
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


def test_a_log_that_was_left_is_read(published: Lab, tmp_path: Path) -> None:
    """After a crash the last changes lie beside the catalog; if what SQLite needs to read them is
    not there, it is said where they are."""
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
    with read_only(published) as lab:  # another process, as SQLite keeps in one what it has open
        words = [sys.executable, "-m", "appliance", "status", "-d", str(lab.packages)]
        words += ["--state", str(lab.spec.state)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "mounted read-only; last changes are in catalog.sqlite-wal" in ended.stderr
