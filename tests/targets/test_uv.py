"""Targets compared with what uv decides for a platform that is not this one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.tags import parse_tag
from uv import find_uv_bin

from appliance.targets.reading import read
from tests.dist import make_wheel

# Platforms of uv, and the same as targets.
PLATFORMS = {
    "x86_64-manylinux2014": "cp312-manylinux2014_x86_64",
    "x86_64-manylinux_2_28": "cp312-manylinux_2_28_x86_64",
    "aarch64-manylinux_2_39": "cp312-manylinux_2_39_aarch64",
    "x86_64-unknown-linux-musl": "cp312-musllinux_1_2_x86_64",
    "aarch64-apple-darwin": "cp312-macosx_13_0_arm64",
    "x86_64-apple-darwin": "cp312-macosx_13_0_x86_64",
    "x86_64-pc-windows-msvc": "cp312-win_amd64",
    "aarch64-pc-windows-msvc": "cp312-win_arm64",
    "i686-pc-windows-msvc": "cp312-win32",
}
TAGS = (
    *("cp312-cp312-manylinux1_x86_64", "cp312-cp312-manylinux_2_17_x86_64"),
    *("cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_28_aarch64"),
    *("cp312-cp312-manylinux_2_39_aarch64", "cp312-cp312-manylinux_2_40_aarch64"),
    *("cp312-cp312-musllinux_1_2_x86_64", "cp312-cp312-musllinux_1_1_aarch64"),
    *("cp312-abi3-win_amd64", "cp38-abi3-win_amd64", "cp313-abi3-win_amd64", "cp312-none-win32"),
    *("py3-none-win_arm64", "py312-none-win_amd64", "cp312-cp312t-win_amd64"),
    *("cp312-cp312-macosx_11_0_arm64", "cp312-cp312-macosx_13_0_arm64"),
    *("cp312-cp312-macosx_14_0_arm64", "cp312-cp312-macosx_10_9_universal2"),
    *("cp312-cp312-macosx_10_9_x86_64", "cp36-abi3-macosx_10_9_intel"),
    *("py2.py3-none-any", "py2-none-any", "cp312-none-any", "py313-none-any", "py30-none-any"),
)
MARKERS = (
    *("os_name == 'nt'", "os_name == 'posix'", "sys_platform == 'win32'"),
    *("sys_platform == 'linux'", "sys_platform == 'darwin'", "platform_system == 'Windows'"),
    *("platform_system == 'Linux'", "platform_system == 'Darwin'"),
    *(f"platform_machine == '{name}'" for name in ("x86_64", "AMD64", "ARM64", "arm64", "x86")),
    *("platform_machine == 'aarch64'", "platform_python_implementation == 'CPython'"),
    *("implementation_name == 'cpython'", "python_version >= '3.12'"),
    "python_full_version >= '3.12.1'",
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for each tag, whose version 2 has that tag alone, and one for each marker."""
    directory = tmp_path_factory.mktemp("wheels")
    for number, tag in enumerate(TAGS):
        make_wheel(directory, f"tag{number}", "1")
        newer = make_wheel(directory, f"tag{number}", "2")
        newer.rename(directory / f"tag{number}-2-{tag}.whl")
    for number in range(len(MARKERS)):
        make_wheel(directory, f"marker{number}", "1")
    return directory


@pytest.mark.parametrize("platform", PLATFORMS)
def test_target_agrees_with_uv(platform: str, wheels: Path, tmp_path: Path) -> None:
    """A target installs the wheels that uv selects for the same platform, by the same markers."""
    target = read(PLATFORMS[platform])
    requirements = tmp_path / "requirements.in"
    requirements.write_text("\n".join(_requirements()))
    lines = subprocess.run(
        [
            *(find_uv_bin(), "pip", "compile", "--no-config", "--offline", "--no-index"),
            *("--no-header", "--no-annotate", "--quiet", "--find-links", wheels),
            *("--python", sys.executable, "--python-version", target.python),
            *("--python-platform", platform, requirements),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    supported = set(target.tags)
    expected = [
        f"tag{number}=={2 if parse_tag(tag) & supported else 1}" for number, tag in enumerate(TAGS)
    ]
    expected += [
        f"marker{number}==1"
        for number, marker in enumerate(MARKERS)
        if Marker(marker).evaluate(dict(target.environment))
    ]
    assert sorted(lines) == sorted(expected)


def _requirements() -> Iterator[str]:
    yield from (f"tag{number}" for number in range(len(TAGS)))
    yield from (f"marker{number}; {marker}" for number, marker in enumerate(MARKERS))
