"""Logs in JSON: every line that server and watcher write on standard error is an object."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.serving import PYINDEX

pytestmark = pytest.mark.integration
GUNICORN = Path(sys.executable).with_name("gunicorn")
COMMANDS: dict[str, list[Path | str]] = {
    "serve": [PYINDEX, "serve", "--port", "0", "--no-nginx"],
    "watch": [PYINDEX, "watch"],
    "gunicorn": [
        *(GUNICORN, "--logger-class", "appliance.web.logger.JsonLogger"),
        *("--bind", "127.0.0.1:0", "--no-control-socket", "appliance.wsgi:application"),
    ],
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with a spec, and a package file that is not one."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "foo-1.0.zip").write_bytes(b"not a zip file")
    indexes = "indexes: {main: {packages: packages}}"
    (tmp_path / "pyindex.yml").write_text(f"state: state\nserver: {{log: json}}\n{indexes}\n")
    return tmp_path


@contextmanager
def logging(command: Sequence[Path | str], directory: Path) -> Iterator[Path]:
    """Run a program until its end, which the caller reads about in the yielded log."""
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=directory, start_new_session=True
        )
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_is_an_object(name: str, directory: Path) -> None:
    """Each line of the log has the time, the level, the logger and a message."""
    start = datetime.now(UTC)
    with logging(COMMANDS[name], directory) as log:
        eventually(lambda: log.read_bytes().count(b"\n") >= 2)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines
    for line in lines:
        assert line.keys() - {"error"} == {"time", "level", "logger", "message", "process"}
        assert line["level"] in {"info", "warning", "error"}
        assert abs((datetime.fromisoformat(line["time"]) - start).total_seconds()) < 3600
