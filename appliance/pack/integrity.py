"""A pack compared with its manifest. Nothing is changed."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import PyindexError
from appliance.pack import digests
from appliance.pack.manifest import (
    MANIFEST,
    RELEASE,
    Manifest,
    Pack,
    read_manifest,
    release_name,
)


def check_pack(out: Path) -> Pack:
    """The pack at ``out``, if every file is as the manifest says, and there is no other.

    Raises PyindexError that names each file that was changed, is missing, or was added.
    """
    manifest = read_manifest(out)
    if manifest is None:
        raise PyindexError(f"{out}: no pack; run `pyindex appliance pack --out {out}`")
    if problems := [*_differences(out, manifest), *_contradictions(manifest)]:
        lines = "\n".join(f"{out}: {problem}" for problem in problems)
        raise PyindexError(
            f"{lines}\nthe pack differs from its manifest; build it again, or copy it again"
        )
    return Pack(manifest["release"], len(manifest["files"]), changed=False)


def is_intact(out: Path, manifest: Manifest) -> bool:
    """Whether a pack has the files that its manifest names, and no others."""
    files = digests.of_directory(out)
    del files[MANIFEST]
    expected: dict[str, str] = manifest["files"]
    return files == expected


def unexpected_files(out: Path, manifest: Manifest) -> list[str]:
    """Names of files at ``out`` that are not part of the pack."""
    return sorted(digests.of_directory(out).keys() - manifest["files"].keys() - {MANIFEST})


def _differences(out: Path, manifest: Manifest) -> Iterator[str]:
    """Differences between the files at ``out`` and the manifest."""
    files: dict[str, str] = manifest["files"]
    present = set()
    for name, mode in _entries(out):
        if not stat.S_ISREG(mode):
            yield f"{name} is not a regular file"
            continue

        present.add(name)
        if name not in files:
            if name != MANIFEST:
                yield f"{name} was added"
        elif digests.of_file(out / name) != files[name]:
            yield f"{name} was changed"

    for name in sorted(files.keys() - present):
        yield f"{name} is missing"


def _entries(out: Path) -> Iterator[tuple[str, int]]:
    """Name and mode of everything below ``out`` that is not a directory."""
    for parent, directories, names in os.walk(out):
        for path in (Path(parent, name) for name in (*directories, *names)):
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode):
                yield path.relative_to(out).as_posix(), mode


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Entries of the manifest that contradict the files that it lists."""
    files: dict[str, str] = manifest["files"]
    version, release = str(manifest.get("version")), str(manifest["release"])
    # A release becomes the name of a directory on the host: its form is checked, too.
    if release != release_name(version, files) or not re.fullmatch(RELEASE, release):
        yield f"release {release!r} in {MANIFEST} does not match its files"

    python = manifest.get("python") or {}
    names = [manifest.get(key) for key in ("pip", "old_pip", "probe")] + [python.get("archive")]
    for name in names:
        if name is not None and name not in files:
            yield f"{name!r} in {MANIFEST} is not one of its files"

    archive = python.get("archive")
    if archive in files and files[archive] != python.get("sha256"):
        yield f"python.sha256 in {MANIFEST} does not match its archive"
