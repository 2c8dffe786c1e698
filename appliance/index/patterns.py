"""Patterns of project names, such as ``acme-*``."""

import re
from functools import lru_cache


def matches(patterns: tuple[str, ...], project: str) -> bool:
    """Return whether a normalized name (PEP 503) matches one of the patterns."""
    return bool(patterns) and _compiled(patterns).fullmatch(project) is not None


@lru_cache(maxsize=1024)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(each).replace(r"\*", ".*") for each in patterns))
