"""What is read of a package file, and what is refused."""

import gzip
import hashlib
import io
import random
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from appliance.errors import Refused
from appliance.index import archive
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
    tar_member,
    wheel,
    wheel_members,
    whole,
    zip64,
)
from tests.dist import make_sdist, make_wheel


def inspect(path: Path) -> archive.Inspection:
    with path.open("rb") as file:
        return archive.inspect(file, path.name)


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
    with path.open("rb") as file:
        assert found.metadata == archive.read_metadata(file, path.name)


def test_a_large_file_has_the_same_digests(tmp_path: Path) -> None:
    """A file that is not held in memory is hashed all the same."""
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
def test_what_pip_reads_is_taken_in(tmp_path: Path, name: str, make: Make) -> None:
    """Rare forms are no faults, nor is what follows a whole archive."""
    path = tmp_path / name
    make(path)
    assert inspect(path).distribution.project == "foo"
    if name == WHEEL:
        with zipfile.ZipFile(path) as file:
            assert file.testzip() is None
    else:
        with tarfile.open(path) as tar:
            assert len(tar.getnames()) == 1


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_archive_is_refused_in_little_memory(
    tmp_path: Path, hostile: HostileFile
) -> None:
    """Bombs, liars and cripples get a reason, and never more memory than their bounds."""
    path = hostile.write(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refusal:
            inspect(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert hostile.reason in str(refusal.value)
    assert not isinstance(refusal.value, archive.Unexpected)
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
