"""The units of the control machine, judged by systemd and run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.render.control import UNITS

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")

# A directory whose name each syntax would read otherwise.
STRANGE = 'the "lab" at 100% $HOME'


@pytest.fixture
def plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a playbook and an inventory, and an ansible that prints what it is given."""
    directory = tmp_path / STRANGE
    directory.mkdir()
    (directory / "site.yml").touch()
    (directory / "hosts.yml").touch()
    program = directory / "ansible-playbook"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$HOME" "$ANSIBLE_CONFIG" "$@"\n')
    program.chmod(0o755)
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


@needs_systemd
def test_systemd_accepts_units(plays: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """systemd reports nothing about the units, and has the program with its arguments."""
    assert main(["certificates", "timer", "hosts.yml", "--out", "units"]) == 0
    assert "enable --now pyindex-certificates.timer" in capsys.readouterr().out
    files = [str(plays / "units" / unit) for unit in UNITS]
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *files]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_service_runs_the_play_from_anywhere(plays: Path) -> None:
    """The service names all files by their paths, the home directory, which systemd does not set
    for root, and the configuration beside the playbook."""
    assert main(["certificates", "timer", "hosts.yml", "--out", "units"]) == 0
    text = (plays / "units" / UNITS[0]).read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart=").replace("$$", "$").replace("%%", "%"))
    printed = subprocess.run(
        words, cwd="/", env={}, capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines() == [
        str(Path.home()),
        f"{plays}/ansible.cfg",
        *("-i", f"{plays}/hosts.yml", f"{plays}/site.yml", "--tags", "certificates"),
    ]


MISSING = {
    "hosts.yml": r"hosts\.yml: no such file; pass the path",
    "site.yml": r"site\.yml: no such file; pass the path",
    "ansible-playbook": "ansible-playbook: not found; run this with the PATH of your plays",
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_file_writes_no_unit(
    plays: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the play there is no unit that would fail each night."""
    (plays / name).unlink()
    assert main(["certificates", "timer", "hosts.yml", "--out", "units"]) == 1
    assert re.search(MISSING[name], capsys.readouterr().err)
    assert not (plays / "units").exists()
