"""Volumes of a bundle: their names, the names of members, and which file is in which volume."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.bundle import tar
from appliance.bundle.manifest import MOST_VOLUMES, BundledFile, Manifest
from appliance.errors import PyindexError

MANIFEST = "manifest.json"
_NUMBERED = re.compile(r"(.+)\.([0-9]{3})")
_MICROSECONDS = 1_000_000


def path_of(out: Path, number: int) -> Path:
    """Return the path of a volume of the bundle ``out``."""
    return out.with_name(f"{out.name}.{number:03}")


def surplus(out: Path, count: int) -> Iterator[Path]:
    """Yield existing volumes of an earlier bundle ``out`` beyond the first ``count``, with their
    signatures."""
    for path in sorted(out.parent.iterdir()):
        match = _NUMBERED.fullmatch(path.name.removesuffix(".minisig"))
        if match and match[1] == out.name and int(match[2]) > count:
            yield path


def header_of(file: BundledFile) -> bytes:
    """Return the header of a file's member: ``packages/<path>``, with its upload time."""
    seconds = file.upload_time // _MICROSECONDS
    return tar.header(f"packages/{file.path}", file.size, seconds)


def manifest_member(raw: bytes) -> bytes:
    """Return the first member of a volume."""
    return tar.header(MANIFEST, len(raw)) + tar.padded(raw)


def member_size(file: BundledFile) -> int:
    return len(header_of(file)) + file.size + tar.padding(file.size)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a volume; ``start`` is the offset of its header, ``content`` of its content."""

    file: BundledFile
    header: bytes
    start: int

    @property
    def content(self) -> int:
        return self.start + len(self.header)

    @property
    def end(self) -> int:
        """The offset after its content, where zeros fill the last block."""
        return self.content + self.file.size


def members(manifest: Manifest, manifest_size: int) -> tuple[list[Member], int]:
    """Return the files in a volume whose manifest has this size in bytes, and the size of the
    whole volume."""
    found, offset = [], len(manifest_member(b"")) + manifest_size + tar.padding(manifest_size)
    for file in manifest.of_volume(manifest.volume):
        found.append(Member(file, header_of(file), offset))
        offset = found[-1].end + tar.padding(file.size)
    return found, offset + len(tar.END)


def cut(files: Sequence[BundledFile], size: int | None, manifest_size: int) -> list[BundledFile]:
    """Return the files with the numbers of their volumes; those with 0 keep it. A volume takes
    files in their order until the next does not fit.

    Raises :class:`PyindexError` if a file does not fit into a volume of ``size`` bytes, or for too
    many volumes. ``manifest_size`` is the limit of a manifest of these files in bytes.
    """
    if size is None:
        return list(files)

    around = len(manifest_member(b"")) + manifest_size + tar.BLOCK + len(tar.END)
    placed, number, used = [], 1, 0
    for file in files:
        if file.volume:
            needed = member_size(file)
            if around + needed > size:
                raise PyindexError(
                    f"{file.path}: requires a volume of {around + needed} bytes, a volume has"
                    f" {size}; pass a larger --volume"
                )
            if around + used + needed > size:
                number, used = number + 1, 0
            used += needed
            file = file.model_copy(update={"volume": number})
        placed.append(file)
    if number > MOST_VOLUMES:
        raise PyindexError(f"{number} volumes, at most {MOST_VOLUMES}; pass a larger --volume")
    return placed
