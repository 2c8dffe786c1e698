"""Damaged and foreign files, and wrong volumes: each is refused as a whole, and nothing changes."""

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.bundle import manifest as manifests
from appliance.bundle import tar, volumes
from tests.bundle.hostile import Saved, refusal
from tests.bundle.sides import KEY
from tests.dist import make_wheel

# --- damage ---------------------------------------------------------------------------------------


def regions(saved: Saved) -> dict[str, int]:
    """Return an offset in each region of the bundle."""
    content = saved.pristine
    size = tar.size_of(content) or 0
    parsed = manifests.parse(content[512 : 512 + size])
    members, end = volumes.members(parsed, size)
    member = members[-1]
    return {
        "header of the manifest": 100,
        "magic of the manifest": 257,
        "manifest": 512 + size // 2,
        "id in the manifest": content.index(b'"id"') + 9,
        "padding of the manifest": 512 + size,
        "header of a file": member.start + 3,
        "mode of a file": member.start + 104,
        "pax header": next(m for m in members if len(m.header) > 512).start + 520,
        "content of a file": member.content + 100,
        "padding of a file": member.end,
        "end": end - 1,
    }


REGIONS = (
    *("header of the manifest", "magic of the manifest", "manifest", "id in the manifest"),
    *("padding of the manifest", "header of a file", "mode of a file", "pax header"),
    *("content of a file", "padding of a file", "end"),
)
SENTENCES = {
    "header of the manifest": "expected the member 'manifest.json', found no tar header; make the",
    "magic of the manifest": "expected the member 'manifest.json', found no tar header; make the",
    "manifest": "manifest.json: ",
    "id in the manifest": "manifest.json: does not have the digest ",
    "padding of the manifest": "expected the member 'manifest.json', found the member",
    "header of a file": "expected the member 'packages/sub/q-1.0.tar.gz', found no tar header",
    "mode of a file": "expected the member 'packages/sub/q-1.0.tar.gz', found no tar header",
    "pax header": "expected the member 'packages/ddd",
    "content of a file": "sub/q-1.0.tar.gz: not the content that the manifest has, with sha256",
    "padding of a file": "data after 'sub/q-1.0.tar.gz'; copy it again",
    "end": "data at its end; copy it again",
}


@pytest.mark.parametrize("region", REGIONS)
def test_changed_byte_is_refused(saved: Saved, stick: Path, region: str) -> None:
    """A changed byte anywhere is refused: without a key by the manifest, with one by the
    signature."""
    content = bytearray(saved.pristine)
    offset = regions(saved)[region]
    if region == "id in the manifest":  # it stays a hexadecimal digit
        content[offset] = ord("1") if content[offset] == ord("0") else ord("0")
    else:
        content[offset] ^= 1
    path = stick / "out.tar"
    path.write_bytes(content)
    error = refusal(saved, path)
    assert error.startswith(f"out.tar: {SENTENCES[region]}"), error
    assert refusal(saved, path, keys=[KEY]) == (
        "out.tar: not what key 0101010101010101 signed in out.tar.minisig; copy both again, or make"
        " the bundle again"
    )


@pytest.mark.parametrize("cut", ["nothing", "header", "manifest", "file", "end", "one byte"])
def test_truncated_bundle_is_refused(saved: Saved, stick: Path, cut: str) -> None:
    """A bundle that ends anywhere before its end is refused."""
    offsets = regions(saved)
    length = {
        "nothing": 0,
        "header": 512,
        "manifest": offsets["padding of the manifest"],
        "file": offsets["content of a file"],
        "end": len(saved.pristine) - 1024,
        "one byte": len(saved.pristine) - 1,
    }[cut]
    path = stick / "out.tar"
    path.write_bytes(saved.pristine[:length])
    expected = {
        "nothing": "out.tar: not a bundle of pyindex; pass the files of a bundle",
        "header": "out.tar: expected the member 'manifest.json', found the member 'manifest.json';"
        " make the bundle again, or copy it again",
    }
    expected["manifest"] = expected["header"]
    size = len(saved.pristine)
    truncated = f"out.tar: {length} bytes, its manifest says {size}: truncated; copy it again"
    assert refusal(saved, path) == expected.get(cut, truncated)


@pytest.mark.parametrize("tail", [b"x", bytes(512), b"PK\3\4" * 200])
def test_trailing_data_is_refused(saved: Saved, stick: Path, tail: bytes) -> None:
    """Data after the end is refused, zeros too."""
    path = stick / "out.tar"
    path.write_bytes(saved.pristine + tail)
    size = len(saved.pristine)
    assert refusal(saved, path) == (
        f"out.tar: {size + len(tail)} bytes, its manifest says {size}: with other data at its end;"
        " copy it again"
    )


# --- other files ----------------------------------------------------------------------------------


def foreign_tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("manifest.json"))
    return content.getvalue()


def sparse_manifest(path: Path) -> None:
    path.write_bytes(tar.header("manifest.json", 1 << 32))
    os.truncate(path, 1 << 32)


NOT_ONE = "x.tar: not a bundle of pyindex; pass the files of a bundle"
FOREIGN: list[tuple[str, Callable[[Path], object], str]] = [
    ("text", lambda path: path.write_text("text"), NOT_ONE),
    ("wheel", lambda path: make_wheel(path.parent, "x", "1.0").rename(path), NOT_ONE),
    ("sparse manifest", sparse_manifest, NOT_ONE),
    (
        "foreign tar",
        lambda path: path.write_bytes(foreign_tar()),
        "x.tar: manifest.json: not JSON; make the bundle again, or copy it again",
    ),
    ("FIFO", os.mkfifo, "x.tar: not a regular file; pass the files of a bundle"),
    ("nothing", lambda path: None, "x.tar: No such file or directory; pass the files of a bundle"),
    (
        "empty directory",
        lambda path: path.mkdir(),
        "x.tar: no package files in it; pass the files of a bundle",
    ),
]


@pytest.mark.parametrize(
    ("make", "message"), [each[1:] for each in FOREIGN], ids=[each[0] for each in FOREIGN]
)
def test_foreign_file_is_refused(
    saved: Saved, tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    """A file that is no bundle is refused, and a FIFO is not waited for."""
    make(tmp_path / "x.tar")
    assert refusal(saved, tmp_path / "x.tar") == message


# --- volumes --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut(saved: Saved) -> list[Path]:
    return saved.both.bundle("cut.tar", volume=8_000).paths


def test_missing_volume_is_refused(saved: Saved, cut: list[Path]) -> None:
    """Missing volumes are named."""
    count = len(cut)
    assert count > 2
    assert refusal(saved, *cut[:-1]) == (
        f"cut.tar.001: volume {count} of {count} missing; pass all volumes"
    )
    rest = ", ".join(map(str, range(2, count + 1)))
    assert refusal(saved, cut[0]) == (
        f"cut.tar.001: volumes {rest} of {count} missing; pass all volumes"
    )


def test_volume_of_other_bundle_is_refused(saved: Saved, cut: list[Path]) -> None:
    """A volume of another bundle, or of the same content cut otherwise, is refused."""
    other = saved.both.bundle("other.tar", volume=9_000).paths
    assert refusal(saved, cut[0], other[1]) == (
        "other.tar.002: of another bundle than cut.tar.001; pass the volumes of one bundle"
    )


def test_volume_twice_is_refused(saved: Saved, cut: list[Path]) -> None:
    """A volume that is passed twice is refused, also under another number in its name."""
    copy = cut[0].with_name("cut.tar.009")
    shutil.copy2(cut[0], copy)
    assert refusal(saved, *cut, copy) == (
        "cut.tar.009: volume 1, as cut.tar.001; pass each volume once"
    )
    copy.unlink()


def test_signatures_alone_are_refused(saved: Saved, stick: Path) -> None:
    """A signature is no bundle."""
    assert refusal(saved, stick / "out.tar.minisig") == (
        "out.tar.minisig: a signature; pass the files of a bundle"
    )
