"""Rendered files written to a directory, or compared with one. Nothing here changes a host."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance.atomic import Batch
from appliance.render.host import HostFile


def write(files: Iterable[HostFile], out: Path) -> None:
    """Write each file to its path below ``out``; all appear when all are written. Owners are not
    set. Raises ``OSError``.
    """
    files, out = list(files), out.absolute()
    with Batch() as batch:
        for file in files:
            batch.write(below(out, file), file.content.encode())
    for file in files:
        below(out, file).chmod(file.mode)


def diff(files: Iterable[HostFile], root: Path) -> Iterator[str]:
    """Yield a unified diff from the files below ``root`` to the rendered ones.

    Raises ``OSError`` for an existing file that cannot be read.
    """
    for file in files:
        path = below(root, file)
        try:
            before = path.read_text(errors="surrogateescape")
        except FileNotFoundError:
            before, name = "", "/dev/null"
        else:
            name = str(path)

        yield from difflib.unified_diff(
            before.splitlines(keepends=True),
            file.content.splitlines(keepends=True),
            name,
            file.path,
        )


def below(root: Path, file: HostFile) -> Path:
    """Where a file of the host lies if ``root`` is the host's root."""
    return root / file.path.lstrip("/")
