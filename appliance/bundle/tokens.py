"""Tokens: one short line that says which bundles an index has in full, for a person to copy.

``pyindex1-ID-ID-CHECK``: the first 12 digits of the id of each bundle, newest first, and the first
4 digits of the SHA-256 of the text before. Only bundles whose files are all there are named, so
that a file which was removed is carried again.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence

from appliance.bundle.receipts import Receipt, of_index
from appliance.bundle.selection import all_files
from appliance.catalog.database import Catalog
from appliance.catalog.reader import Reader
from appliance.errors import PyindexError
from appliance.spec import Spec

PREFIX, NONE = "pyindex1", "none"
DIGITS = 12
_MOST = 6
_TOKEN = re.compile(rf"{PREFIX}((?:-[0-9a-f]{{{DIGITS}}})+|-{NONE})-([0-9a-f]{{4}})")


def token(spec: Spec, index: str) -> str:
    """Return the token of an index, less than 100 characters; that of an empty one before the first
    scan."""
    if not spec.catalog.exists():
        return make([])
    receipts = of_index(spec.state, index)
    with Catalog(spec.catalog).read() as reader:
        return make(_complete(reader, index, receipts))


def make(ids: Sequence[str]) -> str:
    """Return the token that names these bundles."""
    text = "-".join([PREFIX, *(each[:DIGITS] for each in ids)] if ids else [PREFIX, NONE])
    return f"{text}-{_check(text)}"


def parse(text: str) -> list[str]:
    """Return the beginnings of ids in a token. Raises :class:`PyindexError`."""
    match = _TOKEN.fullmatch(text.strip().lower())
    if match is None or _check(match[0][:-5]) != match[2]:
        raise PyindexError(
            f"{text}: no such file, and not a token; copy the line that `pyindex state` prints"
        )
    return [] if match[1] == f"-{NONE}" else match[1][1:].split("-")


def listed(spec: Spec, index: str) -> Iterator[str]:
    """Yield a line for each file of an index, as sha256sum prints it."""
    with Catalog(spec.catalog).read() as reader:
        for file in all_files(reader, index):
            yield f"{file.sha256}  {file.path}"


def _complete(reader: Reader, index: str, receipts: Sequence[Receipt]) -> list[str]:
    """Return the ids of bundles that the index has in full, newest first, without those whose
    files are all in newer ones."""
    present = {file.sha256 for file in all_files(reader, index)}
    ids: dict[str, None] = {}
    named = set[str]()
    for receipt in reversed(receipts):
        digests = {file.sha256 for file in receipt.files}
        if digests <= present and not digests <= named and len(ids) < _MOST:
            ids[receipt.bundle] = None
            named |= digests
    return list(ids)


def _check(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:4]
