"""The files of a host as values: as rendered and copied to it, and as stored with a release."""

import dataclasses
import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from appliance import spec
from appliance.errors import PyindexError
from appliance.host.files import read, replace_private
from appliance.host.paths import HostPaths
from appliance.render import SETTINGS, HostFile

LIST = "files.json"
# For a damaged record. Without one, a play places all files and begins a new record.
REMEDY = "delete it and run the whole play"
_STORED, _STORED_BY_OLDER_PLAYS = "files.json", "settings.tar"
# Older plays did not record the part of a file.
_PARTS = (
    ("nginx", re.compile("/etc/nginx/|/etc/systemd/system/nginx[.]|/etc/pyindex/client/")),
    ("base", re.compile("/etc/(logrotate[.]d|tmpfiles[.]d|firewalld)/|/etc/pyindex/selinux[.]")),
)


def read_rendered(directory: Path) -> list[HostFile]:
    """The files that ``pyindex render --out`` wrote, with the list of ``--json`` as ``files.json``.

    Raises PyindexError if a file is not as listed, and SpecError if the spec among them is invalid.
    """
    listed = read_json(directory / LIST)
    if listed is None:
        raise PyindexError(f"{directory / LIST}: missing; run the whole play")
    files = [_read_listed(directory, entry) for entry in listed]
    spec.load(directory / f"{SETTINGS}/pyindex.yml".lstrip("/"))
    return files


def _read_listed(directory: Path, entry: dict[str, str]) -> HostFile:
    path = directory / entry["path"].lstrip("/")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise PyindexError(f"{path}: missing; run the whole play") from None
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise PyindexError(f"{path}: differs from {LIST}; run the whole play")

    mode = int(entry["mode"], 8)
    text = content.decode()
    return HostFile(entry["path"], text, entry["part"], mode, entry["owner"], entry["group"])


def store(release: Path, files: Iterable[HostFile]) -> None:
    """Store the files with their release, for a rollback to it."""
    entries = [dataclasses.asdict(file) for file in files]
    replace_private(release / _STORED, json.dumps(entries, indent=1).encode())


def stored(release: Path) -> list[HostFile]:
    """The files of a release as last applied. Raises PyindexError if none are stored."""
    entries = read_json(release / _STORED)
    if entries is not None:
        return [HostFile(**entry) for entry in entries]
    if (release / _STORED_BY_OLDER_PLAYS).exists():
        return list(_read_tar(release / _STORED_BY_OLDER_PLAYS))
    raise PyindexError(f"{release}: no files stored; run the play with the pyindex of this release")


def _read_tar(path: Path) -> Iterator[HostFile]:
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is None or member.name == "opt/pyindex/served":
                continue
            text = content.read().decode(errors="surrogateescape")
            name, mode = f"/{member.name}", member.mode & 0o7777
            yield HostFile(name, text, part_of(name), mode, member.uname, member.gname)


def read_placed(host: HostPaths, paths: Iterable[str]) -> list[HostFile]:
    """The files at ``paths`` as they are on the host, without those that are not there."""
    files = (read(host, path, part_of(path)) for path in paths)
    return [file for file in files if file is not None]


def part_of(path: str) -> str:
    """The part that a path of the host belongs to."""
    return next((part for part, pattern in _PARTS if pattern.match(path)), "service")


def digest(files: Iterable[HostFile], part: str) -> str:
    """The SHA-256 of the digests of a part's files. Older plays recorded the same digest."""
    digests = (_sha256(file.content) for file in files if file.part == part)
    return _sha256("".join(digests))


def socket_digest(files: Sequence[HostFile]) -> str:
    """The SHA-256 of pyindex.socket without its first line, which older releases changed with
    the spec; empty if there is no socket."""
    text = content_of(files, "/etc/systemd/system/pyindex.socket")
    return _sha256(text.partition("\n")[2].rstrip()) if text else ""


def manager(files: Sequence[HostFile]) -> str:
    """The program that runs the services: ``systemd`` or ``supervisor``."""
    has_unit = any(file.path == "/etc/systemd/system/pyindex.service" for file in files)
    return "systemd" if has_unit else "supervisor"


def content_of(files: Iterable[HostFile], path: str) -> str:
    """The content of the file at ``path``; empty if there is none."""
    return next((file.content for file in files if file.path == path), "")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def read_json(path: Path) -> Any:
    """The value of a JSON file, or None if it is missing. Raises PyindexError for a damaged one."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:  # of JSON, or of UTF-8
        raise PyindexError(f"{path}: not JSON ({error}); {REMEDY}") from None
