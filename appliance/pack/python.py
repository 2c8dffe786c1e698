"""The Python of a host that has none: a relocatable CPython in a tar archive."""

import re
import shutil
import tarfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from appliance.errors import PyindexError
from appliance.pack import digests


@dataclass(frozen=True)
class Python:
    """The Python that the host will run: its version, and an archive of it unless it has one."""

    version: str = "3.11"
    archive: str | None = None
    sha256: str | None = None


def copy_archive(python: Python, new: Path, reusable: Path | None) -> int:
    """Copy the archive, a path or URL, into the pack ``new``; from the pack ``reusable`` if that
    has it.

    Returns how many leading directories to strip when it is unpacked. Raises PyindexError if it
    cannot be read, has another digest, or holds no such Python.
    """
    assert python.archive
    name = Path(urlsplit(python.archive).path).name
    target = new / "python" / name
    target.parent.mkdir(parents=True)

    copy = reusable / "python" / name if reusable else None
    if copy and copy.exists() and digests.of_file(copy) == python.sha256:
        shutil.copyfile(copy, target)
    else:
        _fetch(python.archive, target)

    if (digest := digests.of_file(target)) != python.sha256:
        raise PyindexError(
            f"{python.archive}: sha256 is {digest}, expected {python.sha256};"
            " choose another archive, or correct --python-sha256"
        )
    return _leading_directories(target, python)


def _fetch(archive: str, target: Path) -> None:
    if urlsplit(archive).scheme not in ("http", "https", "file"):
        shutil.copyfile(archive, target)
        return
    try:
        with urllib.request.urlopen(archive) as source, target.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(source, file)
    except URLError as error:
        raise PyindexError(f"{archive}: {error.reason}") from None


def _leading_directories(archive: Path, python: Python) -> int:
    """How many directories there are above ``bin/pythonX.Y`` in the archive."""
    program = re.compile(rf"^(?:\./)?((?:[^/]+/)?)bin/python{re.escape(python.version)}$")
    try:
        with tarfile.open(archive) as members:
            for name in members.getnames():
                if program.match(name):
                    return name.removesuffix(f"bin/python{python.version}").count("/")
    except tarfile.TarError as error:
        raise PyindexError(f"{archive.name}: {error}; expected a .tar.gz or .tar.xz") from None
    raise PyindexError(
        f"{archive.name}: no bin/python{python.version} in it;"
        " pass a relocatable CPython, or correct --python-version"
    )
