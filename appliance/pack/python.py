"""The Python of a host that has none: a relocatable CPython in a tar archive."""

import gzip
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from uv import find_uv_bin

from appliance.errors import PyindexError
from appliance.pack import digests

# Of a damaged file: tarfile does not translate all of them.
_TAR_ERRORS = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error)

HOST = "host"
_BUILD = "cpython-{}-linux-x86_64-gnu"  # of python-build-standalone, for glibc 2.17
_SECONDS = 60.0  # a server may be silent


@dataclass(frozen=True)
class Python:
    """The Python that the host will run.

    Attributes:
        version: X.Y.
        archive: A tar file with a relocatable CPython, as a path or URL, or a directory with one;
            ``host`` for the host's own. ``None``: the default of the host's system.
        sha256: Of the tar file; required for a URL.
        mirror: URL of a mirror of python-build-standalone, instead of uv's.
        is_downloaded: Whether uv downloads it.
    """

    version: str = "3.11"
    archive: str | None = None
    sha256: str | None = None
    mirror: str | None = None
    is_downloaded: bool = False

    def for_system(self, system: str) -> "Python":
        """The choice for a host: CentOS 7 has no Python that could run pyindex."""
        if self.archive == HOST:
            return replace(self, archive=None)
        return replace(self, is_downloaded=self.archive is None and system == "centos-7")

    @property
    def is_packed(self) -> bool:
        """Whether the pack has it."""
        return self.is_downloaded or self.archive is not None

    @property
    def identity(self) -> str | None:
        """The digest of an archive or directory, or ``uv`` if that chooses one; ``None`` if the
        host has it. Raises PyindexError for a missing archive, or a URL without a digest."""
        if self.archive is None:
            return "uv" if self.is_downloaded else None
        if self.sha256:
            return self.sha256
        if _is_url(self.archive):
            raise PyindexError(f"{self.archive}: no digest given; also pass --python-sha256")
        path = Path(self.archive)
        if path.is_dir():
            return digests.of_many(digests.of_directory(path))
        try:
            return digests.of_file(path)
        except OSError as error:
            raise PyindexError(f"{path}: {error.strerror}; correct --python") from None


def add_archive(python: Python, directory: Path, downloads: Path) -> Path:
    """Put the tar file of a packed Python into ``directory``, which is new, and return its path;
    ``downloads`` keeps what uv has downloaded if this is interrupted.

    Raises PyindexError if it cannot be had, or has another digest.
    """
    directory.mkdir(parents=True)
    if python.archive is None:
        return _download(python, directory, downloads)
    if Path(python.archive).is_dir():
        return _pack(Path(python.archive), directory / f"cpython-{python.version}.tar.gz")
    target = directory / Path(urlsplit(python.archive).path).name
    _fetch(python.archive, target)
    if python.sha256 and (digest := digests.of_file(target)) != python.sha256:
        raise PyindexError(
            f"{python.archive}: sha256 is {digest}, expected {python.sha256};"
            " choose another archive, or correct --python-sha256"
        )
    return target


def leading_directories(archive: Path, version: str) -> int:
    """How many directories there are above ``bin/pythonX.Y`` in the archive. Raises PyindexError if
    that is not in it."""
    program = re.compile(rf"^(?:\./)?((?:[^/]+/)?)bin/python{re.escape(version)}$")
    try:
        with tarfile.open(archive) as members:
            for name in members.getnames():
                if program.match(name):
                    return name.removesuffix(f"bin/python{version}").count("/")
    except _TAR_ERRORS as error:
        raise PyindexError(f"{archive.name}: {error}; expected a .tar.gz or .tar.xz") from None
    raise PyindexError(
        f"{archive.name}: no bin/python{version} in it;"
        " pass a relocatable CPython, or correct --python-version"
    )


def _is_url(archive: str) -> bool:
    return urlsplit(archive).scheme in ("http", "https", "file")


def _fetch(archive: str, target: Path) -> None:
    if not _is_url(archive):
        shutil.copyfile(archive, target)
        return
    try:
        with urllib.request.urlopen(archive, timeout=_SECONDS) as source, target.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(source, file)
    except URLError as error:
        raise PyindexError(f"{archive}: {error.reason}") from None
    except (HTTPException, ValueError) as error:
        raise PyindexError(f"{archive}: {error}; correct --python") from None


def _download(python: Python, directory: Path, downloads: Path) -> Path:
    """Have uv download the newest build that it knows of; uv has the digest of each."""
    command = (find_uv_bin(), "python", "install", "--no-progress", "--no-bin")
    with tempfile.TemporaryDirectory() as work:
        mirror = ["--mirror", python.mirror] if python.mirror else []
        process = subprocess.run(
            [*command, "--install-dir", work, *mirror, _BUILD.format(python.version)],
            # uv keeps the archive here, and would install it into `work`.
            env=os.environ | {"UV_PYTHON_CACHE_DIR": str(downloads)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    archives = sorted(downloads.glob("*.tar.*"), key=lambda path: path.stat().st_mtime)
    if process.returncode or not archives:
        shutil.rmtree(downloads, ignore_errors=True)  # uv keeps an archive with a wrong digest, too
        lines = process.stderr.rpartition("error: ")[2].strip().splitlines()
        reason = ": ".join(line.strip().removeprefix("cause: ") for line in lines) or "no archive"
        raise PyindexError(
            f"uv python install: {reason}; name a mirror with --python-mirror or"
            " UV_PYTHON_INSTALL_MIRROR, or pass an archive with --python"
        )
    _, _, name = archives[-1].name.partition("-")  # uv puts a part of the digest before it
    return Path(shutil.copyfile(archives[-1], directory / name))


def _pack(tree: Path, target: Path) -> Path:
    """Write a tar file of a directory; the same files give the same bytes."""

    def normal(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = 0
        return None if "__pycache__" in member.name.split("/") else member

    with (
        target.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as members,
    ):
        members.add(tree, "python", filter=normal)  # sorted, as `add` does
    return target
