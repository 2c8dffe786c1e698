"""Wheels from an index: the dependencies of pyindex for the host's Python, and pips."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.metadata import parse_email
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from appliance.pack import digests, pip
from appliance.pack.python import Python

# The last pip that a host's own Python 2.7 or 3.6 can run.
OLD_PIP = "20.3.4"
# All that glibc 2.17 can load; pip adds the platform "any".
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_12_x86_64")


def add_dependencies(directory: Path, wheel: Path, python: Python, reusable: Path | None) -> None:
    """Put all that ``wheel`` requires on the host beside it into ``directory``: the wheels of the
    pack ``reusable`` if they suffice, or newly downloaded ones. Raises PyindexError with pip's
    message."""
    if reusable:
        _copy_dependencies(reusable / "wheels", directory, wheel)
        if not missing(directory, python):
            return
        for path in directory.iterdir():
            if path != wheel:
                path.unlink()

    _download(directory, wheel, python)


def _copy_dependencies(source: Path, directory: Path, wheel: Path) -> None:
    project = wheel.name.partition("-")[0]
    for path in source.glob("*.whl"):
        if path.name.partition("-")[0] != project:
            shutil.copyfile(path, directory / path.name)


def _download(directory: Path, wheel: Path, python: Python) -> None:
    options = [f"--platform={platform}" for platform in _PLATFORMS]
    options += ["--only-binary=:all:", "--implementation=cp"]
    options += [f"--python-version={python.version}", "--dest", str(directory)]

    # pip evaluates conditions such as python_version < "3.13" for its own Python, not the host's:
    # requirements that it leaves out are passed to it by name, until none is missing.
    requirements = [str(wheel)]
    while True:
        pip.run("download", *options, *requirements)
        more = sorted(missing(directory, python) - set(requirements))
        if not more:
            return
        requirements += more


def missing(directory: Path, python: Python) -> set[str]:
    """Requirements of the wheels in ``directory`` on the host that none of them satisfies."""
    versions = {name: version for name, version, _ in _wheels(directory)}

    def is_satisfied(requirement: Requirement) -> bool:
        version = versions.get(canonicalize_name(requirement.name))
        return version is not None and requirement.specifier.contains(version, prereleases=True)

    return {
        f"{requirement.name}{requirement.specifier}"
        for requirement in _requirements(directory, python)
        if not is_satisfied(requirement)
    }


def _requirements(directory: Path, python: Python) -> Iterator[Requirement]:
    """The requirements of each wheel whose markers are true on the host."""
    environment = _environment(python)
    for _, _, path in _wheels(directory):
        for text in _requires(path):
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                yield requirement


def _environment(python: Python) -> dict[str, str]:
    """The environment of the host, for markers (PEP 508)."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python.version}.0",
        "python_version": python.version,
        "sys_platform": "linux",
        "extra": "",
    }


def _requires(wheel: Path) -> list[str]:
    """The Requires-Dist of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields, _ = parse_email(archive.read(member))
    return fields.get("requires_dist", [])


def hashed_requirements(directory: Path) -> str:
    """Exactly the wheels in ``directory``, for ``pip install --require-hashes``."""
    return "".join(
        f"{name}=={version} --hash=sha256:{digests.of_file(path)}\n"
        for name, version, path in _wheels(directory)
    )


def _wheels(directory: Path) -> Iterator[tuple[str, str, Path]]:
    """Project, version and path of each wheel, in order."""
    for path in sorted(directory.glob("*.whl")):
        name, version, _ = path.name.split("-", 2)
        yield canonicalize_name(name), version, path


def add_tools(directory: Path, python: Python, reusable: Path | None) -> None:
    """Put a pip for the host's release, and one for users with old Pythons, into ``directory``:
    those of the pack ``reusable``, or downloaded ones."""
    if reusable:
        shutil.copytree(reusable / "tools", directory)
        return
    directory.mkdir()
    for version, requirement in ((python.version, "pip"), ("2.7", f"pip=={OLD_PIP}")):
        options = ["--no-deps", "--only-binary=:all:", f"--python-version={version}"]
        pip.run("download", *options, "--dest", str(directory), requirement)
