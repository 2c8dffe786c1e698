"""The Python that a host without one is given: a relocatable archive."""

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


def carry(python: Python, new: Path, keep: Path | None) -> int:
    """Put the archive into the pack ``new``: that of the pack ``keep``, or fetched.

    Returns how many leading directories to strip when it is unpacked. Raises PyindexError if it
    cannot be had, has another digest, or holds no such Python.
    """
    assert python.archive
    name = Path(urlsplit(python.archive).path).name
    place = new / "python" / name
    place.parent.mkdir(parents=True)
    kept = keep / "python" / name if keep else None
    try:
        if kept and kept.exists() and digests.of_file(kept) == python.sha256:
            shutil.copyfile(kept, place)
        elif urlsplit(python.archive).scheme in ("http", "https", "file"):
            with urllib.request.urlopen(python.archive) as source, place.open("wb") as target:  # noqa: S310
                shutil.copyfileobj(source, target)
        else:
            shutil.copyfile(python.archive, place)
    except URLError as error:
        raise PyindexError(f"{python.archive}: {error.reason}") from None
    if (digest := digests.of_file(place)) != python.sha256:
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
