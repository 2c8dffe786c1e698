"""Receipts: what each load brought, in ``<state>/receipts``. One can be carried back, for the next
bundle to leave out what is there (:mod:`since`)."""

import json
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance.bundle.manifest import BundledStatus, Manifest
from appliance.errors import PyindexError
from appliance.operations.stamps import unused

_MICROSECONDS = 1_000_000


class ReceivedFile(BaseModel):
    """A file of a bundle. ``is_new`` says whether the load brought it, or the index had it."""

    model_config = ConfigDict(frozen=True)

    path: str
    sha256: str
    is_new: bool
    yanked: str | None = None


class Receipt(BaseModel):
    """The record of a load.

    Attributes:
        bundle: The id of the bundle.
        index: The index that received it.
        origin: The index that it was made from; empty for a directory of files.
        serial: The serial of that index.
        key: The id of the key that signed it, or ``None``.
        time: The time of the load, in microseconds since the epoch.
        host: The name of the host.
        files: All files of the bundle, also those that it left out.
        projects: Their statuses other than active.
    """

    model_config = ConfigDict(frozen=True)

    format: str = "pyindex-receipt"
    bundle: str
    index: str
    origin: str
    serial: int
    key: str | None
    time: int
    host: str
    result: str = "loaded"
    files: Sequence[ReceivedFile]
    projects: Mapping[str, BundledStatus]

    def dump(self) -> str:
        return self.model_dump_json(indent=1) + "\n"


def directory(state: Path) -> Path:
    return state / "receipts"


def new_path(state: Path, bundle: str) -> Path:
    """Return an unused path for the receipt of a bundle."""
    return unused(lambda stamp: directory(state) / f"{stamp}-{bundle[:12]}.json")


def make(manifest: Manifest, index: str, key: str | None, new: frozenset[str]) -> Receipt:
    """Return the receipt of a bundle of which the paths ``new`` are new."""
    files = [
        ReceivedFile(
            path=each.path, sha256=each.sha256, is_new=each.path in new, yanked=each.yanked
        )
        for each in manifest.files
    ]

    return Receipt(
        bundle=manifest.id,
        index=index,
        origin=manifest.index,
        serial=manifest.serial,
        key=key,
        time=int(time.time() * _MICROSECONDS),
        host=socket.gethostname(),
        files=files,
        projects=manifest.projects,
    )


def read(path: Path) -> Receipt:
    """Return the receipt in a file. Raises :class:`PyindexError`."""
    try:
        receipt = Receipt.model_validate_json(path.read_bytes())
    except ValidationError:
        raise PyindexError(f"{path}: not a receipt; delete it, or restore it") from None
    return receipt


def paths(state: Path) -> list[Path]:
    """Return the paths of all receipts, oldest first."""
    return sorted(directory(state).glob("[0-9]*.json"))


def of_index(state: Path, index: str) -> list[Receipt]:
    """Return the receipts of an index, oldest first. Raises :class:`PyindexError`."""
    receipts = [read(path) for path in paths(state)]
    return sorted((each for each in receipts if each.index == index), key=lambda each: each.time)


def is_receipt(raw: bytes) -> bool:
    """Return whether the content of a file is meant to be a receipt."""
    try:
        value = json.loads(raw)
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("format") == "pyindex-receipt"


def listing(state: Path) -> list[dict[str, str | int]]:
    """Return a row for each receipt, oldest first: time (ISO 8601), host, index, bundle, numbers of
    files and of new ones, path. Raises :class:`PyindexError`."""
    return [_row(path, read(path)) for path in paths(state)]


def _row(path: Path, receipt: Receipt) -> dict[str, str | int]:
    time = datetime.fromtimestamp(receipt.time // _MICROSECONDS, UTC)
    return {
        "time": time.isoformat(),
        "host": receipt.host,
        "index": receipt.index,
        "bundle": receipt.bundle,
        "result": receipt.result,
        "files": len(receipt.files),
        "new": sum(file.is_new for file in receipt.files),
        "path": str(path),
    }
