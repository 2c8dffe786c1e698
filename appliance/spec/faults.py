"""Faults of a spec: the key, what is wrong with it, and the words for both."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

Key = tuple[str | int, ...]
"""A path into the document: names of keys and positions in lists."""


@dataclass(frozen=True)
class Fault:
    """One problem, in a sentence; at the line of its key unless it has its own."""

    key: Key
    text: str
    line: int | None = None


def dotted(key: Key) -> str:
    """A key in full, as in ``indexes.main.upload[1]``."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{_name(step)}" for step in key]
    return "".join(steps).removeprefix(".")


def _name(step: str) -> str:
    return step if re.fullmatch(r"[\w-]{1,80}", step) else quoted(step)


def quoted(value: object) -> str:
    """A value as an error shows it: on one line, short, without a URL's user and password."""
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(re.sub(r"//[^/]*@", "//...@", str(value)))
    return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"


def expected(expectation: str, value: object) -> str:
    """The sentence for a value that is not as expected."""
    return f"expected {expectation}, got {quoted(value)}"


def hint(word: str, known: Iterable[str]) -> str:
    """The known word that is nearest, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
