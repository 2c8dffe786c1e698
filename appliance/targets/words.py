"""Words of errors about targets."""

import difflib
from collections.abc import Iterable


class Unknown(ValueError):
    """Text that names no interpreter or platform; the message says which, and what to write."""


def hint(word: str, known: Iterable[str], otherwise: str) -> str:
    """The known word that is nearest to ``word``, or ``otherwise``."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise
