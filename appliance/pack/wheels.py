"""Wheels: those that pip finds for the host's Python, and those that are written here."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from packaging.metadata import parse_email
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.pack import digests
from appliance.pack.python import Python

# The last pip that a host's own Python 2.7 or 3.6 can run.
OLD_PIP = "20.3.4"
PROBE = "pyindex_probe-1-py2.py3-none-any.whl"
# All that glibc 2.17 has; the platform "any" is understood.
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_12_x86_64")
_EPOCH = 1577836800  # 2020-01-01: a wheel's members all bear one date, so that it is reproducible


def check_pip() -> None:
    """Raises PyindexError if the Python that runs has no pip."""
    if find_spec("pip") is None:
        raise PyindexError(f"{sys.executable} has no pip; run: {sys.executable} -m ensurepip")


def dependencies(folder: Path, wheel: Path, python: Python, keep: Path | None) -> None:
    """Everything that ``wheel`` needs on the host, beside it in ``folder``: that of the pack
    ``keep``, or downloaded. Raises PyindexError with what pip says."""
    if keep:
        for path in (keep / "wheels").glob("*.whl"):
            if not path.name.startswith("pyindex-"):
                shutil.copyfile(path, folder / path.name)
        if not missing(folder, python):
            return
        for path in folder.iterdir():
            if path != wheel:
                path.unlink()
    wanted = [str(wheel)]
    while True:
        options = [f"--platform={platform}" for platform in _PLATFORMS]
        options += ["--only-binary=:all:", "--implementation=cp"]
        options += [f"--python-version={python.version}", "--dest", str(folder)]
        pip("download", *options, *wanted)
        # pip reads conditions such as python_version < "3.13" for its own Python, not the host's.
        more = sorted(missing(folder, python) - set(wanted))
        if not more:
            return
        wanted += more


def missing(folder: Path, python: Python) -> set[str]:
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
    versions: dict[str, str] = {}
    required = {}
    for name, version, path in _each(folder):
        versions[name] = version
        for text in _requires(path):
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(host):
                required[f"{requirement.name}{requirement.specifier}"] = requirement
    return {
        text
        for text, requirement in required.items()
        if (found := versions.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(found, prereleases=True)
    }


def _requires(wheel: Path) -> list[str]:
    """The Requires-Dist of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields, _ = parse_email(archive.read(member))
    return fields.get("requires_dist", [])


def requirements(folder: Path) -> str:
    """Exactly the wheels of a folder, for ``pip install --require-hashes``."""
    return "".join(
        f"{name}=={version} --hash=sha256:{digests.of_file(path)}\n"
        for name, version, path in _each(folder)
    )


def _each(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Project, version and path of each wheel, in order."""
    for path in sorted(folder.glob("*.whl")):
        name, version, _ = path.name.split("-", 2)
        yield canonicalize_name(name), version, path


def tools(folder: Path, python: Python, keep: Path | None) -> None:
    """A pip for the host's release, and one for what its old Pythons install, in ``folder``: those
    of the pack ``keep``, or downloaded."""
    if keep:
        shutil.copytree(keep / "tools", folder)
        return
    folder.mkdir()
    for version, wanted in ((python.version, "pip"), ("2.7", f"pip=={OLD_PIP}")):
        options = ["--no-deps", "--only-binary=:all:", f"--python-version={version}"]
        pip("download", *options, "--dest", str(folder), wanted)


def probe(path: Path) -> None:
    """A wheel whose installation proves an index."""
    info = "pyindex_probe-1.dist-info"
    contents = {
        "pyindex_probe.py": '"""Installed through an index, this proves that it works."""\n',
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: pyindex-probe\nVersion: 1\n"
        "Summary: Proves that an index works.\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: pyindex\nRoot-Is-Purelib: true\n"
        "Tag: py2-none-any\nTag: py3-none-any\n",
    }
    write(path, {name: text.encode() for name, text in contents.items()})


def write(path: Path, contents: dict[str, bytes]) -> None:
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


def pip(verb: str, *arguments: str) -> None:
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
