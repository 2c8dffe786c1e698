"""Wheels and sdists, built with the standard library so that tests need no registry."""

import base64
import hashlib
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

MADE = (2018, 5, 1, 12, 0, 0)


def make_wheel(
    directory: Path,
    name: str,
    version: str,
    *,
    requires_python: str | None = None,
    requires: Iterable[str] = (),
    summary: str = "",
    modules: Mapping[str, str] | None = None,
) -> Path:
    """Write ``<name>-<version>-py2.py3-none-any.whl`` and return its path.

    *modules* maps module names to source; by default one module, named as the project, defines
    ``__version__``. Members are stored uncompressed, so the file is as large as its modules.
    """
    stem = re.sub(r"[-_.]+", "_", name) + "-" + version
    info = f"{stem}.dist-info"
    tag = "py2.py3-none-any"
    contents = {f"{module}.py": text for module, text in _modules(name, version, modules).items()}
    contents[f"{info}/METADATA"] = _metadata(name, version, requires_python, requires, summary)
    contents[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
        "Tag: py2-none-any\nTag: py3-none-any\n"
    )
    record = [f"{path},{_record_hash(text)},{len(text)}" for path, text in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    path = directory / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in contents.items():
            archive.writestr(zipfile.ZipInfo(member, MADE), text)
    return _settled(path)


def make_sdist(
    directory: Path,
    name: str,
    version: str,
    *,
    requires_python: str | None = None,
    requires: Iterable[str] = (),
    summary: str = "",
    modules: Mapping[str, str] | None = None,
) -> Path:
    """Write ``<name>-<version>.tar.gz``, spelled as given, for any setuptools; return its path."""
    top = f"{name}-{version}"
    sources = _modules(name, version, modules)
    contents = {f"{top}/{module}.py": text for module, text in sources.items()}
    contents[f"{top}/PKG-INFO"] = _metadata(name, version, requires_python, requires, summary)
    contents[f"{top}/setup.py"] = (
        "from setuptools import setup\n"
        f"setup(name={name!r}, version={version!r}, description={summary!r},\n"
        f"      py_modules={list(sources)!r}, install_requires={list(requires)!r},\n"
        f"      python_requires={requires_python!r})\n"
    )
    path = directory / f"{top}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in contents.items():
            data = text.encode()
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            entry.mtime = int(datetime(*MADE).timestamp())
            archive.addfile(entry, io.BytesIO(data))
    return _settled(path)


def uploaded(path: Path, when: str) -> Path:
    """Give *path* the mtime *when* (ISO 8601 with a zone): the upload time of a dropped file."""
    seconds = datetime.fromisoformat(when).timestamp()
    os.utime(path, (seconds, seconds))
    return path


def _settled(path: Path) -> Path:
    """Set an old mtime, because the scanner examines recently modified files twice."""
    time = datetime(*MADE).timestamp()
    os.utime(path, (time, time))
    return path


def _modules(name: str, version: str, modules: Mapping[str, str] | None) -> Mapping[str, str]:
    module = re.sub(r"[-_.]+", "_", name).lower()
    return modules or {module: f"__version__ = {version!r}\n"}


def _metadata(
    name: str, version: str, requires_python: str | None, requires: Iterable[str], summary: str
) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Summary: {summary}"] if summary else []
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return "\n".join([*lines, ""])


def _record_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
