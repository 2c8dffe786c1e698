"""What a pack is named after: the SHA-256, in hex, of files and of many files."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path


def of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_folder(folder: Path) -> dict[str, str]:
    """Each file below ``folder``, by its path from there."""
    return {str(path.relative_to(folder)): of_file(path) for path in sorted(files(folder))}


def of_many(named: Mapping[str, str]) -> str:
    """One digest for many, of their names and each one's own, in this order."""
    lines = "".join(f"{name} {digest}\n" for name, digest in named.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def files(path: Path) -> Iterator[Path]:
    """The file itself, or all below a directory but what Python compiled."""
    found = path.rglob("*") if path.is_dir() else [path]
    return (file for file in found if file.is_file() and "__pycache__" not in file.parts)
