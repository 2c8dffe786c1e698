"""What a host gets, as trees that a person can read: tests/render/golden.

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


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", READABLE)
def test_a_host_gets_what_is_written_down(name: str, tmp_path: Path) -> None:
    """A change of what is rendered is a change of a golden tree."""
    place.write(files(load(name, tmp_path)), tmp_path / "out")
    renew = "run: python -m tests.render.test_golden"
    assert tree(tmp_path / "out") == tree(GOLDEN / name), renew


@pytest.mark.parametrize("name", SPECS)
def test_the_same_spec_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Wherever the spec's file lies, and from its own normal form too."""
    (tmp_path / "elsewhere").mkdir()
    first = files(load(name, tmp_path))
    assert first == files(load(name, tmp_path / "elsewhere"))


@pytest.mark.parametrize("name", SPECS)
def test_the_head_of_each_file_names_the_spec_s_digest(name: str, tmp_path: Path) -> None:
    """Each file that has comments says where it comes from, and not to edit it."""
    for file in files(load(name, tmp_path)):
        assert "do not edit" in file.content[:400] or file.path.endswith(".json"), file.path


def renew() -> None:
    """Write the golden trees anew."""
    for name in READABLE:
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            place.write(files(load(name, Path(folder))), GOLDEN / name)


if __name__ == "__main__":
    renew()
