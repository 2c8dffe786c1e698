"""Package files with any bytes, each given to the inspection by a function of bytes, which fails
if what must always hold does not: the file is rejected by a check that names the reason, or is one
that installers read in the same way."""

import gzip
import io
import os
import tarfile
import zipfile

from appliance.errors import Rejected
from appliance.incoming.archive import UnexpectedError
from appliance.incoming.inspection import Inspection, inspect
from appliance.text import has_controls

WHEEL, SDIST = "foo-1.0-py3-none-any.whl", "foo-1.0.tar.gz"
_INFO = "foo-1.0.dist-info"
_BLOCK, _CHECKSUM, _MAGIC = 512, slice(148, 156), slice(257, 262)  # of a tar header


def wheel(data: bytes) -> None:
    """The bytes of a wheel. zipfile reads all of one that is accepted, and the same metadata."""
    inspected = _inspect(data, WHEEL)
    if inspected is None:
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            assert not name.startswith("/")
            assert ".." not in name.split("/")
        assert archive.read(f"{_INFO}/METADATA") == (inspected.metadata or inspected.unpublished)


def sdist(data: bytes) -> None:
    """The bytes of a tar archive, whose headers are given right checksums: an sdist. tarfile reads
    the names of one that is accepted, and none of them leads out."""
    data = _with_checksums(data)
    if _inspect(gzip.compress(data, 1, mtime=0), SDIST) is None:
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for name in archive.getnames():
            assert not name.startswith("/")
            assert ".." not in name.split("/")


def metadata(data: bytes) -> None:
    """The bytes of METADATA in a valid wheel, and of PKG-INFO in a valid sdist."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in (("METADATA", data), ("WHEEL", b""), ("RECORD", b"")):
            archive.writestr(zipfile.ZipInfo(f"{_INFO}/{name}"), content)
    _inspect(packed.getvalue(), WHEEL)

    header = tarfile.TarInfo("foo-1.0/PKG-INFO")
    header.size = len(data)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as sources:
        sources.addfile(header, io.BytesIO(data))
    _inspect(gzip.compress(packed.getvalue(), 1, mtime=0), SDIST)


def _inspect(data: bytes, filename: str) -> Inspection | None:
    """Inspect a file; return ``None`` if it is rejected for a reason that a check gives."""
    with os.fdopen(os.memfd_create(filename), "w+b") as file:
        file.write(data)
        file.flush()
        file.seek(0)
        try:
            inspected = inspect(file, filename)
        except UnexpectedError:
            raise
        except Rejected as error:
            assert str(error)
            return None
    assert inspected.distribution.project == "foo"
    assert not has_controls(inspected.name)
    assert not has_controls(f"{inspected.summary}{inspected.requires_python}")
    return inspected


def _with_checksums(data: bytes) -> bytes:
    """Return a tar archive whose headers have the right checksums, without which none is read."""
    archive = bytearray(data)
    for start in range(0, len(archive) - _BLOCK + 1, _BLOCK):
        block = archive[start : start + _BLOCK]
        if block[_MAGIC] == b"ustar":
            block[_CHECKSUM] = b" " * 8
            block[_CHECKSUM] = b"%06o\0 " % sum(block)
            archive[start : start + _BLOCK] = block
    return bytes(archive)
