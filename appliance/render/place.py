"""Rendered files to a directory, or compared with what is there. Nothing here changes a host."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance.atomic import Batch
from appliance.render.host import HostFile


def write(files: Iterable[HostFile], out: Path) -> None:
    """Write each file to its path below ``out``; all appear when all are written.

    Owners are for whoever places them on a host. Raises ``OSError``.
    """
    files, out = list(files), out.absolute()
    with Batch() as batch:
        for file in files:
            batch.write(below(out, file), file.content.encode())
    for file in files:
        below(out, file).chmod(file.mode)


def diff(files: Iterable[HostFile], root: Path) -> Iterator[str]:
    """Lines that say how the files below ``root`` would change; none if they would not.

    Raises ``OSError`` for a file that is there and cannot be read.
    """
    for file in files:
        place = below(root, file)
        try:
            before = place.read_text(errors="surrogateescape")
        except FileNotFoundError:
            before, name = "", "/dev/null"
        else:
            name = str(place)
        yield from difflib.unified_diff(
            before.splitlines(keepends=True),
            file.content.splitlines(keepends=True),
            name,
            file.path,
        )


def below(root: Path, file: HostFile) -> Path:
    """Where a file of the host lies if ``root`` is the host's root."""
    return root / file.path.lstrip("/")
