"""Forms as upload clients send them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

BOUNDARY = "0f7e1b"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def fields_of(name: str, version: str, content: bytes, filetype: str) -> dict[str, str]:
    """Return the fields of a form for a file of a release."""
    return {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": name,
        "version": version,
        "filetype": filetype,
        "pyversion": "py3",
        "sha256_digest": hashlib.sha256(content).hexdigest(),
    }


def encode(
    fields: Mapping[str, str | bytes],
    filename: str | None = None,
    content: bytes = b"",
    newline: bytes = b"\r\n",
) -> bytes:
    """Return the body of a form, with the file as its last part."""
    parts = [
        _part(f'form-data; name="{name}"', value if isinstance(value, bytes) else value.encode())
        for name, value in fields.items()
    ]
    if filename is not None:
        parts.append(_part(f'form-data; name="content"; filename="{filename}"', content))
    boundary = b"--" + BOUNDARY.encode()
    lines = [line for part in parts for line in (boundary, *part)]
    return newline.join([*lines, boundary + b"--", b""])


def of_file(path: Path, name: str, version: str, /, **fields: str) -> bytes:
    """Return the body that uploads the file at ``path``, with other ``fields``."""
    content = path.read_bytes()
    filetype = "bdist_wheel" if path.suffix == ".whl" else "sdist"
    known = fields_of(name, version, content, filetype)
    return encode(known | fields, path.name, content)


def _part(disposition: str, value: bytes) -> tuple[bytes, bytes, bytes]:
    return b"Content-Disposition: " + disposition.encode(), b"", value
