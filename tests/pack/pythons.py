"""Relocatable Pythons for packs, and a server that uv downloads them from."""

import hashlib
import json
import shutil
import sys
import sysconfig
import tarfile
from pathlib import Path

from tests.pack.conftest import Server

# A build for glibc 2.17 cannot be made here: this runs the Python of the tests.
PROGRAM = f'#!/bin/sh\nexec {sys.executable} "$@"\n'


def make_tree(directory: Path, program: str = PROGRAM, version: str = "3.11") -> Path:
    """A directory as python-build-standalone has it, with ``program`` as its Python."""
    path = directory / "bin" / f"python{version}"
    path.parent.mkdir(parents=True)
    path.write_text(program)
    path.chmod(0o755)
    (path.parent / "python3").symlink_to(path.name)
    library = directory / "lib" / f"python{version}"
    library.mkdir(parents=True)
    settings = Path(sysconfig.get_path("stdlib")).glob("_sysconfigdata__linux_*.py")
    shutil.copy(next(settings), library)  # uv requires it
    return directory


def make_archive(path: Path, tree: Path) -> str:
    """Write the archive of a tree, and return its SHA-256."""
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tree, "python")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def publish(server: Server, directory: Path) -> str:
    """Publish a CPython 3.11.7 for uv, with ``downloads.json``; returns its digest."""
    name = "cpython-3.11.7+20261110-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
    sha256 = make_archive(server.root / name, make_tree(directory / "tree"))
    build: dict[str, object] = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": "linux",
    }
    build |= {"libc": "gnu", "major": 3, "minor": 11, "patch": 7, "prerelease": "", "variant": None}
    build |= {"build": "20261110", "url": f"{server.url}/{name}", "sha256": sha256}
    downloads = {"cpython-3.11.7-linux-x86_64-gnu": build}
    (server.root / "downloads.json").write_text(json.dumps(downloads))
    return sha256
