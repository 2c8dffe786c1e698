"""Hostile files and signatures in bundles: each is refused as a whole, and nothing changes."""

import io
import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from appliance.bundle import manifest as manifests
from appliance.bundle import tar, volumes
from appliance.bundle.minisign import SecretKey
from appliance.errors import PyindexError
from tests.bundle.hostile import ONE, Saved, assemble, file, forged, refusal, sign
from tests.bundle.sides import KEY, OTHER, SECRET, Sides, seen
from tests.dist import make_wheel

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
        " the index, or leave them out"
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
