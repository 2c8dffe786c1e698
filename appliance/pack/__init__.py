"""The pack that is carried to a host without a network: wheels, pip, a probe wheel, a Python, OS
packages.

Not here: the host's files (`render`).

A pack is a directory, whole or not there. Its release is named after the digests of all that is in
it, so another content is another release. Versions are resolved once: a later run with the same
inputs keeps them.
"""

import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import PyindexError
from appliance.pack import digests, own, wheels
from appliance.pack.python import Python, carry
from appliance.spec import Spec

MANIFEST = "manifest.json"
RELEASE = r"[0-9][0-9A-Za-z.+!]*-[0-9a-f]{12}"
_KEYS = {"release", "version", "python", "pip", "probe", "inputs", "files"}
_SUFFIXES = {"centos-7": ".rpm", "debian-12": ".deb"}


@dataclass(frozen=True)
class Pack:
    """A finished pack."""

    release: str
    files: int
    changed: bool


def check(out: Path) -> Pack:
    """A pack as it was made: every file as the manifest says, and no other.

    Raises PyindexError that names what was changed, is missing, or was added.
    """
    manifest = _manifest(out)
    if manifest is None:
        raise PyindexError(f"{out}: no pack; `pyindex appliance pack --out {out}` makes one")
    if problems := [*_differences(out, manifest), *_disagreements(manifest)]:
        words = "\n".join(f"{out}: {problem}" for problem in problems)
        raise PyindexError(
            f"{words}\nthis is not the pack that was made; make it again, or copy it again"
        )
    return Pack(manifest["release"], len(manifest["files"]), changed=False)


def _differences(out: Path, manifest: Any) -> Iterator[str]:
    """What is there, held against the manifest."""
    files: dict[str, str] = manifest["files"]
    found = set()
    for folder, directories, names in os.walk(out):
        for name in (*directories, *names):
            path = Path(folder, name)
            shown = path.relative_to(out).as_posix()
            kind = path.lstat().st_mode
            if not stat.S_ISREG(kind):
                if not stat.S_ISDIR(kind):
                    yield f"{shown} is no file"
                continue
            found.add(shown)
            if shown not in files:
                if shown != MANIFEST:
                    yield f"{shown} was added"
            elif digests.of_file(path) != files[shown]:
                yield f"{shown} was changed"
    for name in sorted(files.keys() - found):
        yield f"{name} is missing"


def _disagreements(manifest: Any) -> Iterator[str]:
    """What the manifest says of itself, held against the files that it lists."""
    files: dict[str, str] = manifest["files"]
    version, release = str(manifest.get("version")), str(manifest["release"])
    if release != f"{version}-{digests.of_many(files)[:12]}" or not re.fullmatch(RELEASE, release):
        yield f"release {release!r} in {MANIFEST} is not that of its files"
    python = manifest.get("python") or {}
    named = [manifest.get(key) for key in ("pip", "old_pip", "probe")] + [python.get("archive")]
    for name in named:
        if name is not None and name not in files:
            yield f"{name!r} in {MANIFEST} is none of its files"
    archive = python.get("archive")
    if archive in files and files[archive] != python.get("sha256"):
        yield f"python.sha256 in {MANIFEST} is not that of its archive"


def pack(
    spec: Spec,
    out: Path,
    python: Python,
    packages: Path | None = None,
    upgrade: bool = False,
) -> Pack:
    """Make ``out`` a pack for the spec's host; with ``upgrade``, of the newest dependencies.

    Raises PyindexError, which says what to do, and then ``out`` is as it was.
    """
    wheels.check_pip()
    carried = _packages(spec, packages)
    inputs = _inputs(python, carried)
    old = _manifest(out)
    if old and (strange := _strange(out, old)):
        problem = f"holds something else beside a pack: {', '.join(strange)}; move it away"
        raise PyindexError(f"{out}: {problem}")
    if old and old["inputs"] == inputs and not upgrade and _is_whole(out, old):
        return Pack(old["release"], len(old["files"]), changed=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        new = Path(work) / "pack"
        keep = None if upgrade or not old else _kept(out, old, python)
        wheel = own.wheel(new / "wheels")
        wheels.dependencies(new / "wheels", wheel, python, keep)
        (new / "requirements.txt").write_text(wheels.requirements(new / "wheels"))
        wheels.tools(new / "tools", python, keep)
        wheels.probe(new / "tools" / wheels.PROBE)
        strip = carry(python, new, keep) if python.archive else None
        for path in carried:
            (new / "packages").mkdir(exist_ok=True)
            shutil.copyfile(path, new / "packages" / path.name)
        manifest = _described(new, inputs, python, strip)
        _swap(new, out, Path(work) / "old")
    unchanged = old is not None and old["files"] == manifest["files"]
    return Pack(manifest["release"], len(manifest["files"]), changed=not unchanged)


def _inputs(python: Python, carried: Sequence[Path]) -> dict[str, Any]:
    """Whatever makes it another pack; downloads are left out."""
    if python.archive and not python.sha256:
        raise PyindexError(f"{python.archive}: say its digest too, with --python-sha256")
    return {
        "pyindex": own.digest(),
        "python": [python.version, python.sha256 if python.archive else None],
        "packages": {path.name: digests.of_file(path) for path in carried},
    }


def _packages(spec: Spec, folder: Path | None) -> list[Path]:
    """The OS packages of a folder, of the kind that the spec's host installs."""
    if folder is None:
        return []
    system = spec.host.system or "debian-12"
    suffix = _SUFFIXES[system]
    if not folder.is_dir():
        raise PyindexError(f"{folder}: no such directory; put the {suffix} files of the host there")
    found = sorted(folder.glob(f"*{suffix}"))
    if not found:
        raise PyindexError(f"{folder}: no {suffix} files in it, which {system} installs")
    return found


def _described(new: Path, inputs: dict[str, Any], python: Python, strip: int | None) -> Any:
    """Write the manifest, and return it."""
    files = digests.of_folder(new)
    version = own.version()
    pips = [name for name in files if name.startswith("tools/pip-")]
    old = next(name for name in pips if f"-{wheels.OLD_PIP}-" in name)
    manifest = {
        "release": f"{version}-{digests.of_many(files)[:12]}",
        "version": version,
        "python": {
            "version": python.version,
            "archive": next((name for name in files if name.startswith("python/")), None),
            "sha256": python.sha256 if python.archive else None,
            "strip": strip,
        },
        "pip": next((name for name in pips if name != old), old),
        "old_pip": old,
        "probe": f"tools/{wheels.PROBE}",
        "inputs": inputs,
        "files": files,
    }
    (new / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _manifest(out: Path) -> Any:
    """What an older pack says of itself; None if there is none. Refuses any other directory, for
    it would be replaced."""
    if not out.is_dir():
        if os.path.lexists(out):
            raise PyindexError(f"{out}: is no directory; say another")
        return None
    try:
        manifest = json.loads((out / MANIFEST).read_bytes())
    except FileNotFoundError:
        if not any(out.iterdir()):
            return None
        manifest = None
    except ValueError:
        manifest = None
    ours = isinstance(manifest, dict) and manifest.keys() >= _KEYS
    if not ours or not isinstance(manifest["files"], dict):
        raise PyindexError(f"{out}: holds something else than a pack; say another") from None
    return manifest


def _strange(out: Path, manifest: Any) -> list[str]:
    """What a pack never had."""
    return sorted(digests.of_folder(out).keys() - manifest["files"].keys() - {MANIFEST})


def _is_whole(out: Path, manifest: Any) -> bool:
    """Whether a pack has the files that its manifest names, and no others."""
    found = digests.of_folder(out)
    del found[MANIFEST]
    files: dict[str, str] = manifest["files"]
    return found == files


def _kept(out: Path, manifest: Any, python: Python) -> Path | None:
    """The older pack, if its downloads are good and for the same Python."""
    same = manifest["python"]["version"] == python.version
    return out if same and _is_whole(out, manifest) else None


def _swap(new: Path, out: Path, old: Path) -> None:
    if out.exists():
        out.rename(old)
    new.chmod(0o755)
    new.rename(out)
