"""The probe: a small wheel that the verification install fetches through a new index."""

from pathlib import Path

from appliance.pack import wheelfile

PROBE = "pyindex_probe-1-py2.py3-none-any.whl"

_INFO = "pyindex_probe-1.dist-info"
_CONTENTS = {
    "pyindex_probe.py": '"""Installed through an index, this proves that it works."""\n',
    f"{_INFO}/METADATA": "Metadata-Version: 2.1\nName: pyindex-probe\nVersion: 1\n"
    "Summary: Proves that an index works.\n",
    f"{_INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: pyindex\nRoot-Is-Purelib: true\n"
    "Tag: py2-none-any\nTag: py3-none-any\n",
}


def write(path: Path) -> None:
    wheelfile.write(path, {name: text.encode() for name, text in _CONTENTS.items()})
