"""What is carried to a host that reaches no index: wheels, pip, a probe, a Python, OS packages.

A pack is a directory, whole or not there. Its release is named after the digests of all that is in
it, so another content is another release. Versions are resolved once: a later run with the same
inputs keeps them.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.spec import Spec

MANIFEST = "manifest.json"
PROBE = "pyindex_probe-1-py2.py3-none-any.whl"
# The last pip that a host's own Python 2.7 or 3.6 can run.
OLD_PIP = "20.3.4"
# All that glibc 2.17 has; the platform "any" is understood.
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_12_x86_64")
_SOURCES = ("pyproject.toml", "setup.cfg", "README.md", "appliance", "deploy")
_EPOCH = 1577836800  # 2020-01-01: a wheel's members all bear one date, so that it is reproducible
_SUFFIXES = {"centos-7": ".rpm", "debian-12": ".deb"}


@dataclass(frozen=True)
class Python:
    """The Python that the host will run: its version, and an archive of it unless it has one."""

    version: str = "3.11"
    archive: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Pack:
    """A finished pack."""

    release: str
    files: int
    changed: bool


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
    if find_spec("pip") is None:
        raise PyindexError(f"{sys.executable} has no pip; run: {sys.executable} -m ensurepip")
    carried = _packages(spec, packages)
    inputs = _inputs(python, carried)
    old = _manifest(out)
    if old and old["inputs"] == inputs and not upgrade and _is_whole(out, old):
        return Pack(old["release"], len(old["files"]), changed=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        new = Path(work) / "pack"
        keep = None if upgrade or not old else _kept(out, old, python)
        wheel = _own_wheel(new / "wheels")
        _dependencies(new / "wheels", wheel, python, keep)
        (new / "requirements.txt").write_text(_requirements(new / "wheels"))
        _tools(new / "tools", python, keep)
        _write_probe(new / "tools" / PROBE)
        strip = _archive(new, python, keep) if python.archive else None
        for path in carried:
            (new / "packages").mkdir(exist_ok=True)
            shutil.copyfile(path, new / "packages" / path.name)
        manifest = _described(new, inputs, python, strip)
        _swap(new, out, Path(work) / "old")
    unchanged = old is not None and old["files"] == manifest["files"]
    return Pack(manifest["release"], len(manifest["files"]), changed=not unchanged)


# What it is made of.


def _inputs(python: Python, carried: Sequence[Path]) -> dict[str, Any]:
    """Whatever makes it another pack; downloads are left out."""
    if python.archive and not python.sha256:
        raise PyindexError(f"{python.archive}: say its digest too, with --python-sha256")
    return {
        "pyindex": _source_digest(),
        "python": [python.version, python.sha256 if python.archive else None],
        "packages": {path.name: _digest(path) for path in carried},
    }


def _packages(spec: Spec, folder: Path | None) -> list[Path]:
    """The OS packages of a folder, of the kind that the spec's host installs."""
    if folder is None:
        return []
    suffix = _SUFFIXES[spec.host.system or "debian-12"]
    if not folder.is_dir():
        raise PyindexError(f"{folder}: no such directory; put the {suffix} files of the host there")
    found = sorted(folder.glob(f"*{suffix}"))
    if not found:
        raise PyindexError(f"{folder}: no {suffix} files in it, which {spec.host.system} installs")
    return found


def _installed() -> metadata.Distribution:
    """The pyindex that runs. A checkout that is the working directory has a half of one, too."""
    found = list(metadata.distributions(name="pyindex"))
    return next((one for one in found if one.read_text("RECORD") is not None), found[0])


def _checkout() -> Path | None:
    """The directory of an editable install (PEP 610)."""
    said = json.loads(_installed().read_text("direct_url.json") or "{}")
    if not said.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(said["url"]).path))


def _sources() -> dict[str, Path]:
    """The files that the wheel of pyindex is made of, by their names in it or in the checkout."""
    if (checkout := _checkout()) is not None:
        paths = (path for name in _SOURCES for path in _files(checkout / name))
        return {str(path.relative_to(checkout)): path for path in sorted(paths)}
    made = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")
    return {
        str(file): Path(str(file.locate()))
        for file in sorted(_installed().files or [])
        if file.parts[0] != ".." and "__pycache__" not in file.parts and file.name not in made
    }


def _source_digest() -> str:
    lines = "".join(f"{name} {_digest(path)}\n" for name, path in _sources().items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _files(path: Path) -> Iterator[Path]:
    found = path.rglob("*") if path.is_dir() else [path]
    return (file for file in found if file.is_file() and "__pycache__" not in file.parts)


# Wheels.


def _own_wheel(wheels: Path) -> Path:
    """The wheel of the pyindex that runs, in ``wheels``. No index is asked for it: what bears its
    name there may be somebody else's."""
    wheels.mkdir(parents=True)
    if _checkout() is None:
        path = wheels / f"pyindex-{_installed().version}-py3-none-any.whl"
        _write_wheel(path, {name: file.read_bytes() for name, file in _sources().items()})
        return path
    with tempfile.TemporaryDirectory() as copy:  # what builds leave behind stays out of it
        for name, file in _sources().items():
            place = Path(copy) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
            place.chmod(0o644)
        _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), copy)
    return next(wheels.glob("pyindex-*.whl"))


def _dependencies(wheels: Path, wheel: Path, python: Python, keep: Path | None) -> None:
    """Everything that ``wheel`` needs on the host, beside it: kept, or downloaded."""
    if keep:
        for path in (keep / "wheels").glob("*.whl"):
            if not path.name.startswith("pyindex-"):
                shutil.copyfile(path, wheels / path.name)
        if not _missing(wheels, python):
            return
        for path in wheels.iterdir():
            if path != wheel:
                path.unlink()
    wanted = [str(wheel)]
    while True:
        options = [f"--platform={platform}" for platform in _PLATFORMS]
        options += ["--only-binary=:all:", "--implementation=cp"]
        options += [f"--python-version={python.version}", "--dest", str(wheels)]
        _pip("download", *options, *wanted)
        # pip reads conditions such as python_version < "3.13" for its own Python, not the host's.
        missing = sorted(_missing(wheels, python) - set(wanted))
        if not missing:
            return
        wanted += missing


def _missing(wheels: Path, python: Python) -> set[str]:
    """What wheels of a folder require on the host, and the folder lacks in that version."""
    host = {
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
    versions, required = {}, {}
    for path in wheels.glob("*.whl"):
        name, version, _ = path.name.split("-", 2)
        versions[canonicalize_name(name)] = version
        for text in _headers(path).get_all("Requires-Dist") or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(host):
                required[f"{requirement.name}{requirement.specifier}"] = requirement
    return {
        text
        for text, requirement in required.items()
        if (found := versions.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(found, prereleases=True)
    }


def _headers(wheel: Path) -> Any:
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(member).decode())


def _requirements(wheels: Path) -> str:
    """Exactly these wheels, for ``pip install --require-hashes``."""
    lines = []
    for path in sorted(wheels.glob("*.whl")):
        name, version, _ = path.name.split("-", 2)
        lines.append(f"{canonicalize_name(name)}=={version} --hash=sha256:{_digest(path)}\n")
    return "".join(lines)


def _tools(tools: Path, python: Python, keep: Path | None) -> None:
    """A pip for the host's release, and one for what its old Pythons install."""
    if keep:
        shutil.copytree(keep / "tools", tools)
        return
    tools.mkdir()
    for version, wanted in ((python.version, "pip"), ("2.7", f"pip=={OLD_PIP}")):
        options = ["--no-deps", "--only-binary=:all:", f"--python-version={version}"]
        _pip("download", *options, "--dest", str(tools), wanted)


def _write_probe(path: Path) -> None:
    """A wheel whose installation proves an index."""
    info = "pyindex_probe-1.dist-info"
    contents = {
        "pyindex_probe.py": '"""Installed through an index, this proves that it works."""\n',
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: pyindex-probe\nVersion: 1\n"
        "Summary: Proves that an index works.\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: pyindex\nRoot-Is-Purelib: true\n"
        "Tag: py2-none-any\nTag: py3-none-any\n",
    }
    _write_wheel(path, {name: text.encode() for name, text in contents.items()})


def _write_wheel(path: Path, contents: dict[str, bytes]) -> None:
    """A wheel with these members and their RECORD; the same gives the same bytes."""
    (info,) = {name.split("/")[0] for name in contents if ".dist-info/" in name}
    record = ""
    for name, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    members = contents | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            member.external_attr = 0o100644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)


def _pip(verb: str, *arguments: str) -> None:
    """Run the pip of the Python that runs. Raises PyindexError with what it says."""
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(_EPOCH)}
    done = subprocess.run(
        [*command, *arguments],
        env=environment,
        umask=0o022,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        words = " ".join(errors or done.stderr.split("\n")[-3:]).replace("ERROR: ", "").strip()
        raise PyindexError(
            f"pip {verb} failed: {words}\n"
            "packing needs an index: name one in pip's configuration or PIP_INDEX_URL"
        )


# The relocatable Python.


def _archive(new: Path, python: Python, keep: Path | None) -> int:
    """Put the archive into the pack; how many leading directories to strip when it is unpacked.

    Raises PyindexError if it cannot be had, has another digest, or holds no such Python.
    """
    assert python.archive
    name = Path(urlsplit(python.archive).path).name
    place = new / "python" / name
    place.parent.mkdir(parents=True)
    kept = keep / "python" / name if keep else None
    try:
        if kept and kept.exists() and _digest(kept) == python.sha256:
            shutil.copyfile(kept, place)
        elif urlsplit(python.archive).scheme in ("http", "https", "file"):
            with urllib.request.urlopen(python.archive) as source, place.open("wb") as target:  # noqa: S310
                shutil.copyfileobj(source, target)
        else:
            shutil.copyfile(python.archive, place)
    except URLError as error:
        raise PyindexError(f"{python.archive}: {error.reason}") from None
    if (digest := _digest(place)) != python.sha256:
        raise PyindexError(
            f"{python.archive}: its sha256 is {digest}, wanted {python.sha256};"
            " take another archive, or correct --python-sha256"
        )
    return _strip(place, python)


def _strip(archive: Path, python: Python) -> int:
    program = re.compile(rf"^(?:\./)?((?:[^/]+/)?)bin/python{re.escape(python.version)}$")
    try:
        with tarfile.open(archive) as members:
            for name in members.getnames():
                if program.match(name):
                    return name.removesuffix(f"bin/python{python.version}").count("/")
    except tarfile.TarError as error:
        raise PyindexError(f"{archive.name}: {error}; wanted a .tar.gz or .tar.xz") from None
    raise PyindexError(
        f"{archive.name}: no bin/python{python.version} in it;"
        " give a relocatable CPython, or its --python-version"
    )


# The whole.


def _described(new: Path, inputs: dict[str, Any], python: Python, strip: int | None) -> Any:
    """Write the manifest, and return it."""
    files = {str(path.relative_to(new)): _digest(path) for path in sorted(_files(new))}
    lines = "".join(f"{name} {digest}\n" for name, digest in files.items())
    version = _installed().version
    pips = [name for name in files if name.startswith("tools/pip-")]
    old = next(name for name in pips if f"-{OLD_PIP}-" in name)
    manifest = {
        "release": f"{version}-{hashlib.sha256(lines.encode()).hexdigest()[:12]}",
        "version": version,
        "python": {
            "version": python.version,
            "archive": next((name for name in files if name.startswith("python/")), None),
            "sha256": python.sha256 if python.archive else None,
            "strip": strip,
        },
        "pip": next((name for name in pips if name != old), old),
        "old_pip": old,
        "probe": f"tools/{PROBE}",
        "inputs": inputs,
        "files": files,
    }
    (new / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _manifest(out: Path) -> Any:
    """What an older pack says of itself; None if there is none. Refuses any other directory."""
    try:
        return json.loads((out / MANIFEST).read_bytes())
    except FileNotFoundError:
        if out.is_dir() and any(out.iterdir()):
            raise PyindexError(f"{out}: holds something else than a pack; say another") from None
        return None
    except ValueError:
        return None


def _is_whole(out: Path, manifest: Any) -> bool:
    """Whether a pack has the files that its manifest names, and no others."""
    found = {str(path.relative_to(out)) for path in _files(out)} - {MANIFEST}
    files: dict[str, str] = manifest["files"]
    return found == files.keys() and all(_digest(out / name) == files[name] for name in files)


def _kept(out: Path, manifest: Any, python: Python) -> Path | None:
    """The older pack, if its downloads are good and for the same Python."""
    same = manifest["python"]["version"] == python.version
    return out if same and _is_whole(out, manifest) else None


def _swap(new: Path, out: Path, old: Path) -> None:
    if out.exists():
        out.rename(old)
    new.chmod(0o755)
    new.rename(out)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
