"""Zip archives that every reader understands alike.

A zip describes each member twice, in its directory at the end and in a header before the data, and
what a reader sees depends on which it believes. An archive in which the two differ, or which has
room for something that only one kind of reader finds, is rejected. The rules are those of the
public index (warehouse, ``utils/zipfiles.py``, 2025) and of uv's reader (rs-async-zip 0.0.19 and
0.0.20), but for data descriptors and duplicates of equal bytes, which real wheels have and which
nobody reads in two ways. APPNOTE is PKWARE's description of the format.
"""

import io
import os
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import IO

from appliance.errors import Rejected

MIB = 1024 * 1024
MAX_DIRECTORY = 16 * MIB
MAX_MEMBERS = 200_000
_CHUNK = 1 * MIB

# APPNOTE 4.3.7, 4.3.14 to 4.3.16: a member's header; the end of the directory, and what stands
# before it in zip64, the record of the same in 64 bits and its locator.
_LOCAL = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL_SIZE = 46
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800
_FLAGS = _ENCRYPTED | _DESCRIPTOR | _UTF8
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
_IN_ZIP64 = 0xFFFFFFFF
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_CONTRADICTORY_ENDS = "zip64 end records that contradict each other"


def ambiguous(what: str) -> Rejected:
    return Rejected(f"ambiguous zip archive: {what}")


def damaged(what: str) -> Rejected:
    return Rejected(f"truncated or damaged archive: {what}")


def read(content: IO[bytes], thorough: bool, prefix: bool = False, tail: bool = False) -> "Zip":
    """Read the directory of ``content`` and compare it with the members.

    ``thorough`` inflates every member and compares its checksum; ``prefix`` and ``tail`` allow
    for something before and behind the archive, as programs have that carry one. Raises
    :class:`Rejected`, or what :mod:`zipfile` raises for a damaged archive.
    """
    view = _View(content)
    end = _find_end(view, tail)
    if end.length > MAX_DIRECTORY:
        raise Rejected(f"zip directory larger than {MAX_DIRECTORY // MIB} MiB")
    before = end.stop - end.length - end.start
    if before and not (prefix and before > 0):
        raise ambiguous("directory not at the offset in the end record")
    content.seek(0)
    archive = zipfile.ZipFile(content)
    if len(archive.infolist()) > MAX_MEMBERS:
        raise Rejected(f"more than {MAX_MEMBERS:,} members")
    return Zip(view, archive, _check_members(view, archive, end, prefix, thorough))


class Zip:
    """An archive whose directory can be believed, with its ``members`` and size in bytes."""

    def __init__(
        self,
        view: "_View",
        archive: zipfile.ZipFile,
        offsets: dict[str, tuple[int, zipfile.ZipInfo]],
    ) -> None:
        self.members, self.size = archive.infolist(), view.size
        self._view, self._archive, self._offsets = view, archive, offsets

    def read(self, name: str, most: int) -> bytes:
        """The content of the member ``name``, or its first ``most`` bytes and one."""
        offset, member = self._offsets[name]
        if member.compress_type != zipfile.ZIP_DEFLATED or member.file_size > most:
            with self._archive.open(member) as file:
                return file.read(most + 1)
        # As zipfile does it, in a quarter of the time.
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflater.decompress(self._view.bytes_at(offset, member.compress_size), most + 1)
        if (len(content), zlib.crc32(content)) != (member.file_size, member.CRC):
            raise _wrong_sum(member)
        return content


def _wrong_sum(member: zipfile.ZipInfo) -> Rejected:
    return damaged(f"checksum of {member.filename!r} does not match")


class _View:
    """Bytes of a file at any offset, without a copy of all of it."""

    def __init__(self, content: IO[bytes]) -> None:
        self.size = content.seek(0, os.SEEK_END)
        self._content = content
        self._memory = content.getvalue() if isinstance(content, io.BytesIO) else None

    def bytes_at(self, offset: int, length: int) -> bytes:
        """The bytes at ``offset``, fewer at the end of the file."""
        if self._memory is not None:
            return self._memory[offset : offset + length]
        self._content.seek(offset)
        return self._content.read(length)


# --- the end of the archive ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _End:
    """The directory of an archive, as its end record says: how many entries, how many bytes, the
    offset at which it starts, and the one at which it must stop."""

    entries: int
    length: int
    start: int
    stop: int


def _find_end(view: _View, tail: bool) -> _End:
    """The end record; rejected unless it is the only one that a reader could take for it."""
    start = max(0, view.size - _END64.size - _LOCATOR.size - _END.size - 0xFFFF)
    last = view.bytes_at(start, view.size - start)
    offset = last.rfind(b"PK\5\6")
    if offset < 0 or offset + _END.size > len(last):
        raise damaged("no zip directory at the end")
    *_, comment = _END.unpack_from(last, offset)
    if offset + _END.size + comment != len(last) and not tail:
        raise ambiguous("data after the end of the archive")

    # A reader that looks for a record whose comment ends where the file does finds only this one.
    other = last.find(b"PK\5\6")
    while other < offset:
        if len(last) == other + _END.size + int.from_bytes(last[other + 20 : other + 22], "little"):
            raise ambiguous("two end records")
        other = last.find(b"PK\5\6", other + 1)
    return _end_record(last, start, offset)


def _end_record(last: bytes, before: int, offset: int) -> _End:
    """The numbers of the end record at ``offset`` in ``last``, in front of which the file has
    ``before`` bytes; those of zip64 if there are any.

    Rejects zip64 whose records contradict each other: readers would see different files in it.
    """
    _, disk, first_disk, here, entries, length, start, _ = _END.unpack_from(last, offset)
    locator = offset - _LOCATOR.size
    if last[max(0, locator) : offset][:4] != b"PK\6\7":
        if disk or first_disk or here != entries:
            raise ambiguous("part of a multi-disk archive")
        return _End(entries, length, start, before + offset)

    record = locator - _END64.size
    if record < 0:
        raise Rejected(_CONTRADICTORY_ENDS)
    _, _, position, _ = _LOCATOR.unpack_from(last, locator)
    magic, *_, here64, entries64, length64, start64 = _END64.unpack_from(last, record)
    if (
        magic != b"PK\6\6"
        or not position == start64 + length64 == before + record
        or here64 != entries64
        or entries not in (entries64, 0xFFFF)
        or length not in (length64, _IN_ZIP64)
        or start not in (start64, _IN_ZIP64)
    ):
        raise Rejected(_CONTRADICTORY_ENDS)
    return _End(entries64, length64, start64, before + record)


# --- the members ---------------------------------------------------------------------------------


def _check_members(
    view: _View,
    archive: zipfile.ZipFile,
    end: _End,
    prefix: bool,
    thorough: bool,
) -> dict[str, tuple[int, zipfile.ZipInfo]]:
    """Check each member by itself, then how they lie; returns the offset of each one's data."""
    offsets: dict[str, tuple[int, zipfile.ZipInfo]] = {}
    spans: list[_Span] = []
    length = 0
    for member in archive.infolist():
        name = member.orig_filename.encode("utf-8" if member.flag_bits & _UTF8 else "cp437")
        length += _CENTRAL_SIZE + len(name) + len(member.extra) + len(member.comment)
        _check_name(member, name)
        data = _check_header(view, member, name)

        _, first = offsets.setdefault(member.filename, (data, member))
        if (first.CRC, first.file_size) != (member.CRC, member.file_size):
            raise ambiguous(f"two members named {member.filename!r} with different content")
        if thorough:
            _check_content(view, archive, member, data)
        spans.append((member.header_offset, data + member.compress_size, member))

    if (length, len(spans)) != (end.length, end.entries):
        raise ambiguous("length of the directory differs from the end record")
    _check_spans(view, spans, end, prefix)
    return offsets


def _check_name(member: zipfile.ZipInfo, name: bytes) -> None:
    if member.flag_bits & _ENCRYPTED:
        raise Rejected(f"encrypted member {member.filename!r}")
    if _CONTROL.search(name):
        raise ambiguous(f"control characters in the member name {member.orig_filename!r}")
    if member.extra:
        _check_extra(member, _fields(member.extra, member), name)


def _check_header(view: _View, member: zipfile.ZipInfo, name: bytes) -> int:
    """Compare the header before a member's data with the directory; returns where the data is."""
    offset = member.header_offset
    header = view.bytes_at(offset, _LOCAL.size + len(name))
    if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
        raise damaged(f"no member at the offset of {member.filename!r}")
    numbers = _LOCAL.unpack_from(header)
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = numbers
    if name_length != len(name) or header[_LOCAL.size :] != name:
        raise ambiguous(f"local header of {member.filename!r} has another name")
    if (flags ^ member.flag_bits) & _FLAGS or method != member.compress_type:
        raise ambiguous(f"local header of {member.filename!r} has other flags or compression")

    data: int = offset + _LOCAL.size + name_length + extra_length
    if extra_length:
        fields = _fields(view.bytes_at(data - extra_length, extra_length), member)
        _check_extra(member, fields, name)
        packed, size = _long_sizes(fields.get(_ZIP64, b""), packed, size, member)
    if not flags & _DESCRIPTOR and (crc, packed, size) != (
        member.CRC,
        member.compress_size,
        member.file_size,
    ):
        raise ambiguous(f"local header of {member.filename!r} has another size or checksum")
    return data


def _fields(extra: bytes, member: zipfile.ZipInfo) -> dict[int, bytes]:
    """A member's extra fields (APPNOTE 4.5.1) by their number."""
    fields: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(extra):  # fewer bytes are left by tools that align, and read by nobody
        number, length = struct.unpack_from("<HH", extra, offset)
        offset += 4 + length
        if offset > len(extra) or (number in fields and number in (_ZIP64, _UNICODE_PATH)):
            raise ambiguous(f"malformed extra fields of {member.filename!r}")
        fields[number] = extra[offset - length : offset]
    return fields


def _check_extra(member: zipfile.ZipInfo, fields: dict[int, bytes], name: bytes) -> None:
    """Reject a name in the extra fields (APPNOTE 4.6.9) that is not the name of the member."""
    path = fields.get(_UNICODE_PATH)
    if path is not None and path[5:] != name:
        raise ambiguous(f"second name of {member.filename!r} in its extra fields")


def _long_sizes(field: bytes, packed: int, size: int, member: zipfile.ZipInfo) -> tuple[int, int]:
    """The sizes in a header, which are in the zip64 field where it has no room (APPNOTE 4.5.3)."""
    try:
        if size == _IN_ZIP64:
            (size,), field = struct.unpack_from("<Q", field), field[8:]
        if packed == _IN_ZIP64:
            (packed,) = struct.unpack_from("<Q", field)
    except struct.error:
        raise ambiguous(f"malformed extra fields of {member.filename!r}") from None
    return packed, size


_Span = tuple[int, int, zipfile.ZipInfo]  # the offsets of a member's header and of its data's end


def _check_spans(view: _View, spans: list[_Span], end: _End, prefix: bool) -> None:
    """Reject members that overlap, and room between them that only some readers look into."""
    spans.sort(key=lambda span: span[:2])
    directory = end.stop - end.length
    if not prefix and (spans[0][0] if spans else directory) != 0:
        raise ambiguous("data before the first member")

    starts = [span[0] for span in spans] + [directory]
    for (_, stop, member), (_, start) in zip(spans, pairwise(starts), strict=True):
        if stop > start:
            raise ambiguous(f"{member.filename!r} overlaps the next member or the directory")
        if stop < start and not (
            _is_descriptor(view.bytes_at(stop, min(start - stop, 25)), member) or prefix
        ):
            raise ambiguous(f"unexpected data behind {member.filename!r}")
        if stop == start and member.flag_bits & _DESCRIPTOR:
            raise ambiguous(f"no data descriptor after {member.filename!r}")


def _is_descriptor(data: bytes, member: zipfile.ZipInfo) -> bool:
    """Whether ``data`` is the sizes that may stand behind a member (APPNOTE 4.3.9)."""
    if not member.flag_bits & _DESCRIPTOR:
        return False
    numbers = member.CRC, member.compress_size, member.file_size
    forms = ["<LQQ"] if max(numbers[1:]) >= _IN_ZIP64 else ["<LLL", "<LQQ"]
    return data.removeprefix(b"PK\7\10") in [struct.pack(form, *numbers) for form in forms]


def _check_content(
    view: _View, archive: zipfile.ZipFile, member: zipfile.ZipInfo, data: int
) -> None:
    """Read a member to its end, and compare its checksum."""
    if member.compress_type == zipfile.ZIP_DEFLATED:
        is_whole = _inflate(view, member, data)
    elif member.compress_type == zipfile.ZIP_STORED:
        is_whole = _read_stored(view, member, data)
    else:
        with archive.open(member) as file:  # compares it at the end
            while file.read(_CHUNK):
                pass
        is_whole = True
    if not is_whole:
        raise _wrong_sum(member)


def _read_stored(view: _View, member: zipfile.ZipInfo, data: int) -> bool:
    """Whether the data at an offset is as long as a member, and has its checksum."""
    crc, remaining = 0, member.compress_size
    while remaining > 0 and (piece := view.bytes_at(data, min(remaining, _CHUNK))):
        crc = zlib.crc32(piece, crc)
        data, remaining = data + len(piece), remaining - len(piece)
    return remaining == 0 and crc == member.CRC and member.compress_size == member.file_size


def _inflate(view: _View, member: zipfile.ZipInfo, data: int) -> bool:
    """The same of data that is deflated."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    crc, size, remaining, packed = 0, 0, member.compress_size, b""
    while not inflater.eof and size <= member.file_size:
        if not packed and remaining > 0:
            packed = view.bytes_at(data, min(remaining, _CHUNK))
            data, remaining = data + len(packed), remaining - len(packed)

        # One byte more than there should be: a bomb goes off no further than that.
        piece = inflater.decompress(packed, min(_CHUNK, member.file_size - size + 1))
        if not piece and not inflater.eof and not inflater.unconsumed_tail and not remaining:
            break
        packed = inflater.unconsumed_tail
        crc, size = zlib.crc32(piece, crc), size + len(piece)

    is_all = inflater.eof and not inflater.unused_data and remaining == 0
    return is_all and (crc, size) == (member.CRC, member.file_size)
