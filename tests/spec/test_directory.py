"""A directory of package files, served without a spec."""

import re
from pathlib import Path

import pytest

from appliance.errors import SpecError
from appliance.spec import IndexSection, for_directory


def test_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is an index without a spec; its state is the user's, found again by its name."""
    packages = folder / "My Packages"
    packages.mkdir()
    (folder / "link").symlink_to(packages)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    spec = for_directory(Path("My Packages"))
    assert spec.indexes == {"main": IndexSection(packages=packages)}
    assert re.fullmatch("/data/pyindex/my-packages-[0-9a-f]{10}", str(spec.state))
    assert for_directory(folder / "link" / ".." / "link").state == spec.state
    (folder / "other").mkdir()
    assert for_directory(folder / "other").state != spec.state
    assert not spec.state.exists()


@pytest.mark.parametrize("unusable", ["", "relative/data"])
def test_directory_state_at_home(
    folder: Path, monkeypatch: pytest.MonkeyPatch, unusable: str
) -> None:
    """Without a usable XDG_DATA_HOME, state goes under the home directory."""
    monkeypatch.setenv("XDG_DATA_HOME", unusable)
    assert str(for_directory(folder).state).startswith("/home/alice/.local/share/pyindex/")


@pytest.mark.parametrize(
    ("name", "slug"), [("py.2 & 3", "py-2-3"), ("___", "index"), ("x" * 60, "x" * 40)]
)
def test_directory_slug(folder: Path, name: str, slug: str) -> None:
    """The state's name says to a person which directory it belongs to."""
    (folder / name).mkdir()
    assert for_directory(Path(name)).state.name.rpartition("-")[0] == slug


def test_directory_with_state(folder: Path) -> None:
    """A state that is given is taken, from the current directory."""
    (folder / "packages").mkdir()
    assert for_directory(Path("packages"), Path("../state")).state == folder.parent / "state"


PACKAGES = "packages: must not overlap state:"
STATE = "state: must not overlap packages:"


@pytest.mark.parametrize(
    ("packages", "state", "problem"),
    [
        ("nowhere", None, "'nowhere': No such file or directory"),
        ("file", None, "'file': not a directory"),
        ("a\nb", None, r"'a\nb': expected a path, without control characters"),
        ("packages", "packages/s", f"{STATE} 'CWD/packages/s' is inside 'CWD/packages'"),
        ("packages", "link/s", f"{STATE} 'CWD/link/s' is inside 'CWD/packages'"),
        ("packages", ".", f"{PACKAGES} 'CWD/packages' is inside 'CWD'"),
        ("packages", "link", f"{STATE} 'CWD/link' is the same as 'CWD/packages'"),
    ],
)
def test_directory_refused(folder: Path, packages: str, state: str | None, problem: str) -> None:
    """What is no directory, or would hold its own state, is refused."""
    (folder / "file").touch()
    (folder / "packages").mkdir()
    (folder / "link").symlink_to("packages")
    with pytest.raises(SpecError) as caught:
        for_directory(Path(packages), Path(state) if state else None)
    assert caught.value.problems == [problem.replace("CWD", str(folder))]


def test_directory_around_its_default_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home directory served whole would hold its own state, and is refused."""
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "share"))
    with pytest.raises(SpecError, match="state: must not overlap packages"):
        for_directory(folder)
