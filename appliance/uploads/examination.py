"""Examination of uploaded files, in a process with limits that is kept for the next upload."""

import threading

from appliance.errors import PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.examine import examine_all
from appliance.incoming.outcomes import Accepted, Pending
from appliance.index.model import File, Rejection
from appliance.uploads.refused import Refused

# A start of the process takes longer than most examinations: small files wait for one another, and
# none waits for a large one.
_LARGE = 64 * 1024 * 1024
_small, _large = threading.Lock(), threading.Lock()


def examine(directory: PackagesDirectory, entry: Entry) -> tuple[File, bytes | None]:
    """Examine the file at ``entry``, as intake does; return it and its core metadata.

    Raises :class:`Refused` if it cannot be accepted, and :class:`PyindexError` if no process can be
    started.
    """
    kept: list[bytes | None] = []
    with (
        _large if entry.size >= _LARGE else _small,
        examine_all(directory, [entry], lambda _, metadata: kept.append(metadata)) as outcomes,
    ):
        outcome = next(each for each in outcomes if not isinstance(each, Pending))

    if isinstance(outcome, Accepted):
        return outcome.file, kept[0]
    if isinstance(outcome, Rejection):
        raise Refused(503 if outcome.retry else 400, f"{entry.path}: {outcome.reason}")
    raise PyindexError(f"{directory.root}: {entry.path} vanished or changed")
