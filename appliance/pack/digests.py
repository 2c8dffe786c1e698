"""Digests of files, directories and sets of files: SHA-256, in hex."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path


def of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_directory(directory: Path) -> dict[str, str]:
    """The digest of each file below ``directory``, by its path from there, sorted."""
    paths = sorted(source_files(directory))
    return {str(path.relative_to(directory)): of_file(path) for path in paths}


def of_many(digests: Mapping[str, str]) -> str:
    """One digest of many: of each name and its digest, in this order."""
    lines = "".join(f"{name} {digest}\n" for name, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def source_files(path: Path) -> Iterator[Path]:
    """The file itself, or the files below a directory, without Python's caches."""
    paths = path.rglob("*") if path.is_dir() else [path]
    return (file for file in paths if file.is_file() and "__pycache__" not in file.parts)
