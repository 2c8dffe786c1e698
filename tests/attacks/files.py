"""Files that an attacker, a damaged disk or an interrupted download may leave, with reasons.

Data alone: ``tests/incoming/test_archive.py`` examines each on its own, ``tests/attacks`` writes
each into the packages directory of a server.
"""

import gzip
import io
import itertools
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

WHEEL = "foo-1.0-py3-none-any.whl"
SDIST = "foo-1.0.tar.gz"
INFO = "foo-1.0.dist-info"
METADATA = "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"
DAMAGED = "truncated or damaged archive"
AMBIGUOUS = "ambiguous zip archive"
CONTRADICTION = "zip64 end records that contradict each other"

Make = Callable[[Path], object]


@dataclass(frozen=True)
class HostileFile:
    """File to reject: ``make`` writes it, and its reason contains ``reason``."""

    name: str
    filename: str
    make: Make
    reason: str

    def write(self, directory: Path) -> Path:
        path = directory / self.filename
        self.make(path)
        return path


# --- valid archives ------------------------------------------------------------------------------


def a_zip(
    path: Path, members: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def wheel_members(metadata: bytes | str = METADATA, info: str = INFO) -> dict[str, bytes | str]:
    return {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\n",
        f"{info}/RECORD": "",
    }


def a_wheel(path: Path, metadata: bytes | str = METADATA, **members: bytes | str) -> Path:
    """Write the wheel ``foo`` 1.0 into the directory ``path``."""
    return a_zip(path / WHEEL, {**wheel_members(metadata), **members})


def a_tar(path: Path, members: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return path


# --- contradictory archives ----------------------------------------------------------------------


def zip_with(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip whose members may have the same name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            file.NameToInfo.pop(name, None)  # avoids a warning
            file.writestr(info, content)
    return buffer.getvalue()


def whole(*more: tuple[str, bytes]) -> bytes:
    """Return the bytes of a valid wheel with ``more`` members in front."""
    texts = [(name, str(text).encode()) for name, text in wheel_members().items()]
    return zip_with(*more, *texts)


def content(data: bytes) -> Make:
    return lambda path: path.write_bytes(data)


def wheel(metadata: bytes | str = METADATA, info: str = INFO, **more: bytes | str) -> Make:
    return lambda path: a_zip(path, {**wheel_members(metadata, info), **more})


def wheel_with(name: str, text: bytes = b"") -> Make:
    return lambda path: a_zip(path, {**wheel_members(), name: text})


def wheel_without(name: str) -> Make:
    members = {key: text for key, text in wheel_members().items() if key != f"{INFO}/{name}"}
    return lambda path: a_zip(path, members)


def tar_member(name: str, text: bytes = b"") -> Make:
    return lambda path: a_tar(path, {name: text})


def truncated(make: Make) -> Make:
    def cut(path: Path) -> None:
        make(path)
        os.truncate(path, path.stat().st_size - 30)

    return cut


def followed(make: Make, data: bytes) -> Make:
    def append(path: Path) -> None:
        make(path)
        with path.open("ab") as file:
            file.write(data)

    return append


def changed(data: bytes, at: int, to: bytes) -> bytes:
    return data[:at] + to + data[at + len(to) :]


def shifted(before: bytes, data: bytes) -> bytes:
    """Return the zip ``data`` after ``before`` with adjusted offsets."""
    end = data.rindex(b"PK\5\6")
    (length, offset) = struct.unpack_from("<LL", data, end + 12)
    out = bytearray(before + data)
    struct.pack_into("<L", out, len(before) + end + 16, offset + len(before))
    position = len(before) + offset
    while position < len(before) + offset + length:
        (own,) = struct.unpack_from("<L", out, position + 42)
        struct.pack_into("<L", out, position + 42, own + len(before))
        position += 46 + sum(struct.unpack_from("<3H", out, position + 28))
    return bytes(out)


def local(data: bytes, name: str) -> int:
    """Return the offset of a member's local header."""
    return data.index(name.encode()) - 30


def central(data: bytes, name: str) -> int:
    """Return the offset of a member's entry in the zip directory."""
    return data.rindex(name.encode()) - 46


def huge_directory(path: Path) -> None:
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 1 << 30, 0, 0)
    path.write_bytes(b"x" * 100 + end)


def zip64(
    directory: bytes = b"",
    position: int = 0,
    length: int = 0,
    offset: int = 0,
    end_length: int = 0xFFFFFFFF,
) -> Make:
    """Write a wheel, or ``directory`` as a long zip directory, with zip64 end records.

    The numbers are added to the correct ones; ``end_length`` replaces the marker for the zip64
    record in the old end record (APPNOTE 4.4.1.4).
    """

    def make(path: Path) -> None:
        a_zip(path, wheel_members())
        before, end = path.read_bytes()[:-22], path.read_bytes()[-22:]
        *_, entries, size, start, _ = struct.unpack("<4s4H2LH", end)
        if directory:
            before, size, start = directory, len(directory), 0
        numbers = (entries, entries, size + length, start + offset)
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *numbers)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(before) + position, 1)
        markers = (0xFFFF, 0xFFFF, end_length, 0xFFFFFFFF)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *markers, 0)
        path.write_bytes(before + record + locator + end)

    return make


def hidden_end(path: Path) -> None:
    """Write an end record that contains another one, which a backward search finds first."""
    end = struct.pack("<4s4HL4sH", b"PK\5\6", 0, 0, 1, 1, 1 << 30, b"PK\5\6", 0)
    path.write_bytes(bytes(100) + end)


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in wheel_members().items():
            file.writestr(name, text)
        with file.open("zeros", "w") as member:
            for _ in range(200):
                member.write(bytes(1 << 20))


def tar_bomb(path: Path) -> None:
    entry = tarfile.TarInfo("foo-1.0/zeros")
    entry.size = 1 << 30
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(entry.tobuf())
        for _ in range(256):
            file.write(bytes(1 << 20))


def header_bomb(path: Path) -> None:
    entry = tarfile.TarInfo("pax")
    entry.type = tarfile.XHDTYPE
    entry.size = 1 << 33
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        for _ in range(100):
            file.write(bytes(1 << 20))


def understated_size(path: Path) -> None:
    """Write a zip whose METADATA is larger than its directory states."""
    a_zip(path, wheel_members(METADATA + "x" * 1000))
    data = path.read_bytes()
    path.write_bytes(changed(data, central(data, f"{INFO}/METADATA") + 24, struct.pack("<L", 10)))


def two_names(path: Path) -> None:
    """Write a member with another name in its local header than in the directory."""
    data = whole(("foo/good.py", b"good = 1\n"))
    path.write_bytes(changed(data, local(data, "foo/good.py") + 30, b"foo/evil.py"))


def second_name(path: Path) -> None:
    """Write a member with a Unicode name, which only new readers prefer (APPNOTE 4.6.9)."""
    other = b"foo/evil.py"
    field = struct.pack("<BL", 1, zlib.crc32(b"foo/good.py")) + other
    with zipfile.ZipFile(path, "w") as file:
        for name, text in wheel_members().items():
            file.writestr(name, text)
        info = zipfile.ZipInfo("foo/good.py")
        info.extra = struct.pack("<HH", 0x7075, len(field)) + field
        file.writestr(info, b"good = 1\n")


def two_sizes(path: Path) -> None:
    data = whole(("foo/good.py", b"good = 1\n"))
    path.write_bytes(changed(data, local(data, "foo/good.py") + 22, struct.pack("<L", 5)))


def two_methods(path: Path) -> None:
    data = whole(("foo/good.py", b"good = 1\n"))
    path.write_bytes(changed(data, local(data, "foo/good.py") + 8, struct.pack("<H", 0)))


def overlapping(path: Path) -> None:
    """Write a member within another one, of stored data so that both are valid."""
    inner = whole()
    data = bytearray(zip_with(("outer", inner), *_texts(), method=zipfile.ZIP_STORED))
    # The directory's second entry points into the first member's data.
    position = central(bytes(data), f"{INFO}/METADATA")
    inner_local = data.index(inner) + local(inner, f"{INFO}/METADATA")
    entry = zipfile.ZipFile(io.BytesIO(inner)).getinfo(f"{INFO}/METADATA")
    struct.pack_into("<H", data, position + 10, entry.compress_type)
    struct.pack_into("<3L", data, position + 16, entry.CRC, entry.compress_size, entry.file_size)
    struct.pack_into("<L", data, position + 42, inner_local)
    path.write_bytes(data)


def _texts() -> list[tuple[str, bytes]]:
    return [(name, str(text).encode()) for name, text in wheel_members().items()]


def unlisted(path: Path) -> None:
    """Write a member that is missing from the directory, so that only forward readers see it."""
    hidden = zip_with(("foo/evil.py", b"evil = 1\n"))
    path.write_bytes(shifted(hidden[: hidden.index(b"PK\1\2")], whole()))


def gap(path: Path) -> None:
    """Write a gap between the last member and the directory."""
    data = whole()
    start = data.index(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    grown = data[:start] + b"x" * 40 + data[start:]
    path.write_bytes(changed(grown, end + 40 + 16, struct.pack("<L", start + 40)))


def miscounted(path: Path) -> None:
    data = whole()
    end = data.rindex(b"PK\5\6")
    path.write_bytes(changed(data, end + 8, struct.pack("<2H", 2, 2)))


def two_ends(path: Path) -> None:
    """Write an end record whose comment is another wheel."""
    data = whole()
    second = shifted(data, whole(("foo/evil.py", b"evil = 1\n")))
    path.write_bytes(changed(second, len(data) - 2, struct.pack("<H", len(second) - len(data))))


def joined(path: Path) -> None:
    path.write_bytes(whole(("foo/evil.py", b"evil = 1\n")) + whole())


def preallocated(hole: int, mtime: float | None = None) -> Make:
    """Write an interrupted download with ``hole`` missing bytes in the middle, as aria2 does."""

    def make(path: Path) -> None:
        noise = b"".join(zlib.compress(bytes([n])) for n in range(256)) * 40
        data = zip_with(("foo/big.bin", noise), *_texts(), method=zipfile.ZIP_STORED)
        path.write_bytes(changed(data, 60, bytes(hole)))
        if mtime is not None:
            os.utime(path, (mtime, mtime))

    return make


def headless(path: Path) -> None:
    """Write an interrupted download whose missing part contains the start of a member."""
    data = whole(("foo/good.py", b"good = 1\n"))
    path.write_bytes(bytes(40) + data[40:])


def rotten(path: Path) -> None:
    """Change one byte of a member, as a bad disk does."""
    data = zip_with(("foo/good.py", b"good = 1\n"), *_texts(), method=zipfile.ZIP_STORED)
    path.write_bytes(changed(data, data.index(b"good = 1"), b"evil"))


# --- tars ----------------------------------------------------------------------------------------


def _tar(path: Path, blocks: bytes) -> None:
    path.write_bytes(gzip.compress(blocks + bytes(1024)))


def _header(name: str, kind: bytes, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def gnu_sparse(path: Path) -> None:
    """Write 65 compressed bytes for which tarfile raises IndexError."""
    header = bytearray(_header("foo-1.0/x", tarfile.GNUTYPE_SPARSE, 0))
    header[482] = 1  # announces more headers, which are missing
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:512]) + 256)
    path.write_bytes(gzip.compress(bytes(header)))


def sparse(path: Path) -> None:
    records = _pax(
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "foo-1.0/x"}
    )
    blocks = _header("pax", tarfile.XHDTYPE, len(records)) + _padded(records)
    body = _padded(b"1\n0\n0\n")
    _tar(path, blocks + _header("foo-1.0/x", tarfile.REGTYPE, len(body)) + body)


def pax_sparse(map_: str) -> Make:
    def make(path: Path) -> None:
        records = _pax({"GNU.sparse.map": map_, "GNU.sparse.size": "1"})
        blocks = _header("pax", tarfile.XHDTYPE, len(records)) + _padded(records)
        _tar(path, blocks + _header("foo-1.0/x", tarfile.REGTYPE, 0))

    return make


def _pax(records: Mapping[str, str]) -> bytes:
    lines = []
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length += 1
        lines.append(str(length).encode() + rest)
    return b"".join(lines)


def pax_digits(path: Path) -> None:
    """Write the header that takes the regular expression of CVE-2024-6232 quadratic time."""
    records = b"1" * 65_000
    blocks = _header("pax", tarfile.XHDTYPE, len(records)) + _padded(records)
    _tar(path, blocks + _header("foo-1.0/x", tarfile.REGTYPE, 0))


def large_pax(path: Path) -> None:
    records = _pax({"comment": "x" * 9_000_000})
    blocks = _header("pax", tarfile.XHDTYPE, len(records)) + _padded(records)
    _tar(path, blocks + _header("foo-1.0/x", tarfile.REGTYPE, 0))


def long_name(path: Path) -> None:
    name = b"foo-1.0/" + b"x" * 1_000_000
    blocks = _header("././@LongLink", tarfile.GNUTYPE_LONGNAME, len(name)) + _padded(name)
    _tar(path, blocks + _header("foo-1.0/x", tarfile.REGTYPE, 0))


def global_pax(keywords: int, value: str, members: int) -> Make:
    """Write records for all members, which tarfile applies to each."""

    def make(path: Path) -> None:
        records = _pax({f"k{number}": value for number in range(keywords)})
        blocks = _header("pax", tarfile.XGLTYPE, len(records)) + _padded(records)
        _tar(path, blocks + _header("foo-1.0/x", tarfile.REGTYPE, 0) * members)

    return make


def pax_chain(path: Path) -> None:
    """Write headers of headers, for each of which tarfile calls itself."""
    records = _padded(_pax({"comment": "x"}))
    _tar(path, (_header("pax", tarfile.XHDTYPE, 14) + records) * 2000)


def many_members(path: Path) -> None:
    block = _header("foo-1.0/x", tarfile.REGTYPE, 0)
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(210):
            file.write(block * 1000)
        file.write(os.urandom(1 << 21))  # otherwise the check for bombs rejects it first


def two_pkg_infos(path: Path) -> None:
    with tarfile.open(path, "w:gz") as file:
        for version in ("1.0", "2.0"):
            text = METADATA.replace("1.0", version).encode()
            entry = tarfile.TarInfo("foo-1.0/PKG-INFO")
            entry.size = len(text)
            file.addfile(entry, io.BytesIO(text))


# --- metadata ------------------------------------------------------------------------------------


def fields(count: int, line: str = "Classifier: x") -> str:
    return METADATA + f"{line}\n" * count


def different_fields(count: int) -> str:
    return METADATA + "".join(f"X-{number}: x\n" for number in range(count))


def pkg_info(text: str) -> bytes:
    return text.encode()


_COUNT = itertools.count(1)


def _file(filename: str, make: Make, reason: str) -> HostileFile:
    return HostileFile(f"{next(_COUNT)}: {reason}", filename, make, reason)


HOSTILE = [
    # Not an archive.
    _file(WHEEL, content(b""), DAMAGED),
    _file(WHEEL, content(b"<html>404</html>"), DAMAGED),
    _file(WHEEL, truncated(wheel()), DAMAGED),
    _file(SDIST, content(b""), DAMAGED),
    _file(SDIST, content(b"PK\3\4"), DAMAGED),
    _file(SDIST, truncated(tar_member("foo-1.0/setup.py")), DAMAGED),
    _file("foo-1.0.tar.bz2", content(b"BZh9garbage"), DAMAGED),
    _file("foo-1.0.tar.xz", content(b"\xfd7zXZ\0garbage"), DAMAGED),
    _file("foo-1.0.zip", content(b"PK\5\6"), DAMAGED),
    _file("foo-1.0-py2.7.egg", content(b"no"), DAMAGED),
    _file("foo-1.0.win32-py2.7.exe", content(b"MZ"), DAMAGED),
    _file("foo-1.0.win32-py2.7.msi", content(b"MZ"), "not an MSI"),
    # The end of a zip.
    _file(WHEEL, huge_directory, "zip directory larger than 16 MiB"),
    _file(WHEEL, hidden_end, DAMAGED),
    _file(WHEEL, zip64(bytes(17 << 20)), "zip directory larger than 16 MiB"),
    _file(WHEEL, zip64(bytes(17 << 20), end_length=100), CONTRADICTION),
    _file(WHEEL, zip64(end_length=100), CONTRADICTION),
    _file(WHEEL, zip64(position=1 << 40), CONTRADICTION),
    _file(WHEEL, zip64(position=-1), CONTRADICTION),
    _file(WHEEL, zip64(length=1), CONTRADICTION),
    _file(WHEEL, zip64(length=1 << 40, position=1 << 40), CONTRADICTION),
    _file(WHEEL, zip64(length=-10, offset=10), DAMAGED),
    _file(WHEEL, content(b"PK\6\7" + bytes(16) + b"PK\5\6" + bytes(18)), CONTRADICTION),
    _file(WHEEL, followed(wheel(), b"GARBAGE"), f"{AMBIGUOUS}: data after the end"),
    _file(WHEEL, two_ends, f"{AMBIGUOUS}: two end records"),
    _file(WHEEL, joined, f"{AMBIGUOUS}: directory not at the offset in the end record"),
    _file(WHEEL, miscounted, f"{AMBIGUOUS}: length of the directory differs"),
    # Members with contradictory headers.
    _file(WHEEL, two_names, "local header of 'foo/good.py' has another name"),
    _file("foo-1.0.zip", two_names, "local header of 'foo/good.py' has another name"),
    _file(WHEEL, second_name, "second name of 'foo/good.py' in its extra fields"),
    _file(WHEEL, two_sizes, "local header of 'foo/good.py' has another size or checksum"),
    _file(WHEEL, two_methods, "local header of 'foo/good.py' has other flags or compression"),
    _file(WHEEL, overlapping, "overlaps the next member or the directory"),
    _file(WHEEL, unlisted, f"{AMBIGUOUS}: data before the first member"),
    _file(WHEEL, gap, f"unexpected data behind '{INFO}/RECORD'"),
    _file(
        WHEEL,
        content(whole(("foo.py", b"good = 1\n"), ("foo.py", b"evil = 1\n"))),
        f"{AMBIGUOUS}: two members named 'foo.py' with different content",
    ),
    _file(WHEEL, wheel_with("foo\n.py"), "control characters in the member name"),
    # Interrupted downloads, and bad disks.
    _file(WHEEL, preallocated(4000), f"{DAMAGED}: checksum of 'foo/big.bin'"),
    _file(WHEEL, preallocated(4000, mtime=1e9), "checksum of 'foo/big.bin' does not match"),
    _file(WHEEL, headless, f"{DAMAGED}: no member at the offset of"),
    _file(WHEEL, rotten, f"{DAMAGED}: checksum of 'foo/good.py'"),
    # Not a wheel.
    _file(WHEEL, lambda path: a_zip(path, {"foo.py": b""}), "without a .dist-info/METADATA"),
    _file(WHEEL, wheel_without("METADATA"), "without a .dist-info/METADATA"),
    _file(WHEEL, wheel_without("WHEEL"), "without a .dist-info/WHEEL"),
    _file(WHEEL, wheel_without("RECORD"), "without a .dist-info/RECORD"),
    _file(WHEEL, wheel_with("bar-1.dist-info/METADATA"), "more than one .dist-info directory"),
    _file(WHEEL, wheel_with("foo-1.0.DIST-INFO/x"), "more than one .dist-info directory"),
    _file(WHEEL, wheel_with(f"{INFO}/Metadata"), "Metadata' is read as METADATA"),
    _file(WHEEL, wheel_with(f"{INFO}/record"), "record' is read as RECORD"),
    _file(WHEEL, wheel_with(f"{INFO}\\METADATA"), "METADATA' is read as METADATA"),
    _file(WHEEL, wheel_with(f"{INFO}//METADATA"), "is unpacked under another name"),
    _file(WHEEL, wheel_with(f"{INFO}/./RECORD"), "is unpacked under another name"),
    _file(WHEEL, wheel_with("./foo.py"), "is unpacked under another name"),
    _file(WHEEL, wheel(info="bar-1.0.dist-info"), "is not that of foo 1.0"),
    _file(WHEEL, wheel(info="foo-2.0.dist-info"), "is not that of foo 1.0"),
    _file(WHEEL, wheel(info="foo-1.0.Dist-Info"), "is not that of foo 1.0"),
    # Paths.
    _file(WHEEL, wheel_with("/etc/passwd"), "outside the target directory"),
    _file(WHEEL, wheel_with("a/../../x"), "outside the target directory"),
    _file(WHEEL, wheel_with("..\\x"), "outside the target directory"),
    _file(WHEEL, wheel_with("a/../.."), "outside the target directory"),
    _file(WHEEL, wheel_with("a/../x"), "'a/../x' has .. in its path"),
    _file(SDIST, tar_member("/etc/passwd"), "outside the target directory"),
    _file(SDIST, tar_member("foo-1.0/../../x"), "outside the target directory"),
    _file(SDIST, tar_member("foo-1.0/tests/../x"), "has .. in its path"),
    # Bombs.
    _file(WHEEL, zip_bomb, "unpacks to more than"),
    _file(WHEEL, understated_size, "has another size or checksum"),
    _file(SDIST, tar_bomb, "unpacks to more than"),
    _file(SDIST, header_bomb, "tar header larger than"),
    # Tar headers.
    _file(SDIST, gnu_sparse, f"{DAMAGED}: unreadable tar header"),
    _file(SDIST, sparse, "sparse member"),
    _file(SDIST, pax_sparse("1,2,x"), DAMAGED),
    _file(SDIST, pax_digits, "a number of more than 128 digits"),
    _file(SDIST, large_pax, "tar header larger than 64 KiB"),
    _file(SDIST, long_name, "tar header larger than 64 KiB"),
    _file(SDIST, global_pax(4000, "x", 20_000), "global tar header"),
    _file(SDIST, global_pax(10, "x" * 1000, 20_000), "global tar header"),
    _file(SDIST, pax_chain, "tar header larger than 64 KiB"),
    _file(SDIST, many_members, "more than 200,000 members"),
    _file(SDIST, two_pkg_infos, "more than one metadata file"),
    # Metadata.
    _file(WHEEL, wheel("Name: bar\nVersion: 1.0\n"), "METADATA says bar 1.0"),
    _file(WHEEL, wheel("Name: foo\nVersion: 2.0\n"), "METADATA says foo 2.0"),
    _file(WHEEL, wheel(b"\0\xff\xfe"), "METADATA has no Name"),
    _file(WHEEL, wheel(b"\xef\xbb\xbf" + METADATA.encode()), "begins with a byte order mark"),
    _file(WHEEL, wheel("Name: foo\n"), "METADATA has no Version"),
    _file(WHEEL, wheel(METADATA + "Summary: a\x1b[31mb\n"), "control characters"),
    _file(WHEEL, wheel(METADATA + "Requires-Python: \x00\n"), "control characters"),
    _file(WHEEL, wheel(METADATA + "\n" + "x" * (100 << 20)), "unpacks to more"),
    _file(WHEEL, wheel(METADATA + "\n" + "x" * (9 << 20)), "larger than 8 MiB"),
    _file(WHEEL, wheel(fields(1_000_000, "A: b")), "more than 1 MiB of fields"),
    _file(WHEEL, wheel(fields(25_000)), "more than 20,000 lines of fields"),
    _file(WHEEL, wheel(different_fields(200)), "more than 100 different fields"),
    _file(
        WHEEL,
        wheel(METADATA + "Requires-Python: >=3" + ",>=3" * 100_000),
        "the field Requires-Python of its METADATA is longer than 256 characters",
    ),
    _file(
        WHEEL,
        wheel(METADATA + "Summary: " + "x" * 100_000),
        "the field Summary of its METADATA is longer than 65,536 characters",
    ),
    _file(
        "evilname-1.0.tar.gz",
        tar_member("evilname-1.0/PKG-INFO", pkg_info(METADATA)),
        "PKG-INFO says foo, the file name evilname 1.0",
    ),
    _file(
        "evilname-1.0-py2.7.egg",
        lambda path: a_zip(path, {"EGG-INFO/PKG-INFO": METADATA}),
        "PKG-INFO says foo, the file name evilname 1.0",
    ),
]
