"""Commands `pyindex init` and `pyindex spec`."""

import json
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from appliance.cli import main
from appliance.spec import Nginx, Server, Spec, reference, schema

from .texts import NAME, SKETCH, SMALL, URL, loaded


def test_init_writes_valid_spec(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex init` writes a spec that passes `pyindex spec check`."""
    assert main(["init"]) == 0
    assert stat.S_IMODE((directory / "pyindex.yml").stat().st_mode) == 0o644
    assert 'then run: pyindex spec check "pyindex.yml"' in capsys.readouterr().out
    assert main(["spec", "check"]) == 0
    assert capsys.readouterr().out == (
        f"pyindex.yml: OK\n  pyindex, state in {directory}/state\n"
        f"  /simple/ serves {directory}/packages\n"
    )


def test_init_shows_every_key() -> None:
    """The spec from `pyindex init`, uncommented, is valid and has every key with its default."""
    assert main(["init"]) == 0
    text = re.sub(r"^( *)#(?=(?:- )?[\w*-]+:)", r"\1", Path("pyindex.yml").read_text(), flags=re.M)
    full = loaded(text)
    assert full.server == Server(bind="socket")
    assert (full.name, full.nginx.max_upload) == (
        Spec.model_fields["name"].default,
        Nginx().max_upload,
    )
    written = {key for key, _ in walked(yaml.safe_load(text), ())}
    known = {
        tuple("*" if part in {*full.indexes, "acme-*"} else part for part in key) for key in written
    }
    assert known == set(reference())


def walked(data: object, key: tuple[str, ...]) -> list[tuple[tuple[str, ...], object]]:
    """Return every key of nested mappings and lists of mappings with its value."""
    entries: list[tuple[tuple[str, ...], object]] = []
    items = data.items() if isinstance(data, dict) else ()
    sections = (
        [section for section in data if isinstance(section, dict)] if isinstance(data, list) else []
    )
    for name, value in (*items, *(("[]", section) for section in sections)):
        entries += [((*key, name), value), *walked(value, (*key, name))]
    return entries


def test_init_keeps_existing_file(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex init` overwrites no file and no dangling link without `--force`."""
    (directory / "mine.yml").write_text("mine")
    (directory / "dangling.yml").symlink_to("nowhere.yml")
    (directory / "link.yml").symlink_to("mine.yml")
    for name in ("mine.yml", "dangling.yml", "link.yml"):
        assert main(["init", name]) == 1
        assert f"{name}: exists already; pass --force to overwrite it" in capsys.readouterr().err
    assert (directory / "mine.yml").read_text() == "mine"
    assert main(["init", "link.yml", "--force"]) == 0
    assert (directory / "link.yml").is_symlink()
    assert main(["spec", "check", "-c", "mine.yml"]) == 0


def test_init_replaces_file_atomically(directory: Path) -> None:
    """`pyindex init` keeps the old file and leaves no other if the disk is full."""
    (directory / "pyindex.yml").write_text("mine")
    command = "import sys; from appliance.cli import main; sys.exit(main(['init', '--force']))"
    done = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "pyindex.yml: File too large" in done.stderr
    assert [(path.name, path.read_text()) for path in directory.iterdir()] == [
        ("pyindex.yml", "mine")
    ]


@pytest.mark.parametrize(
    ("path", "problem"), [("/dev/null/x.yml", "Not a directory"), (".", "Is a directory")]
)
def test_init_reports_unwritable_path(
    path: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex init` reports why it cannot write to a path."""
    assert main(["init", "--force", path]) == 1
    assert f"{path}: {problem}" in capsys.readouterr().err


def test_check_lists_indexes(capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex spec check` lists the URL path, packages directory and bases of each index."""
    Path("lab.yml").write_text(SKETCH)
    assert main(["spec", "check", "-c", "lab.yml"]) == 0
    assert capsys.readouterr() == (
        "lab.yml: OK\n"
        "  pyindex, state in /var/lib/pyindex\n"
        "  /simple/ serves /srv/pyindex/packages\n"
        "  /staging/simple/ serves /srv/pyindex/staging, then main\n",
        "",
    )


def test_check_reports_problems(capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex spec check` prints each problem on a line of standard error and exits with 1."""
    Path("lab.yml").write_text(SMALL + "name: A\nurl: x\n")
    assert main(["spec", "check", "-c", "lab.yml"]) == 1
    assert capsys.readouterr() == (
        "",
        f"lab.yml:4: name: {NAME}, got 'A'\nlab.yml:5: url: {URL}, got 'x'\n",
    )


def test_schema_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex spec schema` prints the JSON Schema."""
    assert main(["spec", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
