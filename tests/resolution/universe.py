"""Small universes of packages: the scenarios of packse, and tables in the same form.

A scenario becomes a packages directory. Its sdists state all of their metadata, and build with a
back-end of their own, so that real clients need nothing else.
"""

import base64
import hashlib
import io
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from appliance.index.metadata import parse
from appliance.resolution.sdists import from_metadata
from appliance.resolution.source import Facts
from appliance.upstream.model import RemoteFile
from tests.dist import uploaded

ROOT = Path(__file__).parents[2].parent / "shared" / "data" / "resolver-scenarios"
MADE = (2018, 5, 1, 12, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
_BUILD = 'build-backend = "backend"\nbackend-path = ["."]\n'
_BACKEND = """\
import os, shutil, zipfile

def _info():
    return open("INFO").read().strip()

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    target = os.path.join(directory, _info() + ".dist-info")
    os.mkdir(target)
    shutil.copy("PKG-INFO", os.path.join(target, "METADATA"))
    with open(os.path.join(target, "WHEEL"), "w") as file:
        file.write("Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\n")
        file.write("Tag: py3-none-any\\n")
    return _info() + ".dist-info"

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = _info() + "-py3-none-any.whl"
    scratch = prepare_metadata_for_build_wheel(directory)
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for member in ("METADATA", "WHEEL"):
            archive.write(os.path.join(directory, scratch, member), scratch + "/" + member)
        archive.writestr(scratch + "/RECORD", "")
    shutil.rmtree(os.path.join(directory, scratch))
    return name
"""


@dataclass(frozen=True)
class Release:
    """One release of a scenario."""

    requires: tuple[str, ...] = ()
    requires_python: str | None = ">=3.12"
    extras: Mapping[str, list[str]] = field(default_factory=dict)
    sdist: bool = True
    wheel: bool = True
    wheel_tags: tuple[str, ...] = ()
    yanked: bool = False
    build: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """What there is, what is required, and with which options."""

    name: str
    releases: Mapping[tuple[str, str], Release]
    requires: tuple[str, ...]
    pre: bool = False
    prefer_binary: bool = False
    no_build: frozenset[str] = frozenset()
    no_binary: frozenset[str] = frozenset()
    is_satisfiable: bool = True
    packages: Mapping[str, str] = field(default_factory=dict)

    def write(self, directory: Path) -> list[str]:
        """Write all files; return the names of yanked ones."""
        directory.mkdir(parents=True)
        yanked: list[str] = []
        for (name, version), release in self.releases.items():
            paths = _write(directory, name, version, release)
            for path in paths:
                uploaded(path, "2018-05-01T12:00:00Z")
            yanked += [path.name for path in paths if release.yanked]
        return yanked


class ReleasesSource:
    """The wheels and sdists of releases as the source of a resolution, without an index."""

    def __init__(self, releases: Mapping[tuple[str, str], Release]) -> None:
        self._files: dict[str, list[RemoteFile]] = {}
        self._facts: dict[str, Facts] = {}
        for (name, version), release in releases.items():
            self.add(name, version, release)

    def add(self, name: str, version: str, release: Release, build: str = "") -> None:
        """Add the files of a release; wheels with a ``build`` tag beside those of the same."""
        project = canonicalize_name(name)
        stem = f"{project.replace('-', '_')}-{version}"
        tags = release.wheel_tags or ("py2.py3-none-any",)
        names = [f"{stem}{build}-{tag}.whl" for tag in tags if release.wheel]
        names += [f"{stem}.tar.gz"] * release.sdist
        yanked = "broken" if release.yanked else None
        for filename in names:
            file = RemoteFile(filename, "", requires_python=release.requires_python, yanked=yanked)
            self._files.setdefault(project, []).append(file)
            self._facts[filename] = from_metadata(
                parse(_metadata(name, version, release).encode(), filename)
            )

    def files(self, project: str) -> list[RemoteFile]:
        return self._files.get(project, [])

    def facts(self, file: RemoteFile) -> Facts:
        return self._facts[file.filename]

    def digest(self, file: RemoteFile, algorithm: str) -> str:
        raise AssertionError(file)


def scenarios() -> list[Scenario]:
    """Return the scenarios of packse; none where they are not at hand."""
    return [_read(tomllib.loads(path.read_text())) for path in sorted(ROOT.glob("*/*.toml"))]


def _read(data: Mapping[str, Any]) -> Scenario:
    options = data.get("resolver_options", {})
    return Scenario(
        name=data["name"],
        releases={
            (name, version): _release(release)
            for name, project in data["packages"].items()
            for version, release in project["versions"].items()
        },
        requires=tuple(data["root"]["requires"]),
        pre=options.get("prereleases", False),
        no_build=frozenset(options.get("no_build", ())),
        no_binary=frozenset(options.get("no_binary", ())),
        is_satisfiable=data["expected"]["satisfiable"],
        packages=data["expected"].get("packages", {}),
    )


def _release(data: Mapping[str, Any]) -> Release:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return Release(**{k: v for k, v in values.items() if k in Release.__dataclass_fields__})


def _write(directory: Path, name: str, version: str, release: Release) -> list[Path]:
    stem = f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}"
    metadata = _metadata(name, version, release)
    paths = []
    if release.wheel:
        tags = release.wheel_tags or ("py2.py3-none-any",)
        paths += [_wheel(directory, stem, tag, metadata) for tag in tags]
    if release.sdist:
        paths.append(_sdist(directory, stem, metadata, release.build))
    return paths


def _metadata(name: str, version: str, release: Release) -> str:
    lines = ["Metadata-Version: 2.3", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {release.requires_python}"] if release.requires_python else []
    lines += [f"Requires-Dist: {requirement}" for requirement in release.requires]
    for extra, requires in release.extras.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {_conditional(text, extra)}" for text in requires]
    return "\n".join([*lines, ""])


def _conditional(requirement: str, extra: str) -> str:
    base, _, marker = requirement.partition(";")
    condition = f"extra == '{extra}'"
    return f"{base}; ({marker}) and {condition}" if marker else f"{base}; {condition}"


def _wheel(directory: Path, stem: str, tag: str, metadata: str) -> Path:
    info = f"{stem}.dist-info"
    texts = {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"{_WHEEL}Tag: {tag}\n",
    }
    record = [f"{path},{_digest(text)},{len(text)}" for path, text in texts.items()]
    texts[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    path = directory / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in texts.items():
            archive.writestr(zipfile.ZipInfo(member, MADE), text)
    return path


def _sdist(directory: Path, stem: str, metadata: str, build: tuple[str, ...]) -> Path:
    requires = ", ".join(f'"{each}"' for each in build)
    system = f"[build-system]\nrequires = [{requires}]\n{_BUILD}"
    texts = {"PKG-INFO": metadata, "pyproject.toml": system, "backend.py": _BACKEND, "INFO": stem}
    path = directory / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in texts.items():
            entry = tarfile.TarInfo(f"{stem}/{member}")
            entry.size, entry.mtime = len(text), int(datetime(*MADE).timestamp())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
