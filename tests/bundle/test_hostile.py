"""Damaged, foreign and hostile bundles: each is refused as a whole, and nothing changes."""

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.bundle import manifest as manifests
from appliance.bundle import tar, volumes
from appliance.bundle.manifest import BundledFile, BundledStatus, Manifest
from appliance.bundle.minisign import SUFFIX, SecretKey, hasher
from appliance.errors import PyindexError
from tests.bundle.sides import KEY, OTHER, SECRET, Sides, seen, sides
from tests.dist import make_wheel
from tests.wholeness import digest

WHEEL = "p0-1.0-py2.py3-none-any.whl"


@dataclass(frozen=True)
class Saved:
    """The sides, and the state of the far index before a load."""

    both: Sides
    before: dict[str, object]
    pristine: bytes


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Sides whose bundle is signed. No test may change the far index, so that all share it."""
    both = sides(tmp_path_factory.mktemp("sides"))
    both.bundle("old.tar", key=SECRET)
    make_wheel(both.near.packages, "p0", "2.0")
    both.bundle(key=SECRET)
    return Saved(both, seen(both.far), both.out.read_bytes())


@pytest.fixture
def stick(saved: Saved, tmp_path: Path) -> Path:
    """Directory of this test, with a copy of the bundle and its signature."""
    shutil.copy2(saved.both.out, tmp_path)
    shutil.copy2(f"{saved.both.out}{SUFFIX}", tmp_path)
    return tmp_path


def refusal(saved: Saved, *paths: Path, **options: Any) -> str:
    """Load, which must change nothing, and return the error without the directory."""
    with pytest.raises(PyindexError) as error:
        saved.both.load(*paths, **options)
    assert seen(saved.both.far) == saved.before
    return str(error.value).replace(f"{paths[0].parent}/", "")


def sign(path: Path, secret: SecretKey = SECRET) -> None:
    """Sign a file, whatever is in it."""
    content = hasher()
    content.update(path.read_bytes())
    Path(f"{path}{SUFFIX}").write_bytes(secret.sign(content.digest(), "comment"))


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


# --- forged manifests -----------------------------------------------------------------------------


def forged(files: list[BundledFile], **others: Any) -> Manifest:
    values: dict[str, Any] = {"index": "main", "serial": 1 << 40, "time": 0, "volumes": 1}
    values["projects"] = {}
    return manifests.make(files=files, **values | others)


def file(path: str, content: bytes = b"", **others: Any) -> BundledFile:
    values: dict[str, Any] = {
        "sha256": digest(content),
        "size": len(content),
        "upload_time": 0,
        "volume": 1,
    }
    return BundledFile.model_construct(path=path, **values | others)


def _status(text: Any) -> BundledStatus:
    return BundledStatus.model_construct(status=text)


def assemble(manifest: Manifest, *contents: bytes, raw: bytes | None = None) -> bytes:
    """Return a bundle of this manifest, valid in all other respects."""
    raw = manifests.dump(manifest) if raw is None else raw
    members = [
        volumes.header_of(each) + tar.padded(content)
        for each, content in zip(manifest.files, contents, strict=True)
    ]
    return volumes.manifest_member(raw) + b"".join(members) + tar.END


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


ONE = "a-1.0.tar.gz"
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


# --- files that intake would reject ---------------------------------------------------------------


def wheel_of(name: str, directory: Path) -> bytes:
    return make_wheel(directory, name, "1.0").read_bytes()


def test_name_that_lies_is_refused(saved: Saved, tmp_path: Path) -> None:
    """A file whose name is not that of its content is refused, and so are all others."""
    lie, good = wheel_of("evil", tmp_path), wheel_of("good", tmp_path)
    name = "nice-1.0-py2.py3-none-any.whl"
    files = [file("good-1.0-py2.py3-none-any.whl", good), file(name, lie)]
    out = tmp_path / "x.tar"
    out.write_bytes(assemble(forged(files), good, lie))
    assert refusal(saved, out) == (
        f"x.tar: files would be rejected: {name}: .dist-info directory evil-1.0.dist-info is not"
        " that of nice 1.0"
    )


@pytest.mark.integration
def test_bomb_is_refused(saved: Saved, tmp_path: Path) -> None:
    """An archive that unpacks to far more than its size is refused."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        info = tarfile.TarInfo("a-1.0/zeros")
        info.size = 400 << 20
        archive.addfile(info, _Zeros())
    out = tmp_path / "x.tar"
    out.write_bytes(assemble(forged([file(ONE, content.getvalue())]), content.getvalue()))
    assert refusal(saved, out).startswith(f"x.tar: files would be rejected: {ONE}: ")


class _Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def test_sparse_file_that_does_not_fit_is_refused(saved: Saved, tmp_path: Path) -> None:
    """A bundle of few bytes on the disk that claims more than the disk has is refused at once."""
    size = 1 << 42
    manifest = forged([file(ONE, size=size)])
    head = volumes.manifest_member(manifests.dump(manifest)) + volumes.header_of(manifest.files[0])
    out = tmp_path / "x.tar"
    out.write_bytes(head)
    os.truncate(out, len(head) + size + len(tar.END))
    packages = saved.both.far.packages
    error = refusal(saved, out)
    assert re.fullmatch(
        rf"{packages}: only \d+ MB free, 4194305 MB required; free some disk space", error
    )


@pytest.mark.integration
@pytest.mark.parametrize("blocking", ["file", "directory", "broken link", "signature"])
def test_file_in_the_way_is_not_replaced(both: Sides, blocking: str) -> None:
    """Whatever is at the path of a new file or its signature stays, and the bundle is refused."""
    path = both.far.packages / "sub" / "q-1.0.tar.gz"
    path.parent.mkdir()
    if blocking == "file":
        path.write_bytes(b"no archive")
    elif blocking == "directory":
        path.mkdir()
    elif blocking == "broken link":
        path.symlink_to("nowhere")
    else:
        path.with_name(f"{path.name}.asc").write_text("orphan")
    both.far.once()
    both.bundle()
    before = seen(both.far)
    with pytest.raises(PyindexError) as error:
        both.load()
    assert str(error.value) == (
        "index main: files that it has not accepted are in the way: sub/q-1.0.tar.gz; see `pyindex"
        " status`, then remove them or load again"
    )
    assert seen(both.far) == before


def test_link_that_leads_out_is_not_followed(both: Sides) -> None:
    """Nothing is written through a symbolic link in the packages directory."""
    outside = both.stick / "outside"
    outside.mkdir()
    (both.far.packages / "sub").symlink_to(outside)
    both.far.once()
    both.bundle()
    before = seen(both.far)
    with pytest.raises(PyindexError) as error:
        both.load()
    assert str(error.value) == (
        f"{both.far.packages}/sub/q-1.0.tar.gz: symbolic link at sub; replace it with a directory"
    )
    assert seen(both.far) == before
    assert list(outside.iterdir()) == []


def test_other_content_under_same_name_is_refused(saved: Saved, tmp_path: Path) -> None:
    """A file that the index has with other content is a conflict that is named."""
    name = "own-1.0-py2.py3-none-any.whl"
    content = make_wheel(tmp_path, "own", "1.0", summary="other").read_bytes()
    out = tmp_path / "x.tar"
    out.write_bytes(assemble(forged([file(f"sub/{name}", content)]), content))
    assert refusal(saved, out) == (
        f"index main: has other content under the same names: sub/{name}; remove these files from"
        " the index, or bundle others"
    )


# --- signatures -----------------------------------------------------------------------------------


def test_unsigned_bundle_is_refused(saved: Saved, stick: Path) -> None:
    """Where a key is configured, a bundle without signature is refused."""
    (stick / "out.tar.minisig").unlink()
    assert refusal(saved, stick / "out.tar", keys=[KEY]) == (
        "out.tar: not signed, out.tar.minisig is missing, and keys are configured; sign the bundle,"
        " or pass --allow-unsigned"
    )


def test_directory_is_refused_with_key(saved: Saved) -> None:
    """Where a key is configured, a directory of files is refused."""
    packages = saved.both.near.packages
    assert refusal(saved, packages, keys=[KEY]) == (
        "packages: a directory has no signature, and keys are configured; load a signed bundle, or"
        " pass --allow-unsigned"
    )


def test_other_key_is_refused(saved: Saved, stick: Path) -> None:
    """A signature by a key that is not trusted is refused."""
    sign(stick / "out.tar", OTHER)
    assert refusal(saved, stick / "out.tar", keys=[KEY]) == (
        "out.tar: signed by key 0303030303030303; trusted: 0101010101010101"
    )


def test_forged_key_number_is_refused(saved: Saved, stick: Path) -> None:
    """A signature by another key with the number of a trusted one is refused."""
    sign(stick / "out.tar", SecretKey(SECRET.number, OTHER.seed))
    assert "not what key 0101010101010101 signed" in refusal(saved, stick / "out.tar", keys=[KEY])


def test_signature_of_other_bundle_is_refused(saved: Saved, stick: Path) -> None:
    """The signature of another bundle is refused."""
    shutil.copy2(saved.both.stick / "old.tar.minisig", stick / "out.tar.minisig")
    assert refusal(saved, stick / "out.tar", keys=[KEY]) == (
        "out.tar: not what key 0101010101010101 signed in out.tar.minisig; copy both again, or make"
        " the bundle again"
    )


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (rb".*", b"", "not a signature of minisign; sign the bundle again"),
        (rb"(trusted comment: pyindex) bundle", rb"\1 Bundle", "not what key"),
        (rb"\nRU", b"\nRW", "signature in the legacy format; sign again without -l"),
        (rb"\nRU", b"\n!!", "not a signature of minisign; sign the bundle again"),
        (rb"\Z", b"more", "not a signature of minisign; sign the bundle again"),
    ],
)
def test_changed_signature_is_refused(
    saved: Saved, stick: Path, pattern: bytes, replacement: bytes, message: str
) -> None:
    """A signature file that was changed anywhere but in the untrusted comment is refused."""
    path = stick / "out.tar.minisig"
    path.write_bytes(re.sub(pattern, replacement, path.read_bytes(), flags=re.S))
    assert f": {message}" in refusal(saved, stick / "out.tar", keys=[KEY])


def test_older_bundle_is_refused(both: Sides) -> None:
    """A signed bundle that is older than one that was loaded is refused, unless it is allowed or
    changes nothing; equal ones of other files are not."""
    both.bundle("old.tar", key=SECRET)
    make_wheel(both.near.packages, "p0", "2.0")
    (both.near.packages / "p1-1.0-py2.py3-none-any.whl").unlink()
    both.bundle(key=SECRET)
    serials = [
        manifests.parse(_manifest_of(both.stick / name)).serial for name in ("old.tar", "out.tar")
    ]
    both.load(keys=[KEY])
    before = seen(both.far)
    with pytest.raises(PyindexError) as error:
        both.load(both.stick / "old.tar", keys=[KEY])
    assert str(error.value) == (
        f"{both.stick}/old.tar: older than a bundle that was loaded: serial {serials[0]} of main,"
        f" loaded up to {serials[1]}; make a new bundle, or pass --allow-older"
    )
    assert seen(both.far) == before
    assert len(both.load(both.stick / "old.tar", keys=[KEY], allow_older=True).new) == 1
    assert both.load(both.stick / "old.tar", keys=[KEY]).new == []


def _manifest_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[512 : 512 + (tar.size_of(content) or 0)]


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
