"""The format of wheels (PEP 427), written reproducibly."""

import base64
import hashlib
import zipfile
from pathlib import Path


def write(path: Path, contents: dict[str, bytes]) -> None:
    """Write a wheel with these members and their RECORD; the same members give the same bytes."""
    (info,) = {name.split("/")[0] for name in contents if ".dist-info/" in name}
    lines = [_record_line(name, content) for name, content in contents.items()]
    record = "".join([*lines, f"{info}/RECORD,,\n"])

    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (contents | {f"{info}/RECORD": record.encode()}).items():
            member = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            member.external_attr = 0o100644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)


def _record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"
