"""Inspection of package files: accepted forms, rejected files."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import Rejected
from appliance.incoming import archive, inspection
from appliance.incoming.protocol import Part
from tests.attacks.files import (
    HOSTILE,
    METADATA,
    SDIST,
    WHEEL,
    HostileFile,
    Make,
    a_tar,
    a_wheel,
    a_zip,
    content,
    followed,
    global_pax,
    rotten,
    tar_member,
    wheel,
    wheel_members,
    whole,
    zip64,
)
from tests.dist import make_sdist, make_wheel


def inspect(path: Path) -> inspection.Inspection:
    with path.open("rb") as file:
        return inspection.inspect(file, path.name)


def test_inspect_returns_digests_and_metadata(tmp_path: Path) -> None:
    """One reading of a wheel gives digests, Requires-Python, summary, and metadata byte for
    byte."""
    path = make_wheel(tmp_path, "Foo.Bar", "1.0", requires_python=">=3.6", summary="A thing")
    found = inspect(path)
    content = path.read_bytes()
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.md5 == hashlib.md5(content).hexdigest()
    assert found.blake2b_256 == hashlib.blake2b(content, digest_size=32).hexdigest()
    assert found.size == len(content)
    assert (found.name, found.requires_python, found.summary) == ("Foo.Bar", ">=3.6", "A thing")
    with zipfile.ZipFile(path) as file:
        assert found.metadata == file.read("Foo_Bar-1.0.dist-info/METADATA")
    with path.open("rb") as file:
        assert found.metadata == inspection.read_part(file, path.name, Part.METADATA)


def test_inspect_hashes_large_file(tmp_path: Path) -> None:
    """A file that is too large for memory has the right digests."""
    path = tmp_path / WHEEL
    noise = random.Random(1).randbytes(17 * 1024 * 1024)
    a_zip(path, {**wheel_members(), "foo.bin": noise}, zipfile.ZIP_STORED)
    found = inspect(path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.metadata == METADATA.encode()


SDISTS = [
    ("foo-1.0.tar.gz", "w:gz"),
    ("foo-1.0.tgz", "w:gz"),
    ("foo-1.0.tar.bz2", "w:bz2"),
    ("foo-1.0.tar.xz", "w:xz"),
]


@pytest.mark.parametrize(("name", "mode"), SDISTS)
def test_inspect_reads_sdist_of_each_compression(tmp_path: Path, name: str, mode: str) -> None:
    """PKG-INFO at the top of the archive gives Requires-Python and summary."""
    info = METADATA.encode() + b"Requires-Python: >=2.7\nSummary: old\n"
    path = a_tar(tmp_path / name, {"foo-1.0/a.py": b"", "foo-1.0/PKG-INFO": info}, mode)
    found = inspect(path)
    assert (found.requires_python, found.summary, found.metadata) == (">=2.7", "old", None)


def test_inspect_accepts_sdist_without_metadata(tmp_path: Path) -> None:
    """An archive older than PKG-INFO is accepted by its file name."""
    path = a_tar(tmp_path / "foo-1.0.tar.gz", {"foo-1.0/setup.py": b""})
    assert inspect(path).distribution.project == "foo"


STATIC = [
    ("2.2", "", True),
    ("2.4", "Dynamic: license-file\n", True),
    ("2.2", "Dynamic: Requires-Dist\n", False),
    ("2.3", "Dynamic: Summary\nDynamic: requires-python\n", False),
    ("2.1", "", False),
    ("1.0", "", False),
    ("2.x", "", False),
]


@pytest.mark.parametrize(("version", "dynamic", "static"), STATIC)
def test_sdist_publishes_only_static_metadata(
    tmp_path: Path, version: str, dynamic: str, static: bool
) -> None:
    """Metadata of an sdist is published from version 2.2 on, unless fields are dynamic (PEP
    643)."""
    info = f"Metadata-Version: {version}\nName: foo\nVersion: 1.0\n{dynamic}".encode()
    path = a_tar(tmp_path / "foo-1.0.tar.gz", {"foo-1.0/PKG-INFO": info})
    assert inspect(path).metadata == (info if static else None)


FIELDS = [
    ("Summary: Grüße\n", "Grüße"),
    ("Summary: two\n  lines\n", "two lines"),
    ("Summary:   \n", None),
    ("Summary: UNKNOWN\n", None),
    ("", None),
    ("Summary: <script>\n", "<script>"),
]


@pytest.mark.parametrize(("field", "summary"), FIELDS)
def test_summary_is_one_line(tmp_path: Path, field: str, summary: str | None) -> None:
    """The summary is one line: folded lines are joined, empty values and UNKNOWN are omitted."""
    assert inspect(a_wheel(tmp_path, METADATA + field)).summary == summary


def test_metadata_gives_spelling_of_project(tmp_path: Path) -> None:
    """The project's name is spelled as in the metadata, not as in the file name."""
    path = make_sdist(tmp_path, "bx-python", "0.7.3")
    assert inspect(path).name == "bx-python"


class Pipe(io.BytesIO):
    """A file in which nothing can be changed that was written, as where a zip is streamed to."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise OSError("a pipe")


def streamed(path: Path) -> None:
    """The sizes stand behind each member (a data descriptor), as many build tools write."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in wheel_members().items():
            file.writestr(name, text)
    path.write_bytes(pipe.getvalue())


def commented(path: Path) -> None:
    a_zip(path, wheel_members())
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"made by hand"


def force_zip64(path: Path) -> None:
    """Sizes in zip64's extra field though they are small, as some tools write always."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in wheel_members().items():
            with file.open(name, "w", force_zip64=True) as member:
                member.write(str(text).encode())


ODD: list[tuple[str, Make]] = [
    (WHEEL, zip64()),
    (WHEEL, wheel(**{"foo/": ""})),
    (WHEEL, content(whole(("foo.py", b"good = 1\n"), ("foo.py", b"good = 1\n")))),
    (WHEEL, streamed),
    (WHEEL, commented),
    (WHEEL, force_zip64),
    (SDIST, followed(tar_member("foo-1.0/setup.py"), b"GARBAGE")),
    (SDIST, followed(tar_member("foo-1.0/setup.py"), bytes(100))),
    (SDIST, followed(tar_member("foo-1.0/setup.py"), gzip.compress(b"more"))),
    (SDIST, global_pax(1, "x" * 40, 1)),
]


@pytest.mark.parametrize(("name", "make"), ODD)
def test_inspect_accepts_unusual_archives(tmp_path: Path, name: str, make: Make) -> None:
    """Unusual forms that pip installs are accepted, also with bytes after a complete archive."""
    path = tmp_path / name
    make(path)
    assert inspect(path).distribution.project == "foo"
    if name == WHEEL:
        with zipfile.ZipFile(path) as file:
            assert file.testzip() is None
    else:
        with tarfile.open(path) as tar:
            assert len(tar.getnames()) == 1


# tracemalloc multiplies the time of a file that is large when unpacked.
LARGE = ("more than 200,000 members", "unpacks to more")
HOSTILE_CASES = [
    pytest.param(
        hostile,
        marks=[pytest.mark.integration] if hostile.reason.startswith(LARGE) else [],
        id=hostile.name,
    )
    for hostile in HOSTILE
]


@pytest.mark.parametrize("hostile", HOSTILE_CASES)
def test_inspect_rejects_hostile_archive(tmp_path: Path, hostile: HostileFile) -> None:
    """A hostile archive is rejected with its reason, within the memory limit."""
    path = hostile.write(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(Rejected) as refusal:
            inspect(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert hostile.reason in str(refusal.value)
    assert not isinstance(refusal.value, archive.UnexpectedError)
    assert peak < 96 << 20


@pytest.mark.parametrize("suffix", [WHEEL, "foo-1.0.tar.gz"])
def test_inspect_rejects_truncated_file(tmp_path: Path, suffix: str) -> None:
    """An archive is rejected wherever it is truncated."""
    make = make_wheel if suffix == WHEEL else make_sdist
    whole = make(tmp_path, "foo", "1.0").read_bytes()
    path = tmp_path / suffix
    for length in range(0, len(whole), max(1, len(whole) // 200)):
        path.write_bytes(whole[:length])
        with pytest.raises(Rejected):
            inspect(path)


WHOLE: list[tuple[str, Make]] = [
    (WHEEL, wheel(**{"foo.py": "good = 1\n"})),
    (WHEEL, streamed),
    (WHEEL, zip64()),
    ("foo-1.0.zip", lambda path: a_zip(path, {"foo-1.0/PKG-INFO": METADATA})),
    ("foo-1.0-py3.11.egg", lambda path: a_zip(path, {"EGG-INFO/PKG-INFO": METADATA})),
    (SDIST, lambda path: a_tar(path, {"foo-1.0/PKG-INFO": METADATA.encode()})),
    ("foo-1.0.tar.bz2", lambda path: a_tar(path, {"foo-1.0/PKG-INFO": b"Name: foo"}, "w:bz2")),
    ("foo-1.0.tar.xz", lambda path: a_tar(path, {"foo-1.0/PKG-INFO": b"Name: foo"}, "w:xz")),
]
EITHER = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=200)


@EITHER
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=9)), max_size=4),
    st.integers(0, 40),
)
def test_inspect_handles_any_damage(
    tmp_path: Path, kind: tuple[str, Make], damage: list[tuple[int, bytes]], cut: int
) -> None:
    """A damaged archive is accepted or rejected, without another error."""
    name, make = kind
    path = tmp_path / name
    make(path)
    data = bytearray(path.read_bytes())
    for place, piece in damage:
        data[place % len(data) : place % len(data) + len(piece)] = piece
    path.write_bytes(data[: len(data) - cut])
    refused_or_read(path)


@EITHER
@given(
    st.sampled_from(WHOLE[-3:]),
    st.lists(st.tuples(st.integers(0, 2047), st.binary(min_size=1, max_size=9)), max_size=4),
    st.booleans(),
)
def test_inspect_handles_any_tar_header(
    tmp_path: Path, kind: tuple[str, Make], damage: list[tuple[int, bytes]], checked: bool
) -> None:
    """A tar with damaged headers is accepted or rejected, even with a valid checksum."""
    name, _ = kind
    records = b"30 GNU.sparse.map=1,2\n28 GNU.sparse.size=1\n"
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, len(records)
    last = tarfile.TarInfo("foo-1.0/PKG-INFO").tobuf(tarfile.GNU_FORMAT)
    data = bytearray(pax.tobuf(tarfile.GNU_FORMAT) + records.ljust(512, b"\0") + last + bytes(1024))
    for place, piece in damage:
        data[place : place + len(piece)] = piece
    if checked:
        for start in (0, 1024):
            total = sum(data[start : start + 148]) + 8 * 32 + sum(data[start + 156 : start + 512])
            data[start + 148 : start + 156] = b"%06o\0 " % total
    pack: dict[str, Callable[[bytes], bytes]] = {
        SDIST: gzip.compress,
        "foo-1.0.tar.bz2": bz2.compress,
        "foo-1.0.tar.xz": lzma.compress,
    }
    (tmp_path / name).write_bytes(pack[name](bytes(data)))
    refused_or_read(tmp_path / name)


@EITHER
@given(st.sampled_from([name for name, _ in WHOLE]), st.binary(max_size=600))
def test_inspect_handles_random_bytes(tmp_path: Path, name: str, noise: bytes) -> None:
    """Random bytes are rejected with a reason."""
    path = tmp_path / name
    path.write_bytes(noise)
    refused_or_read(path)


@EITHER
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_inspect_handles_any_metadata(tmp_path: Path, text: bytes) -> None:
    """Any bytes as metadata are read or rejected, without another error."""
    wheel(METADATA.encode() + text)(tmp_path / WHEEL)
    refused_or_read(tmp_path / WHEEL)


def refused_or_read(path: Path) -> None:
    try:
        inspect(path)
    except archive.UnexpectedError:
        raise
    except Rejected as error:
        assert str(error)


AGREEING = [
    ("foo-1.2.0_SNAPSHOT-py3-none-any.whl", "1.2.0-SNAPSHOT", "1.2.0_SNAPSHOT"),
    ("foo-1.2.0_SNAPSHOT-py3-none-any.whl", "1.2.0_SNAPSHOT", "1.2.0_SNAPSHOT"),
    ("foo-0.2+cu130-py3-none-any.whl", "0.2", "0.2+cu130"),
    ("foo-0.2+cu130-py3-none-any.whl", "0.2+cu130", "0.2+cu130"),
    ("foo-0.2+ubuntu_1-py3-none-any.whl", "0.2+ubuntu.1", "0.2+ubuntu.1"),
    ("foo-1.0_1-py3-none-any.whl", "1.0-1", "1.0.post1"),
    ("foo-1.0-py3-none-any.whl", "1.0.0", "1.0"),
]


@pytest.mark.parametrize(("filename", "version", "shown"), AGREEING)
@pytest.mark.parametrize("info", ["file", "metadata"])
def test_inspect_accepts_equal_versions(
    tmp_path: Path, filename: str, version: str, shown: str, info: str
) -> None:
    """Versions that clients treat as equal agree; the page shows the one of the file name."""
    spelled = filename.split("-")[1] if info == "file" else version.replace("-", "_")
    text = f"Metadata-Version: 2.1\nName: foo\nVersion: {version}\n"
    wheel(text, info=f"foo-{spelled}.dist-info")(tmp_path / filename)
    assert inspect(tmp_path / filename).distribution.version == shown


def test_inspect_rejects_local_version_of_metadata_only(tmp_path: Path) -> None:
    """A local version in the metadata only is another release."""
    wheel(METADATA.replace("1.0", "1.0+cu130"))(tmp_path / WHEEL)
    with pytest.raises(Rejected, match=r"METADATA says foo 1\.0\+cu130, the file name foo 1\.0"):
        inspect(tmp_path / WHEEL)


# File name, Name in its PKG-INFO; all on the public index.
SAME_PROJECT = [
    ("zope.interface-5.4.0.tar.gz", "zope.interface"),
    ("zope_interface-5.4.0.tar.gz", "zope.interface"),
    ("Flask_Cors-1.0.tar.gz", "flask-cors"),
    ("ABC12-34_V1X-1.2.3.tar.gz", "ABC12-34_V1X"),
    ("pkg-2to3-1.0.tar.gz", "pkg-2to3"),
    ("foo-1.0-1.tar.gz", "foo"),
    ("foo-1.0-1.tar.gz", "foo-1.0"),
    ("My-Package-1.0.tar.gz", "My Package"),
    ("foo-1.0.tar.gz", "UNKNOWN"),
    ("foo-1.0.tar.gz", ""),
]


@pytest.mark.parametrize(("filename", "name"), SAME_PROJECT)
def test_inspect_accepts_spellings_of_project(tmp_path: Path, filename: str, name: str) -> None:
    """An sdist may spell its project differently, or omit it."""
    info = f"Metadata-Version: 1.0\nName: {name}\nVersion: 1.0\n".encode()
    path = a_tar(tmp_path / filename, {"x/PKG-INFO": info})
    assert inspect(path).distribution.filename == filename


def test_metadata_without_utf8_is_not_published(tmp_path: Path) -> None:
    """Metadata that is not UTF-8 is not published, as pip fails on it; the file is accepted."""
    raw = METADATA.encode() + "Author: Grüße\n".encode("latin-1")
    wheel(raw)(tmp_path / WHEEL)
    found = inspect(tmp_path / WHEEL)
    assert (found.metadata, found.unpublished) == (None, raw)


SPECIFIERS = [
    (">=3.6", ">=3.6"),
    (">=3.6, !=3.7.*", ">=3.6, !=3.7.*"),
    ("3.6", None),
    (">=3.6.x", None),
    ("yes", None),
]


@pytest.mark.parametrize(("wanted", "offered"), SPECIFIERS)
def test_invalid_requires_python_is_omitted(
    tmp_path: Path, wanted: str, offered: str | None
) -> None:
    """An invalid Requires-Python is omitted, since uv ignores a file with one."""
    wheel(METADATA + f"Requires-Python: {wanted}\n")(tmp_path / WHEEL)
    assert inspect(tmp_path / WHEEL).requires_python == offered


def test_summary_is_truncated(tmp_path: Path) -> None:
    """A long summary is truncated for the page of all projects."""
    wheel(METADATA + "Summary: " + "x" * 5000 + "\n")(tmp_path / WHEEL)
    assert inspect(tmp_path / WHEEL).summary == "x" * 2048


def test_old_file_is_not_unpacked(tmp_path: Path) -> None:
    """The members of an old file are not unpacked: only its headers are compared."""
    path = tmp_path / WHEEL
    rotten(path)
    with pytest.raises(Rejected, match=r"checksum of .* does not match"):
        inspect(path)
    os.utime(path, (1e9, 1e9))
    assert inspect(path).distribution.project == "foo"
