"""The files of the receiving index, as known to the side that makes bundles: by a token, a receipt,
or a full list of digests."""

import json
import re
from pathlib import Path

from appliance.atomic import Batch
from appliance.bundle import receipts, tokens
from appliance.bundle.manifest import Manifest
from appliance.errors import PyindexError

_LINE = re.compile(r"([0-9a-f]{64}) [ *].+")
_FULL = "carry the output of `pyindex state --full` here, and pass its file"


def record(state: Path, manifest: Manifest) -> None:
    """Record the digests of a bundle durably, in ``<state>/bundles``."""
    digests = [file.sha256 for file in manifest.files]
    content = json.dumps({"id": manifest.id, "serial": manifest.serial, "sha256": digests})
    with Batch() as batch:
        batch.write(_directory(state) / f"{manifest.id}.json", content.encode())


def known_digests(state: Path, text: str) -> frozenset[str]:
    """Return the SHA-256 of files that an index has: ``text`` is its token, or the path of a
    receipt or of the output of ``pyindex state --full``. Raises :class:`PyindexError`."""
    path = Path(text)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, ValueError):
        return _of_token(state, text)
    if receipts.is_receipt(content):
        return frozenset(file.sha256 for file in receipts.read(path).files)
    return _of_list(path, content.decode("utf-8", "surrogateescape"))


def _of_token(state: Path, text: str) -> frozenset[str]:
    ids = tokens.parse(text)
    found = [digests for each in ids if (digests := _recorded(state, each)) is not None]
    if ids and not found:
        raise PyindexError(f"{text}: names no bundle that was made here; {_FULL}")
    return frozenset[str]().union(*found)


def _recorded(state: Path, beginning: str) -> list[str] | None:
    """Return the digests of the bundle whose id begins so; ``None`` if none was made here."""
    for path in _directory(state).glob(f"{beginning}*.json"):
        try:
            digests: list[str] = json.loads(path.read_bytes())["sha256"]
        except (ValueError, LookupError, TypeError):
            raise PyindexError(f"{path}: damaged; delete it, and {_FULL}") from None
        return digests
    return None


def _of_list(path: Path, text: str) -> frozenset[str]:
    """Return the digests in the output of ``pyindex state --full``."""
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise PyindexError(f"{path}:{number}: no line of `pyindex state --full`; {_FULL}")
        found.add(match[1])
    return frozenset(found)


def _directory(state: Path) -> Path:
    return state / "bundles"
