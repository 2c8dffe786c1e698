"""The manifest of a pack: its release, its inputs, and the digest of each of its files."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import PyindexError
from appliance.pack import digests, selfwheel
from appliance.pack.probe import PROBE
from appliance.pack.python import Python
from appliance.pack.wheels import OLD_PIP

MANIFEST = "manifest.json"
RELEASE = r"[0-9][0-9A-Za-z.+!]*-[0-9a-f]{12}"

Manifest = dict[str, Any]

_KEYS = {"release", "version", "python", "pip", "probe", "inputs", "files"}


@dataclass(frozen=True)
class Pack:
    """A finished pack: its release, the number of its files, and whether this run changed it."""

    release: str
    files: int
    changed: bool


def release_name(version: str, files: dict[str, str]) -> str:
    """The release of pyindex ``version`` with these files, by name with their digests."""
    return f"{version}-{digests.of_many(files)[:12]}"


def read_manifest(out: Path) -> Manifest | None:
    """The manifest of the pack at ``out``; ``None`` if the directory is absent or empty.

    Raises PyindexError for anything else: building a pack would replace it.
    """
    if not out.is_dir():
        if os.path.lexists(out):
            raise PyindexError(f"{out}: not a directory; choose another path")
        return None
    if not any(out.iterdir()):
        return None

    manifest = _parse(out / MANIFEST)
    if manifest is None:
        raise PyindexError(f"{out}: contains something other than a pack; choose another path")
    return manifest


def _parse(path: Path) -> Manifest | None:
    """The manifest; ``None`` if the file is missing or that of another program."""
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    is_ours = isinstance(manifest, dict) and manifest.keys() >= _KEYS
    return manifest if is_ours and isinstance(manifest["files"], dict) else None


def write_manifest(
    pack: Path, inputs: dict[str, Any], python: Python, strip: int | None
) -> Manifest:
    """Write the manifest of the files in ``pack``, and return it.

    ``strip`` is how many leading directories tar omits when it unpacks the Python's archive.
    """
    files = digests.of_directory(pack)
    archive = next((name for name in files if name.startswith("python/")), None)
    version = selfwheel.version()
    pips = [name for name in files if name.startswith("tools/pip-")]
    old_pip = next(name for name in pips if f"-{OLD_PIP}-" in name)

    manifest = {
        "release": release_name(version, files),
        "version": version,
        "python": {
            "version": python.version,
            "archive": archive,
            "sha256": files[archive] if archive else None,
            "strip": strip,
        },
        "pip": next((name for name in pips if name != old_pip), old_pip),
        "old_pip": old_pip,
        "probe": f"tools/{PROBE}",
        "inputs": inputs,
        "files": files,
    }
    (pack / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest
