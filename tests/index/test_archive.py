"""What is read of a package file, and what is refused."""

import gzip
import hashlib
import io
import os
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import Refused
from appliance.index import archive
from tests.dist import make_sdist, make_wheel

WHEEL = "foo-1.0-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"


def inspect(path: Path) -> archive.Inspection:
    with path.open("rb") as file:
        return archive.inspect(file, path.name)


def a_zip(path: Path, members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def a_wheel(path: Path, metadata: bytes | str = METADATA, **members: bytes | str) -> Path:
    return a_zip(path / WHEEL, {"foo-1.0.dist-info/METADATA": metadata, **members})


def a_tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return path


def test_a_wheel_tells_everything_at_one_reading(tmp_path: Path) -> None:
    """Digests, metadata byte for byte, Requires-Python and summary come from the file itself."""
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
    assert found.metadata == archive.read_metadata(path)


def test_a_large_file_has_the_same_digests(tmp_path: Path) -> None:
    """A file that is not held in memory is hashed all the same."""
    path = tmp_path / WHEEL
    noise = random.Random(1).randbytes(17 * 1024 * 1024)
    a_zip(path, {"foo-1.0.dist-info/METADATA": METADATA, "foo.bin": noise}, zipfile.ZIP_STORED)
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
def test_an_sdist_of_any_compression_is_read(tmp_path: Path, name: str, mode: str) -> None:
    """PKG-INFO at the top of the archive gives Requires-Python and summary."""
    info = METADATA.encode() + b"Requires-Python: >=2.7\nSummary: old\n"
    path = a_tar(tmp_path / name, {"foo-1.0/a.py": b"", "foo-1.0/PKG-INFO": info}, mode)
    found = inspect(path)
    assert (found.requires_python, found.summary, found.metadata) == (">=2.7", "old", None)


def test_an_sdist_without_metadata_is_taken_by_its_name(tmp_path: Path) -> None:
    """Archives older than PKG-INFO are not lost."""
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
def test_only_static_metadata_of_an_sdist_is_published(
    tmp_path: Path, version: str, dynamic: str, static: bool
) -> None:
    """PEP 643: from version 2.2 on, what is not marked dynamic will be so in the wheel."""
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
def test_a_field_is_one_line_of_text(tmp_path: Path, field: str, summary: str | None) -> None:
    """Folded fields are joined, and what old tools write for nothing is nothing."""
    assert inspect(a_wheel(tmp_path, METADATA + field)).summary == summary


def test_a_project_is_spelled_as_its_metadata_does(tmp_path: Path) -> None:
    """The file name's underscores are only an escape."""
    path = make_sdist(tmp_path, "bx-python", "0.7.3")
    assert inspect(path).name == "bx-python"


def huge_directory(path: Path) -> Path:
    path.write_bytes(
        b"x" * 100 + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 1 << 30, 0, 0)
    )
    return path


def zip64(
    content: bytes = b"",
    position: int = 0,
    length: int = 0,
    offset: int = 0,
    end_length: int = 0xFFFFFFFF,
) -> Callable[[Path], Path]:
    """A wheel, or ``content`` as one long directory, with zip64's end records.

    The numbers are added to what is true; ``end_length`` is what the old end record says in place
    of the marker for "see the other" (APPNOTE 4.4.1.4).
    """

    def make(path: Path) -> Path:
        a_zip(path, {"foo-1.0.dist-info/METADATA": METADATA})
        before, end = path.read_bytes()[:-22], path.read_bytes()[-22:]
        *_, entries, size, start, _ = struct.unpack("<4s4H2LH", end)
        if content:
            before, size, start = content, len(content), 0
        numbers = (entries, entries, size + length, start + offset)
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *numbers)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(before) + position, 1)
        markers = (0xFFFF, 0xFFFF, end_length, 0xFFFFFFFF)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *markers, 0)
        path.write_bytes(before + record + locator + end)
        return path

    return make


def hidden_end(path: Path) -> Path:
    """An end record that has the sign of one in it, where a search from behind finds it first."""
    end = struct.pack("<4s4HL4sH", b"PK\5\6", 0, 0, 1, 1, 1 << 30, b"PK\5\6", 0)
    path.write_bytes(bytes(100) + end)
    return path


def followed(make: Callable[[Path], Path], data: bytes) -> Callable[[Path], Path]:
    def append(path: Path) -> Path:
        with make(path).open("ab") as file:
            file.write(data)
        return path

    return append


def a_bomb(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("foo-1.0.dist-info/METADATA", METADATA)
        with file.open("zeros", "w") as member:
            for _ in range(200):
                member.write(bytes(1 << 20))
    return path


def a_tar_bomb(path: Path) -> Path:
    entry = tarfile.TarInfo("foo-1.0/zeros")
    entry.size = 1 << 30
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(entry.tobuf())
        for _ in range(256):
            file.write(bytes(1 << 20))
    return path


def a_header_bomb(path: Path) -> Path:
    entry = tarfile.TarInfo("pax")
    entry.type = tarfile.XHDTYPE
    entry.size = 1 << 33
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        for _ in range(100):
            file.write(bytes(1 << 20))
    return path


def a_liar(path: Path) -> Path:
    """A zip whose METADATA is larger than its directory says."""
    a_zip(path, {"foo-1.0.dist-info/METADATA": METADATA + "x" * 1000})
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\1\2")
    content[directory + 24 : directory + 28] = struct.pack("<L", 10)
    path.write_bytes(content)
    return path


def truncated(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def cut(path: Path) -> Path:
        make(path)
        os.truncate(path, path.stat().st_size - 30)
        return path

    return cut


def metadata(text: bytes | str) -> Callable[[Path], Path]:
    return lambda path: a_zip(path, {"foo-1.0.dist-info/METADATA": text})


def member(name: str) -> Callable[[Path], Path]:
    return lambda path: a_zip(path, {"foo-1.0.dist-info/METADATA": METADATA, name: b""})


def tar_member(name: str) -> Callable[[Path], Path]:
    return lambda path: a_tar(path, {name: b""})


def content(data: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return write


CONTRADICTION = "its zip64 end records contradict each other"
ODD: list[tuple[str, Callable[[Path], Path]]] = [
    (WHEEL, zip64()),
    (WHEEL, followed(metadata(METADATA), b"GARBAGE")),
    ("foo-1.0.tar.gz", followed(tar_member("foo-1.0/setup.py"), b"GARBAGE")),
    ("foo-1.0.tar.gz", followed(tar_member("foo-1.0/setup.py"), bytes(100))),
    ("foo-1.0.tar.gz", followed(tar_member("foo-1.0/setup.py"), gzip.compress(b"more"))),
]


@pytest.mark.parametrize(("name", "make"), ODD)
def test_what_pip_reads_is_taken_in(
    tmp_path: Path, name: str, make: Callable[[Path], Path]
) -> None:
    """Rare forms are no faults, nor is what follows a whole archive."""
    path = make(tmp_path / name)
    assert inspect(path).distribution.project == "foo"
    if name == WHEEL:
        with zipfile.ZipFile(path) as file:
            assert file.testzip() is None
    else:
        with tarfile.open(path) as tar:
            assert tar.getnames() == ["foo-1.0/setup.py"]


HOSTILE: list[tuple[str, Callable[[Path], Path], str]] = [
    (WHEEL, content(b""), "truncated or damaged"),
    (WHEEL, content(b"<html>404</html>"), "truncated or damaged"),
    (WHEEL, truncated(metadata(METADATA)), "truncated or damaged"),
    (WHEEL, huge_directory, "zip directory is larger"),
    (WHEEL, hidden_end, "zip directory is larger"),
    (WHEEL, zip64(bytes(17 << 20)), "zip directory is larger than 16 MiB"),
    (WHEEL, zip64(bytes(17 << 20), end_length=100), CONTRADICTION),
    (WHEEL, zip64(end_length=100), CONTRADICTION),
    (WHEEL, zip64(position=1 << 40), CONTRADICTION),
    (WHEEL, zip64(position=-1), CONTRADICTION),
    (WHEEL, zip64(length=1), CONTRADICTION),
    (WHEEL, zip64(length=1 << 40, position=1 << 40), CONTRADICTION),
    (WHEEL, zip64(length=-10, offset=10), "truncated or damaged"),
    (WHEEL, content(b"PK\6\7" + bytes(16) + b"PK\5\6" + bytes(18)), CONTRADICTION),
    (WHEEL, a_bomb, "unpacks to more than"),
    (WHEEL, a_liar, "truncated or damaged|METADATA says"),
    (WHEEL, member("/etc/passwd"), "outside its folder"),
    (WHEEL, member("a/../../x"), "outside its folder"),
    (WHEEL, member("..\\x"), "outside its folder"),
    (WHEEL, member("a/../.."), "outside its folder"),
    (WHEEL, member("a/../x"), r"'a/../x' has \.\. in its path"),
    (WHEEL, member("bar-1.dist-info/METADATA"), "more than one metadata file"),
    (WHEEL, lambda path: a_zip(path, {"foo.py": b""}), "without a .dist-info/METADATA"),
    (WHEEL, metadata("Name: bar\nVersion: 1.0\n"), "METADATA says bar 1.0"),
    (WHEEL, metadata("Name: foo\nVersion: 2.0\n"), "METADATA says foo 2.0"),
    (WHEEL, metadata(b"\0\xff\xfe"), "METADATA has no Name"),
    (WHEEL, metadata(b"\xef\xbb\xbf" + METADATA.encode()), "begins with a byte order mark"),
    (WHEEL, metadata("Name: foo\n"), "METADATA has no Version"),
    (WHEEL, metadata(METADATA + "Summary: a\x1b[31mb\n"), "control characters"),
    (WHEEL, metadata(METADATA + "Requires-Python: \x00\n"), "control characters"),
    (WHEEL, metadata(METADATA + "\n" + "x" * (100 << 20)), "unpacks to more|larger than 8 MiB"),
    (WHEEL, metadata(METADATA + "\n" + "x" * (9 << 20)), "larger than 8 MiB"),
    ("foo-1.0.tar.gz", content(b""), "truncated or damaged"),
    ("foo-1.0.tar.gz", content(b"PK\3\4"), "truncated or damaged"),
    ("foo-1.0.tar.gz", truncated(tar_member("foo-1.0/setup.py")), "truncated or damaged"),
    ("foo-1.0.tar.gz", tar_member("/etc/passwd"), "outside its folder"),
    ("foo-1.0.tar.gz", tar_member("foo-1.0/../../x"), "outside its folder"),
    ("foo-1.0.tar.gz", tar_member("foo-1.0/tests/../x"), r"has \.\. in its path"),
    ("foo-1.0.tar.gz", a_tar_bomb, "unpacks to more than"),
    ("foo-1.0.tar.gz", a_header_bomb, "claims to be larger"),
    ("foo-1.0.tar.bz2", content(b"BZh9garbage"), "truncated or damaged"),
    ("foo-1.0.tar.xz", content(b"\xfd7zXZ\0garbage"), "truncated or damaged"),
    ("foo-1.0.zip", content(b"PK\5\6"), "truncated or damaged"),
    ("foo-1.0-py2.7.egg", content(b"no"), "truncated or damaged"),
    ("foo-1.0.win32-py2.7.exe", content(b"MZ"), "truncated or damaged"),
    ("foo-1.0.win32-py2.7.msi", content(b"MZ"), "not an MSI"),
]


@pytest.mark.parametrize(("name", "make", "reason"), HOSTILE)
def test_a_hostile_archive_is_refused_in_little_memory(
    tmp_path: Path, name: str, make: Callable[[Path], Path], reason: str
) -> None:
    """Bombs, liars and cripples get a reason, and never more memory than their bounds."""
    path = make(tmp_path / name)
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=reason):
            inspect(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 96 << 20


@pytest.mark.parametrize("suffix", [WHEEL, "foo-1.0.tar.gz"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    """A half-copied archive is never taken for a whole one, wherever the copying stands."""
    make = make_wheel if suffix == WHEEL else make_sdist
    whole = make(tmp_path, "foo", "1.0").read_bytes()
    path = tmp_path / suffix
    for length in range(0, len(whole), max(1, len(whole) // 200)):
        path.write_bytes(whole[:length])
        with pytest.raises(Refused):
            inspect(path)


@pytest.mark.parametrize("suffix", [WHEEL, "foo-1.0.tar.gz", "foo-1.0.zip", "foo-1.0.tar.xz"])
def test_flipped_bytes_never_do_more_than_get_refused(tmp_path: Path, suffix: str) -> None:
    """Whatever a damaged disk makes of an archive, reading it ends well or with a reason."""
    path = tmp_path / suffix
    if suffix == WHEEL:
        a_wheel(tmp_path)
    elif suffix.endswith(".zip"):
        a_zip(path, {"foo-1.0/PKG-INFO": METADATA})
    else:
        a_tar(path, {"foo-1.0/PKG-INFO": METADATA.encode()}, "w:" + suffix.rpartition(".")[2])
    whole = path.read_bytes()
    dice = random.Random(7)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            inspect(path)
        except Refused as error:
            assert str(error)
