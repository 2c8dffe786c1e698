"""The verbs as commands: beside a running server with pip as the client, and their output."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from appliance.cli import main
from tests.bundle.sides import Sides, seen
from tests.dist import make_wheel
from tests.integration.servers import embedded


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and output."""
    code = main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def source(both: Sides, side: str) -> list[str | Path]:
    lab = both.near if side == "near" else both.far
    return ["-d", lab.packages, "--state", lab.spec.state]


def test_commands_carry_an_index_across(
    both: Sides, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The commands make a key, bundle, load, and carry token and receipt back."""
    near, far = source(both, "near"), source(both, "far")
    code, public, _ = run(capsys, "bundle-key", tmp_path / "key")
    assert code == 0
    signed: list[str | Path] = ["--sign", tmp_path / "key"]
    code, out, _ = run(capsys, "bundle", both.out, *near, *signed, "--volume", "10k", "--json")
    written = json.loads(out)
    assert (code, written["files"], written["left_out"]) == (0, 5, 0)

    load: list[str | Path] = ["load", *written["paths"], *far, "--key", public.strip()]
    code, out, _ = run(capsys, *load, "--json")
    loaded = json.loads(out)
    assert (code, loaded["result"], len(loaded["new"])) == (0, "loaded", 5)
    code, out, _ = run(capsys, *load)
    assert code == 0
    assert out.startswith(f"already loaded bundle {written['bundle'][:12]} (signed by ")
    code, out, _ = run(capsys, "receipts", *far)
    assert out.rstrip().endswith(f"5 new of 5 files {loaded['receipt']}")

    make_wheel(both.near.packages, "more", "1.0")
    _, token, _ = run(capsys, "state", *far)
    for known in (token.strip(), loaded["receipt"]):
        code, out, _ = run(capsys, "bundle", both.out, *near, *signed, "--since", known, "--json")
        assert (code, json.loads(out)["files"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["bundle", "OUT", "--volume", "x"],
            2,
            "--volume: expected a size such as 512m or 2g, got 'x'; see `pyindex bundle --help`",
        ),
        (
            ["load", "OUT"],
            1,
            "OUT: No such file or directory; pass the files of a bundle",
        ),
        (["load"], 2, "missing argument 'BUNDLE...'; see `pyindex load --help`"),
        (
            ["state", "--index", "x"],
            1,
            "index 'x' not found; the spec has main",
        ),
    ],
)
def test_commands_explain(
    both: Sides,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """Wrong usage is an error on one line, and changes nothing."""
    before = seen(both.far)
    words: list[str | Path] = [str(both.out) if word == "OUT" else word for word in arguments]
    result, out, err = run(capsys, *words, *source(both, "far"))
    assert (result, out) == (code, "")
    assert err == f"pyindex: {message.replace('OUT', str(both.out))}\n"
    assert seen(both.far) == before


@pytest.mark.integration
def test_load_beside_server_is_installable(both: Sides, tmp_path: Path) -> None:
    """While a server runs, a load shows all projects at once, and pip installs from it."""
    for number in range(30):
        make_wheel(both.near.packages, f"r{number}", "1.0", requires=["p0"])
    both.bundle()
    partial, ends = list[int](), threading.Event()
    projects = {f"r{number}" for number in range(30)}

    (tmp_path / "served").mkdir()
    with embedded(both.far.packages, tmp_path / "served") as server:
        simple = tmp_path / "served" / "state" / "www" / "simple"

        def look() -> None:
            while not ends.is_set():
                count = len(projects & {path.name for path in simple.iterdir()})
                listed = json.loads((simple / "index.json").read_bytes())["projects"]
                shown = sum(project["name"] in projects for project in listed)
                if count not in (0, 30) or shown not in (0, 30):
                    partial.append(count)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            server.command("load", str(both.out))
        finally:
            ends.set()
            looking.join()
        target = tmp_path / "target"
        pip = [sys.executable, "-m", "pip", "install", "--isolated", "--no-cache-dir"]
        pip += ["--index-url", f"{server.url}/simple/", "--target", str(target), "r7", "p1"]
        subprocess.run(pip, check=True, capture_output=True)
    assert partial == []
    assert (target / "p0.py").exists()
    assert (target / "r7.py").exists()
