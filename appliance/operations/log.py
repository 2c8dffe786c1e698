"""The journal for operators: entries that a filter chooses, and new ones as they are made."""

import time
from collections.abc import Iterator

from appliance.catalog.database import Catalog
from appliance.catalog.journal import Filter
from appliance.index.model import Change
from appliance.spec import Spec

_BATCH = 1000
_POLL_SECONDS = 0.5
# Actions whose detail is the SHA-256 of the file.
_WITH_DIGEST = ("added", "replaced", "removed", "reread")


def entries(
    spec: Spec, chosen: Filter, last: int | None = None, follow: bool = False
) -> Iterator[Change]:
    """Yield the entries that a filter chooses, oldest first: the ``last`` ones, or all of them.
    With ``follow`` wait for further ones, without end."""
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        serial = reader.serial()
        first = reader.last_changes(chosen, last) if last is not None else []
    yield from first
    after = 0 if last is None else serial
    while True:
        with catalog.read() as reader:
            batch = reader.chosen_changes(chosen, after, _BATCH)
        yield from batch
        after = batch[-1].serial if batch else after
        if len(batch) < _BATCH:
            if not follow:
                return
            time.sleep(_POLL_SECONDS)


def digest(change: Change) -> str | None:
    """Return the SHA-256 of the file that an entry is about, if it has it."""
    return change.detail if change.action in _WITH_DIGEST else None
