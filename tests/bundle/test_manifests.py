"""Hostile manifests and members: each is refused as a whole, and nothing changes."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.bundle import manifest as manifests
from appliance.bundle import tar, volumes
from appliance.bundle.manifest import BundledStatus, Manifest
from tests.bundle.hostile import ONE, Saved, assemble, file, forged, refusal, sign
from tests.bundle.sides import KEY

# --- forged manifests -----------------------------------------------------------------------------


def _status(text: Any) -> BundledStatus:
    return BundledStatus.model_construct(status=text)


OUTSIDE = "path outside the packages directory"
CONTROLS = "path with control characters, a backslash, or bytes that are not UTF-8"
ENDINGS = ".whl, .tar.gz, .zip, .tgz, .tar.bz2, .tar.xz, .egg, .exe, .msi"
NO_PACKAGE = f"not a package file: expected a name ending in {ENDINGS}"
PATHS = {
    "/etc/p-1.0.tar.gz": OUTSIDE,
    "../p-1.0.tar.gz": OUTSIDE,
    "a/../../p-1.0.tar.gz": OUTSIDE,
    "a//p-1.0.tar.gz": OUTSIDE,
    "./p-1.0.tar.gz": OUTSIDE,
    "..": NO_PACKAGE,
    "a/": NO_PACKAGE,
    "a\\..\\p-1.0.tar.gz": CONTROLS,
    "a\n/p-1.0.tar.gz": CONTROLS,
    ".hidden/p-1.0.tar.gz": "in '.hidden', which is no directory of package files",
    "x.whl/p-1.0.tar.gz": "in 'x.whl', which is no directory of package files",
    "lost+found/p-1.0.tar.gz": "in 'lost+found', which is no directory of package files",
    ".p-1.0.tar.gz": "the file name has characters other than letters, digits and . _ + ! ~ -",
    "p 1.0.tar.gz": "the file name has characters other than letters, digits and . _ + ! ~ -",
    "passwd": NO_PACKAGE,
    "p-1.0.tar.gz.asc": NO_PACKAGE,
    "p.tar.gz": "the file name has no version: expected NAME-VERSION",
    "p-1.0.whl": "a wheel is named NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl (PEP 427)",
    f"{'p' * 250}-1.0.tar.gz": "the file name is longer than 220 characters",
}


@pytest.mark.parametrize("path", PATHS)
def test_path_that_leads_out_is_refused(saved: Saved, tmp_path: Path, path: str) -> None:
    """A path that no package file may have is refused, though the bundle is signed."""
    out = tmp_path / "x.tar"
    out.write_bytes(assemble(forged([file(path)]), b""))
    sign(out)
    assert refusal(saved, out, keys=[KEY]) == (
        f"x.tar: manifest.json: {path!a}: {PATHS[path]}; make the bundle again, or copy it again"
    )


AGAIN = "; make the bundle again, or copy it again"
FILES = "manifest.json: files.0."
MANIFESTS: list[tuple[str, Manifest, str]] = [
    (
        "duplicate path",
        forged([file(ONE), file(ONE)]),
        f"manifest.json: '{ONE}': not in the order of paths, or twice",
    ),
    (
        "wrong order",
        forged([file("b-1.0.tar.gz"), file(ONE)]),
        f"manifest.json: '{ONE}': not in the order of paths, or twice",
    ),
    (
        "same name at two paths",
        forged([file(f"x/{ONE}"), file(f"y/{ONE}")]),
        f"manifest.json: 'y/{ONE}': same name as 'x/{ONE}'",
    ),
    (
        "volume that does not exist",
        forged([file(ONE, volume=2)]),
        f"manifest.json: '{ONE}': in volume 2, after 0 of 1",
    ),
    (
        "negative size",
        forged([file(ONE, size=-1)]),
        f"{FILES}size: input should be greater than or equal to 0",
    ),
    (
        "huge size",
        forged([file(ONE, size=1 << 80)]),
        f"{FILES}size: input should be less than or equal to 9223372036854775807",
    ),
    (
        "digest that is none",
        forged([file(ONE, sha256="x" * 64)]),
        f"{FILES}sha256: string should match pattern '\\A[0-9a-f]{{64}}\\z'",
    ),
    (
        "time after the year 9999",
        forged([file(ONE, upload_time=manifests.LATEST + 1)]),
        f"{FILES}upload_time: input should be less than or equal to 253402300799000000",
    ),
    (
        "reason with an escape sequence",
        forged([file(ONE, yanked="\x1b[2J")]),
        f"manifest.json: '{ONE}': text with control characters",
    ),
    (
        "signature that is not base64",
        forged([file(ONE, signature="-")]),
        f"manifest.json: '{ONE}': signature not in base64",
    ),
    (
        "provenance that is not base64",
        forged([file(ONE, attested="-")]),
        f"manifest.json: '{ONE}': provenance not in base64",
    ),
    (
        "large provenance",
        forged([file(ONE, attested="A" * 1_500_000)]),
        f"manifest.json: '{ONE}': provenance larger than 1024 KiB",
    ),
    (
        "large signature",
        forged([file(ONE, signature="A" * 100_000)]),
        f"manifest.json: '{ONE}': signature larger than 64 KiB",
    ),
    (
        "project that is none",
        forged([], projects={"../x": {"status": "archived"}}),
        "manifest.json: '../x': not a normalized project name",
    ),
    (
        "status that does not exist",
        forged([], projects={"x": _status("owned")}),
        "manifest.json: projects.x.status: input should be 'archived', 'quarantined' or"
        " 'deprecated'",
    ),
]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(
    ("manifest", "message"), [each[1:] for each in MANIFESTS], ids=[each[0] for each in MANIFESTS]
)
def test_hostile_manifest_is_refused(
    saved: Saved, tmp_path: Path, manifest: Manifest, message: str
) -> None:
    """A manifest with a value that no index could have made is refused."""
    out = tmp_path / "x.tar"
    raw = manifests.dump(manifest)
    out.write_bytes(volumes.manifest_member(raw) + tar.END)
    assert refusal(saved, out) == f"x.tar: {message}{AGAIN}"


def texts() -> Iterator[tuple[str, bytes, str]]:
    good = manifests.dump(forged([]))
    value = json.loads(good)
    yield "nested", b"[" * 100_000, "manifest.json: not JSON"
    yield "NaN", good.replace(b'"time": 0', b'"time": NaN'), "manifest.json: time: input should be"
    yield "long number", good.replace(b'"time": 0', b'"time": ' + b"9" * 5000), "manifest.json: "
    yield "other spaces", json.dumps(value).encode(), "manifest.json: not in the canonical form"
    yield (
        "key twice",
        good.replace(b'"time": 0', b'"time": 0,\n "time": 0'),
        "manifest.json: not in",
    )
    yield "unknown key", _with(value, x=1), "manifest.json: x: extra inputs are not permitted"
    yield "other format", _with(value, format="x"), "not a bundle of pyindex: no manifest.json of"
    yield (
        "newer version",
        _with(value, version=2),
        "format 2, this pyindex reads 1; upgrade pyindex, or make the bundle with this version",
    )
    yield "list", b"[]", "not a bundle of pyindex: no manifest.json of one"


def _with(value: dict[str, Any], **others: Any) -> bytes:
    return json.dumps(value | others, sort_keys=True, indent=1).encode() + b"\n"


@pytest.mark.parametrize(
    ("raw", "message"), [each[1:] for each in texts()], ids=[each[0] for each in texts()]
)
def test_manifest_in_other_form_is_refused(
    saved: Saved, tmp_path: Path, raw: bytes, message: str
) -> None:
    """A manifest that is not byte for byte what pyindex writes is refused."""
    out = tmp_path / "x.tar"
    out.write_bytes(volumes.manifest_member(raw) + tar.END)
    assert refusal(saved, out).startswith(f"x.tar: {message}")


# --- members --------------------------------------------------------------------------------------


def member(name: str, kind: bytes, link: str = "", size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info.tobuf(tarfile.GNU_FORMAT)


MEMBERS = {
    "symbolic link": (member("packages/x", tarfile.SYMTYPE, "/etc/passwd"), "a symbolic link"),
    "hard link": (member("packages/x", tarfile.LNKTYPE, "/etc/passwd"), "a hard link"),
    "device": (member("packages/x", tarfile.CHRTYPE), "a device"),
    "FIFO": (member("packages/x", tarfile.FIFOTYPE), "a FIFO"),
    "directory": (member("packages/x", tarfile.DIRTYPE), "a directory"),
    "sparse file": (member("packages/x", tarfile.GNUTYPE_SPARSE), "a sparse file"),
    "other name": (member("packages/x", tarfile.REGTYPE), "the member"),
    "end": (bytes(512), None),
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_other_member_is_refused(saved: Saved, tmp_path: Path, kind: str) -> None:
    """A member that is not the regular file of the manifest is refused."""
    header, described = MEMBERS[kind]
    manifest = forged([file(ONE)])
    out = tmp_path / "x.tar"
    out.write_bytes(volumes.manifest_member(manifests.dump(manifest)) + header + tar.END)
    found = "the end of the archive" if described is None else f"{described} 'packages/x'"
    assert refusal(saved, out) == (
        f"x.tar: expected the member 'packages/{ONE}', found {found}, or with another header; copy"
        " it again"
    )
