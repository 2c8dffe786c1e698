"""Bundles that are refused: a signed one to damage, and forged ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.bundle import manifest as manifests
from appliance.bundle import tar, volumes
from appliance.bundle.manifest import BundledFile, Manifest
from appliance.bundle.minisign import SUFFIX, SecretKey, hasher
from appliance.errors import PyindexError
from tests.bundle.sides import SECRET, Sides, seen
from tests.wholeness import digest

WHEEL = "p0-1.0-py2.py3-none-any.whl"


@dataclass(frozen=True)
class Saved:
    """The sides, and the state of the far index before a load."""

    both: Sides
    before: dict[str, object]
    pristine: bytes


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


def assemble(manifest: Manifest, *contents: bytes, raw: bytes | None = None) -> bytes:
    """Return a bundle of this manifest, valid in all other respects."""
    raw = manifests.dump(manifest) if raw is None else raw
    members = [
        volumes.header_of(each) + tar.padded(content)
        for each, content in zip(manifest.files, contents, strict=True)
    ]
    return volumes.manifest_member(raw) + b"".join(members) + tar.END


ONE = "a-1.0.tar.gz"
