"""Building a pack: beside the old one, which it replaces only when it is complete."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.errors import PyindexError
from appliance.pack import digests, pip, probe, selfwheel, wheels
from appliance.pack.integrity import is_intact, unexpected_files
from appliance.pack.manifest import Manifest, Pack, read_manifest, write_manifest
from appliance.pack.python import Python, copy_archive
from appliance.spec import Spec

_SUFFIXES = {"centos-7": ".rpm", "debian-12": ".deb"}


def build_pack(
    spec: Spec,
    out: Path,
    python: Python,
    packages: Path | None = None,
    upgrade: bool = False,
) -> Pack:
    """Make ``out`` a pack for the spec's host; with ``upgrade``, of the newest dependencies.

    ``packages`` is a directory of OS packages. Raises PyindexError, which says what to do, and then
    ``out`` is as it was.
    """
    check_inputs(spec, python, packages)
    os_packages = _os_packages(spec, packages)
    inputs = _inputs(python, os_packages)
    old = read_manifest(out)
    if old and (unexpected := unexpected_files(out, old)):
        problem = f"contains files that are not of the pack: {', '.join(unexpected)}"
        raise PyindexError(f"{out}: {problem}; move them away")
    if old and old["inputs"] == inputs and not upgrade and is_intact(out, old):
        return Pack(old["release"], len(old["files"]), changed=False)

    reusable = out if old and not upgrade and _is_reusable(out, old, python) else None
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        new = Path(work) / "pack"
        strip = _fill(new, python, os_packages, reusable)
        manifest = write_manifest(new, inputs, python, strip)
        _swap(new, out, Path(work) / "old")

    is_same = old is not None and old["files"] == manifest["files"]
    return Pack(manifest["release"], len(manifest["files"]), changed=not is_same)


def check_inputs(spec: Spec, python: Python, packages: Path | None) -> None:
    """Raise PyindexError as :func:`build_pack` for its arguments."""
    pip.check_installed()
    _inputs(python, _os_packages(spec, packages))


def _os_packages(spec: Spec, directory: Path | None) -> list[Path]:
    """The OS packages in ``directory`` that the spec's host can install."""
    if directory is None:
        return []
    system = spec.host.system or "debian-12"
    suffix = _SUFFIXES[system]
    if not directory.is_dir():
        problem = f"no such directory; create it with the {suffix} files of the host"
        raise PyindexError(f"{directory}: {problem}")
    packages = sorted(directory.glob(f"*{suffix}"))
    if not packages:
        raise PyindexError(f"{directory}: no {suffix} files; copy those of {system} into it")
    return packages


def _inputs(python: Python, os_packages: Sequence[Path]) -> dict[str, Any]:
    """The inputs that make it another pack when they change; downloads are not among them."""
    if python.archive and not python.sha256:
        raise PyindexError(f"{python.archive}: no digest given; also pass --python-sha256")
    return {
        "pyindex": selfwheel.digest(),
        "python": [python.version, python.sha256 if python.archive else None],
        "packages": {path.name: digests.of_file(path) for path in os_packages},
    }


def _is_reusable(out: Path, old: Manifest, python: Python) -> bool:
    """Whether the old pack's downloads are undamaged and for the same Python."""
    is_same_python: bool = old["python"]["version"] == python.version
    return is_same_python and is_intact(out, old)


def _fill(
    new: Path, python: Python, os_packages: Sequence[Path], reusable: Path | None
) -> int | None:
    """Put everything but the manifest into ``new``; downloads are copied from the pack
    ``reusable`` where that has them. Returns what :func:`copy_archive` does."""
    wheel = selfwheel.build(new / "wheels")
    wheels.add_dependencies(new / "wheels", wheel, python, reusable)
    (new / "requirements.txt").write_text(wheels.hashed_requirements(new / "wheels"))
    wheels.add_tools(new / "tools", python, reusable)
    probe.write(new / "tools" / probe.PROBE)
    strip = copy_archive(python, new, reusable) if python.archive else None

    for path in os_packages:
        (new / "packages").mkdir(exist_ok=True)
        shutil.copyfile(path, new / "packages" / path.name)
    return strip


def _swap(new: Path, out: Path, old: Path) -> None:
    """Move ``new`` to ``out``, and what was there to ``old``."""
    if out.exists():
        out.rename(old)
    new.chmod(0o755)
    new.rename(out)
