"""Members of a tar archive, byte for byte: each header is a function of name, size and time of a
file, so that a reader compares it and interprets nothing.

The format is POSIX ustar, with a pax header for a name or size that does not fit (pax, IEEE Std
1003.1). Owner and mode are the same for all: uid 0, gid 0, 0644.
"""

import tarfile

BLOCK = 512
END = bytes(2 * BLOCK)
"""The end of an archive."""

_LONGEST_NAME = 100
_LARGEST = 0o77777777777
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a directory",
    b"6": "a FIFO",
    b"S": "a sparse file",
}


def header(name: str, size: int, seconds: int = 0) -> bytes:
    """Return the header of a regular file with its mtime, one block or, with pax, three or more."""
    encoded = name.encode()
    records = b""
    if len(encoded) > _LONGEST_NAME or not name.isascii():
        records += _record("path", name)
        encoded = name.encode("ascii", "replace")[:_LONGEST_NAME]
    if size > _LARGEST:
        records += _record("size", str(size))

    extended = b""
    if records:
        extended = _block(b"pax", len(records), 0, b"x") + padded(records)
    return extended + _block(encoded, min(size, _LARGEST), min(seconds, _LARGEST), b"0")


def size_of(block: bytes) -> int | None:
    """Return the size in a header of one block; ``None`` if it is not octal."""
    digits = block[124:135]
    return int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else None


def padding(size: int) -> int:
    """Return the number of zeros after a content of ``size`` bytes."""
    return -size % BLOCK


def padded(content: bytes) -> bytes:
    return content + bytes(padding(len(content)))


def describe(block: bytes) -> str:
    """Return what a header is about, for a message."""
    if not block.strip(b"\0"):
        return "the end of the archive"
    try:
        member = tarfile.TarInfo.frombuf(block[:BLOCK], "utf-8", "replace")
    except tarfile.HeaderError:
        return "no tar header"
    return f"{_KINDS.get(member.type, 'the member')} {member.name!a}"


def _block(name: bytes, size: int, seconds: int, kind: bytes) -> bytes:
    fields = (
        name.ljust(100, b"\0"),
        b"0000644\0" + 2 * b"0000000\0",
        b"%011o\0%011o\0" % (size, seconds),
        b" " * 8,
        kind.ljust(101, b"\0"),
        b"ustar\00000",
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: str, value: str) -> bytes:
    """Return a pax record; it begins with its own length in decimal."""
    rest = f" {key}={value}\n".encode()
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest
