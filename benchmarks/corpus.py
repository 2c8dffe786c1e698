"""Folders of package files to measure with: the same bytes every time, made once and kept.

``small`` makes N valid wheels of 3 to 10 kB: ten a project, and one project of 300, as in real
indexes most projects are small and a few are not. ``large`` makes wheels that are one stored,
incompressible module, so that reading and hashing is all that their intake can cost.
"""

import io
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

GENERATION = 1  # the bytes that this module makes; other bytes, another number, other folders
LARGE = 200  # MiB
PER_PROJECT = 10
MANY = 300
MANY_PROJECT = "many-releases"
PROBE_PROJECT = "download-probe"
PROBE_SIZE = 10_000
MEBI = 1 << 20
_METADATA = """\
Metadata-Version: 2.1
Name: {name}
Version: {version}
Summary: One of many small distributions
Author: A. Person
License: Apache-2.0
Classifier: Programming Language :: Python :: 3
Requires-Python: >=3.8
Requires-Dist: packaging>=21
Description-Content-Type: text/markdown

"""
_DESCRIPTION = "".join(f"Line {n} of a description as long as people write.\n" for n in range(24))
_WHEEL = b"Wheel-Version: 1.0\nGenerator: benchmarks\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (2026, 1, 1, 0, 0, 0)


def releases(count: int) -> Iterator[tuple[str, str]]:
    """Yield the (project, version) of each of ``count`` files, the probe first."""
    yield PROBE_PROJECT, "1.0"
    many = min(MANY, count // 3)
    yield from ((MANY_PROJECT, f"{n // 10}.{n % 10}") for n in range(many))
    yield from (
        (f"project-{n // PER_PROJECT:05}", f"1.{n % PER_PROJECT}") for n in range(count - 1 - many)
    )


def wheel_name(project: str, version: str) -> str:
    """Return the file name of a pure wheel."""
    return f"{project.replace('-', '_')}-{version}-py3-none-any.whl"


def wheel(project: str, version: str, module: bytes) -> bytes:
    """Return a valid wheel whose one module is ``module``, stored; its metadata is deflated."""
    name = project.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    members = [f"{name}.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"]
    metadata = (_METADATA.format(name=project, version=version) + _DESCRIPTION).encode()
    record = "".join(f"{member},,\n" for member in members).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, data in zip(members, [module, metadata, _WHEEL, record], strict=True):
            how = zipfile.ZIP_STORED if data is module else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(member, _EPOCH), data, how)
    return buffer.getvalue()


def small(cache: Path, count: int) -> Path:
    """Return the folder of ``count`` small wheels, made in ``cache`` if it is not there yet."""

    def write(folder: Path) -> None:
        noise = random.Random(count).randbytes(PROBE_SIZE)
        overhead = len(wheel(PROBE_PROJECT, "1.0", b""))
        for number, (project, version) in enumerate(releases(count)):
            size = PROBE_SIZE - overhead if number == 0 else 2_000 + number * 37 % 6_000
            content = wheel(project, version, noise[:size])
            (folder / wheel_name(project, version)).write_bytes(content)

    return _kept(cache / f"small-{GENERATION}-{count}", write)


def large(cache: Path, count: int, mebibytes: int) -> Path:
    """Return the folder of ``count`` wheels of ``mebibytes`` each, made if not there yet."""

    def write(folder: Path) -> None:
        for number in range(count):
            module = random.Random(number).randbytes(mebibytes * MEBI)
            (folder / wheel_name(f"large-{number}", "1.0")).write_bytes(
                wheel(f"large-{number}", "1.0", module)
            )

    return _kept(cache / f"large-{GENERATION}-{count}x{mebibytes}", write)


def linked(source: Path, target: Path) -> Path:
    """Make ``target`` a folder of hard links to the files of ``source``, and return it."""
    target.mkdir(parents=True)
    for entry in os.scandir(source):
        os.link(entry.path, target / entry.name)
    return target


def warm(folder: Path) -> None:
    """Read every file, so that what is measured next does not wait for the disk."""
    for entry in os.scandir(folder):
        Path(entry.path).read_bytes()


def _kept(folder: Path, write: Callable[[Path], None]) -> Path:
    """Return ``folder``, filled by ``write`` beside its name first if it does not exist."""
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write(unfinished)
        unfinished.rename(folder)
    return folder
