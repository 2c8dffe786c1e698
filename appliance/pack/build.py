"""Building a pack: beside the old one, which it replaces only when it is complete."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import PyindexError
from appliance.pack import interpreter, ospackages, pip, probe, selfwheel, wheels
from appliance.pack.integrity import is_intact, unexpected_files
from appliance.pack.manifest import Manifest, Pack, read_manifest, write_manifest
from appliance.pack.python import Python, add_archive, leading_directories
from appliance.pack.workspace import Workspace
from appliance.spec import Spec
from appliance.upstream import NO_REPORT, Report


@dataclass(frozen=True, slots=True)
class _Job:
    """A pack to build; it is another one with other ``inputs``. Downloads are not among them."""

    spec: Spec
    system: str
    python: Python
    packages: Path | None
    inputs: dict[str, Any]


def build_pack(
    spec: Spec,
    out: Path,
    python: Python,
    packages: Path | None = None,
    upgrade: bool = False,
    report: Report = NO_REPORT,
) -> Pack:
    """Make ``out`` a pack for the spec's host; with ``upgrade``, of the newest dependencies.

    ``packages`` is a directory of OS packages, instead of the spec's repositories. What was
    downloaded before an interruption is kept beside ``out`` and used by the next run. Raises
    PyindexError, which says what to do, and then ``out`` is as it was.
    """
    job = _job(spec, python, packages)
    workspace = Workspace(out)
    with workspace.locked():
        old = read_manifest(out)
        if old and (unexpected := unexpected_files(out, old)):
            problem = f"contains files that are not of the pack: {', '.join(unexpected)}"
            raise PyindexError(f"{out}: {problem}; move them away")
        is_good = old is not None and is_intact(out, old)
        if old and is_good and old["inputs"] == job.inputs and not upgrade:
            return _pack(old, changed=False)

        reusable = _Reusable(out, old if is_good else None, upgrade, job)
        strip = _fill(workspace, job, reusable, report)
        manifest = write_manifest(workspace.new, job.inputs, job.python, strip)
        workspace.replace()
    is_same = old is not None and old["files"] == manifest["files"]
    return _pack(manifest, changed=not is_same)


def check_inputs(spec: Spec, python: Python, packages: Path | None) -> None:
    """Raise PyindexError as :func:`build_pack` for its arguments."""
    _job(spec, python, packages)


def _job(spec: Spec, python: Python, packages: Path | None) -> _Job:
    pip.check_installed()
    system = spec.host.system or "debian-12"
    python = python.for_system(system)
    inputs = {"pyindex": selfwheel.digest(), "python": [python.version, python.identity]}
    inputs |= ospackages.inputs(spec, system, packages)
    return _Job(spec, system, python, packages, inputs)


def _pack(manifest: Manifest, changed: bool) -> Pack:
    return Pack(manifest["release"], len(manifest["files"]), changed)


class _Reusable:
    """Parts of an intact older pack, each ``None`` if it is to be downloaded.

    Attributes:
        wheels: The pack whose wheels and tools are for the same Python.
        archive: The tar file of the same Python.
        packages: The directory of OS packages from the same repositories or the same files.
        files: The directory of OS packages, of which those with the right digest can be used.
    """

    def __init__(self, out: Path, manifest: Manifest | None, upgrade: bool, job: _Job) -> None:
        self.files = out / "packages" if manifest else None
        self.wheels = self.archive = self.packages = None
        if manifest is None or upgrade:
            return
        inputs, python = manifest["inputs"], manifest["python"]
        if python["version"] == job.python.version:
            self.wheels = out
        if python["archive"] and inputs.get("python") == job.inputs["python"]:
            self.archive = out / python["archive"]
        is_same = all(inputs.get(key) == job.inputs.get(key) for key in ospackages.INPUTS)
        self.packages = self.files if is_same else None


def _fill(workspace: Workspace, job: _Job, old: _Reusable, report: Report) -> int | None:
    """Build all but the manifest, of parts of the ``old`` pack where it can be. Returns how many
    leading directories to strip when the Python's archive is unpacked."""
    new, downloads = workspace.new, workspace.downloads
    # First what is checked: a failure then costs the least.
    report.update("checking the Python")
    strip = _add_python(job, new / "python", downloads / "python", old.archive)
    if old.packages and old.packages.exists():
        shutil.copytree(old.packages, new / "packages")
    else:
        files = ospackages.collect(
            job.spec, job.system, job.packages, downloads / "packages", old.files, report
        )
        keys = ospackages.keys(job.spec, job.packages)
        ospackages.add(files, new / "packages", job.system, keys)
    report.update("collecting the wheels")
    wheel = selfwheel.build(new / "wheels")
    wheels.add_dependencies(new / "wheels", wheel, job.python, old.wheels)
    (new / "requirements.txt").write_text(wheels.hashed_requirements(new / "wheels"))
    wheels.add_tools(new / "tools", job.python, old.wheels)
    probe.write(new / "tools" / probe.PROBE)
    return strip


def _add_python(job: _Job, directory: Path, downloads: Path, old: Path | None) -> int | None:
    """Put the checked archive of a packed Python into ``directory``."""
    if not job.python.is_packed:
        return None
    if old:
        directory.mkdir(parents=True)
        archive = Path(shutil.copyfile(old, directory / old.name))
    else:
        archive = add_archive(job.python, directory, downloads)
    strip = leading_directories(archive, job.python.version)
    interpreter.check(archive, job.python.version, job.system)
    return strip
