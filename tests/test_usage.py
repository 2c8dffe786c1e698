"""Wrong usage of a command: one line that says what to correct."""

import re
from pathlib import Path

import pytest

from appliance.cli import main

NAME_ANOTHER = "make it writable for uid .*, or choose another"
WRONG = [
    (
        ["serve", "/nowhere"],
        1,
        "pyindex: '/nowhere': No such file or directory, and /.*/data/pyindex/nowhere-.* has"
        " no published pages of it; correct the path",
    ),
    (
        ["status", "-d", "/nowhere", "--state", "x"],
        1,
        "No such file .*/x has no published pages.*, or create it: mkdir /nowhere",
    ),
    (["serve", "-c", "/nowhere.yml"], 1, "/nowhere.yml: no such file; .* to start from"),
    (["serve", ".", "-c", "x.yml"], 1, "got a directory and a spec; pass only one of them"),
    (["serve", "-c", "x.yml", "--url", "http://x"], 1, "x.yml: no such file"),
    (["serve", ".", "--url", "ftp://x"], 1, "pyindex: url: expected"),
    (["serve", "--state", "x"], 1, "--state requires a directory"),
    (["status"], 1, r"no spec at pyindex.yml or .*; pass a directory or -c SPEC"),
    (["status", "-d", "."], 1, "start the index once to create it"),
    (["yank", "-d", ".", "--index", "nix", "x"], 1, "index 'nix' not found; the spec has main"),
    (
        ["serve", ".", "--port", "99999"],
        2,
        "'--port': expected a whole number from 0 to 65535, got '99999'",
    ),
    (["serve", ".", "--workers", "0"], 2, "'--workers': expected .* 1 to 256, got '0'"),
    (["serve", ".", "--threads", "257"], 2, "'--threads': expected .* 1 to 256, got '257'"),
    (["serve", ".", "--threads", "x"], 2, "'--threads': expected .* 1 to 256, got 'x'"),
    (
        ["serve", ".", "--state", "../file"],
        1,
        f"state directory .*/file: Not a directory; {NAME_ANOTHER}",
    ),
    (["serve", ".", "--access-log", "/nowhere/x"], 1, "--access-log /nowhere/x: No such file or"),
    (
        ["serve", ".", "--state", "/proc/x"],
        1,
        f"state directory /proc/x: No such file .*; {NAME_ANOTHER}",
    ),
    (["watch", ".", "--once", "--state", "../file"], 1, "pyindex: .*/file.*irectory"),
    (["nix"], 2, "no such command 'nix'; see `pyindex --help`"),
    ([], 2, "Usage: pyindex"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_wrong_usage_is_reported_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """A command reports wrong usage in one line without a traceback."""
    directory = tmp_path / "directory"
    directory.mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("PYINDEX_SPEC", raising=False)
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error
