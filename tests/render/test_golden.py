"""Rendered files of hosts as readable trees in tests/render/golden.

``python -m tests.render.test_golden`` renews them; read the difference before you commit it.
"""

import shutil
import tempfile
from pathlib import Path

import pytest

from appliance.render import files, place

from .specs import SPECS, load

GOLDEN = Path(__file__).parent / "golden"
READABLE = ("debian-12", "debian-12-supervisor", "centos-7-full")


def tree(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", READABLE)
def test_rendered_files_match_golden_tree(name: str, tmp_path: Path) -> None:
    """The rendered files of a host match its golden tree."""
    place.write(files(load(name, tmp_path)), tmp_path / "out")
    renew = "run: python -m tests.render.test_golden"
    assert tree(tmp_path / "out") == tree(GOLDEN / name), renew


@pytest.mark.parametrize("name", SPECS)
def test_rendering_ignores_path_of_spec(name: str, tmp_path: Path) -> None:
    """The same spec in another directory renders to the same files."""
    (tmp_path / "elsewhere").mkdir()
    first = files(load(name, tmp_path))
    assert first == files(load(name, tmp_path / "elsewhere"))


@pytest.mark.parametrize("name", SPECS)
def test_rendered_file_has_notice(name: str, tmp_path: Path) -> None:
    """Each rendered file that allows comments begins with a notice not to edit it."""
    for file in files(load(name, tmp_path)):
        assert "do not edit" in file.content[:400] or file.path.endswith(".json"), file.path


def renew() -> None:
    """Rewrite the golden trees."""
    for name in READABLE:
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
        with tempfile.TemporaryDirectory() as directory:
            place.write(files(load(name, Path(directory))), GOLDEN / name)


if __name__ == "__main__":
    renew()
