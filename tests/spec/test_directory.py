"""Specs made from a packages directory instead of a file."""

import re
from pathlib import Path

import pytest

from appliance.errors import SpecError
from appliance.spec import IndexSection, for_directory


def test_directory_has_state_by_its_path(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packages directory without a spec has a state directory named after its real path."""
    packages = directory / "My Packages"
    packages.mkdir()
    (directory / "link").symlink_to(packages)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    spec = for_directory(Path("My Packages"))
    assert spec.indexes == {"main": IndexSection(packages=packages)}
    assert re.fullmatch("/data/pyindex/my-packages-[0-9a-f]{10}", str(spec.state))
    assert for_directory(directory / "link" / ".." / "link").state == spec.state
    (directory / "other").mkdir()
    assert for_directory(directory / "other").state != spec.state
    assert not spec.state.exists()


@pytest.mark.parametrize("unusable", ["", "relative/data"])
def test_directory_state_defaults_to_home(
    directory: Path, monkeypatch: pytest.MonkeyPatch, unusable: str
) -> None:
    """The state directory is below the home directory if XDG_DATA_HOME is not usable."""
    monkeypatch.setenv("XDG_DATA_HOME", unusable)
    assert str(for_directory(directory).state).startswith("/home/alice/.local/share/pyindex/")


@pytest.mark.parametrize(
    ("name", "slug"), [("py.2 & 3", "py-2-3"), ("___", "index"), ("x" * 60, "x" * 40)]
)
def test_state_name_contains_directory_name(directory: Path, name: str, slug: str) -> None:
    """The name of the state directory contains the name of the packages directory."""
    (directory / name).mkdir()
    assert for_directory(Path(name)).state.name.rpartition("-")[0] == slug


def test_given_state_is_relative_to_working_directory(directory: Path) -> None:
    """A given state directory is relative to the working directory."""
    (directory / "packages").mkdir()
    assert for_directory(Path("packages"), Path("../state")).state == directory.parent / "state"


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
def test_spec_rejects_packages_path(
    directory: Path, packages: str, state: str | None, problem: str
) -> None:
    """The spec rejects a path that is not a directory or overlaps its state directory."""
    (directory / "file").touch()
    (directory / "packages").mkdir()
    (directory / "link").symlink_to("packages")
    with pytest.raises(SpecError) as caught:
        for_directory(Path(packages), Path(state) if state else None)
    assert caught.value.problems == [problem.replace("CWD", str(directory))]


def test_spec_rejects_directory_around_default_state(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spec rejects a packages directory that contains its default state directory."""
    monkeypatch.setenv("XDG_DATA_HOME", str(directory / "share"))
    with pytest.raises(SpecError, match="state: must not overlap packages"):
        for_directory(directory)
