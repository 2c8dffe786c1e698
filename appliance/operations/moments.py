"""Moments as operators write them: a time, or how long ago."""

import time
from datetime import datetime

from appliance.errors import PyindexError
from appliance.spec.forms import parse_duration

EXPECTED = "a time such as 2026-11-29 or 2026-11-29T20:15, or how long ago, such as 2h or 14d"


def parse_moment(text: str) -> int:
    """Return microseconds since the epoch. A time without a zone is local. Raises
    :class:`PyindexError` for other text."""
    try:
        return int((time.time() - parse_duration(text).total_seconds()) * 1_000_000)
    except ValueError:
        pass
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise PyindexError(f"expected {EXPECTED}, got {text!r}") from None
