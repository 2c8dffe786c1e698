"""Valid inputs of each subject, from which a fuzzer starts, and inputs that once failed."""

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.dist import make_wheel
from tests.index.test_names import READ
from tests.uploads.forms import CONTENT_TYPE, encode
from tests.web.accepts import CLIENTS

_RECORDED = Path(__file__).parent.parent / "data" / "upload-requests"
_FAILED = Path(__file__).parent / "corpus"
_METADATA = b"""\
Metadata-Version: 2.2
Name: foo
Version: 1.0
Summary: x
Requires-Python: >=3.6
Requires-Dist: a; extra == 'b'
Dynamic: Requires-Dist
Project-URL: a, b
Description-Content-Type: text/markdown; charset=utf-8

body
"""
_HEADERS = (
    *("Basic YWxpY2U6Z2VoZWlt", f"Bearer pyi-{'a' * 67}", "gzip;q=0", "bytes=0-0", "bytes=-5"),
    *("bytes=1-2,3-4", 'W/"x", "0-3e8"', "*", "Sun, 06 Nov 1994 08:49:37 GMT"),
    *("Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"),
)


def failed(subject: str) -> list[Path]:
    """Return the inputs of a subject that once failed."""
    return sorted((_FAILED / subject).glob("*"))


def seeds(subject: str) -> list[bytes]:
    """Return valid inputs of a subject."""
    return list(_SEEDS[subject]())


def _forms() -> Iterator[bytes]:
    for path in sorted(_RECORDED.glob("*.bin")):
        yield path.with_suffix(".ct").read_bytes().strip() + b"\n" + path.read_bytes()
    fields = {"name": "foo", "version": "1.0", "filetype": "sdist", "md5_digest": "x"}
    yield CONTENT_TYPE.encode() + b"\n" + encode(fields, "foo-1.0.zip", b"PK")
    yield CONTENT_TYPE.encode() + b"\n" + encode(fields, newline=b"\n")


def _filenames() -> Iterator[bytes]:
    for filename, name, *_ in READ:
        yield f"{filename}\n{name or ''}".encode()


def _headers() -> Iterator[bytes]:
    yield from (value.encode() for value in _HEADERS)
    yield from (accept.encode() for _, accept, _ in CLIENTS if accept)


def _wheels() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as directory:
        yield make_wheel(Path(directory), "foo", "1.0").read_bytes()
    yield _zip(io.BytesIO())
    yield _zip(_Unseekable())


class _Unseekable(io.BytesIO):
    """Output of which zipfile does not know the offset: it writes data descriptors."""

    def seek(self, *_arguments: object) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def _zip(output: io.BytesIO) -> bytes:
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("METADATA", _METADATA), ("WHEEL", b"x"), ("RECORD", b"")):
            archive.writestr(f"foo-1.0.dist-info/{name}", content)
    return output.getvalue()


def _tars() -> Iterator[bytes]:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode="w", format=form, encoding="utf-8") as archive:
            for name in ("foo-1.0/PKG-INFO", f"foo-1.0/{'a' * 120}", "foo-1.0/é"):
                member = tarfile.TarInfo(name)
                member.size = len(_METADATA)
                archive.addfile(member, io.BytesIO(_METADATA))
            link = tarfile.TarInfo("foo-1.0/link")
            link.type, link.linkname = tarfile.SYMTYPE, "é"
            archive.addfile(link)
        yield output.getvalue().rstrip(b"\0") + bytes(2 * tarfile.BLOCKSIZE)


def _metadata() -> Iterator[bytes]:
    yield _METADATA
    yield _METADATA.replace(b"\n", b"\r\n")


_SEEDS = {
    "form": _forms,
    "filenames": _filenames,
    "headers": _headers,
    "wheel": _wheels,
    "sdist": _tars,
    "metadata": _metadata,
}
