"""Core metadata of files of an upstream: beside the file, or read from it by ranges."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from appliance.upstream import RemoteFile, UpstreamError
from tests.attacks.files import zip_with
from tests.upstream.asking import metadata
from tests.upstream.faulty import Behavior, Faulty, status, whole

# --- core metadata -------------------------------------------------------------------------------

METADATA = b"Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"
DIGESTS = {"sha256": hashlib.sha256(METADATA).hexdigest()}
WHEEL = "foo-1.0-py3-none-any.whl"
MEMBER = "foo-1.0.dist-info/METADATA"


def wheel(faulty: Faulty, **fields: object) -> RemoteFile:
    return RemoteFile(WHEEL, f"{faulty.url}/f.whl", **fields)  # type: ignore[arg-type]


def large_wheel(count: int = 3000) -> bytes:
    """A wheel whose directory does not fit into the first request."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, METADATA * 2000)
        for number in range(count):
            archive.writestr(f"foo/{number:030}.py", b"")
    return content.getvalue()


def test_metadata_is_fetched_and_verified(faulty: Faulty, tmp_path: Path) -> None:
    """Metadata beside the file is verified, and never fetched again."""
    faulty.behaviors["/f.whl.metadata"] = whole(METADATA)
    file = wheel(faulty, has_metadata=True, metadata_hashes=DIGESTS)
    for _ in range(2):
        assert metadata(file, tmp_path) == METADATA
    assert faulty.paths() == ["/f.whl.metadata"]


def test_wrong_metadata_is_reported(faulty: Faulty) -> None:
    """Metadata with another digest is an error."""
    faulty.behaviors["/f.whl.metadata"] = whole(b"other")
    with pytest.raises(UpstreamError) as caught:
        metadata(wheel(faulty, has_metadata=True, metadata_hashes=DIGESTS))
    digest = hashlib.sha256(b"other").hexdigest()
    problem = f"sha256 is {digest}, expected {DIGESTS['sha256']}"
    assert str(caught.value) == (
        f"{faulty.url}/f.whl.metadata: {problem}; report it to the operator of the index"
    )


@pytest.mark.parametrize("count", [0, 10, 3000])
def test_metadata_is_read_by_ranges(faulty: Faulty, count: int) -> None:
    """Without metadata beside it, that of a wheel is read by few range requests."""
    content = large_wheel(count)
    faulty.behaviors["/f.whl"] = whole(content)
    assert metadata(wheel(faulty, has_metadata=True)) == METADATA * 2000
    assert faulty.counts()["/f.whl"] <= 3


def test_sdist_has_no_metadata_by_ranges(faulty: Faulty) -> None:
    """An sdist causes no request."""
    assert metadata(RemoteFile("foo-1.0.tar.gz", f"{faulty.url}/f")) is None
    assert faulty.requests == []


def bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, bytes(200_000))
    return content.getvalue()


def lying(content: bytes) -> bytes:
    """The directory states a small size of the member."""
    at = content.rindex(b"PK\1\2") + 24
    return content[:at] + (100).to_bytes(4, "little") + content[at + 4 :]


GOOD_WHEEL = zip_with((MEMBER, METADATA))
USELESS: dict[str, Behavior] = {
    "no ranges": lambda exchange: exchange.answer(GOOD_WHEEL),
    "404": status(404),
    "405": status(405),
    "416": status(416),
    "no zip": whole(b"x" * 1000),
    "empty": whole(b""),
    "truncated": whole(GOOD_WHEEL[:-30]),
    "two METADATA": whole(zip_with((MEMBER, METADATA), ("foo-2.dist-info/METADATA", METADATA))),
    "other project": whole(zip_with(("bar-1.0.dist-info/METADATA", METADATA))),
    "bomb": whole(bomb()),
    "lying bomb": whole(lying(bomb())),
    "bzip2": whole(zip_with((MEMBER, METADATA), method=zipfile.ZIP_BZIP2)),
    "other size": lambda exchange: exchange.answer(b"x", 206, Content_Range="bytes 0-9/10"),
    "huge directory": lambda exchange: exchange.answer(
        b"PK\5\6" + bytes(8) + b"\xff\xff\xff\x7f" + bytes(4) + bytes(2),
        206,
        Content_Range="bytes 4294967274-4294967295/4294967296",
    ),
}


@pytest.mark.parametrize("fault", USELESS)
def test_useless_wheel_has_no_metadata_by_ranges(faulty: Faulty, fault: str) -> None:
    """A server without ranges or a hostile archive gives None after few small requests."""
    faulty.behaviors["/f.whl"] = USELESS[fault]
    assert metadata(wheel(faulty)) is None
    assert len(faulty.requests) <= 6
