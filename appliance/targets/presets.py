"""Presets: names for the Pythons that come with operating systems, and for current ones elsewhere.

The patch version of a system's Python counts: the 3.11.2 of Debian 12 needs what is required for
``python_full_version < "3.11.3"``.
"""

from types import MappingProxyType

_SYSTEMS = {
    "centos7-py27": "cp27mu.5-manylinux2014",
    "centos7-py36": "cp36m.8-manylinux2014",
    "rocky8": "cp36m.8-manylinux_2_28",
    "rocky9": "cp39-manylinux_2_34",
    "rocky10": "cp312-manylinux_2_39",
    "debian11": "cp39.2-manylinux_2_31",
    "debian12": "cp311.2-manylinux_2_36",
    "debian13": "cp313.5-manylinux_2_41",
    "ubuntu2004": "cp38.10-manylinux_2_31",
    "ubuntu2204": "cp310.12-manylinux_2_35",
    "ubuntu2404": "cp312.3-manylinux_2_39",
}
# The Pythons that get fixes.
_CURRENT = ("310", "311", "312", "313", "314", "315")
_ELSEWHERE = {
    "alpine-py{}": "cp{}-musllinux_1_2_x86_64",
    "alpine-py{}-aarch64": "cp{}-musllinux_1_2_aarch64",
    "macos-py{}": "cp{}-macosx_13_0_arm64",
    "macos-py{}-x86_64": "cp{}-macosx_13_0_x86_64",
    "windows-py{}": "cp{}-win_amd64",
    "windows-py{}-arm64": "cp{}-win_arm64",
}

PRESETS = MappingProxyType(
    {name: f"{text}_x86_64" for name, text in _SYSTEMS.items()}
    | {f"{name}-aarch64": f"{text}_aarch64" for name, text in _SYSTEMS.items()}
    | {name.format(py): text.format(py) for name, text in _ELSEWHERE.items() for py in _CURRENT}
)
"""Each preset, as interpreter and platform."""
