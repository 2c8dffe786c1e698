"""Characters that no name, log line or page may carry."""

import re

CONTROLS = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
"""Control characters and what was not UTF-8 (surrogates), as a class of a regular expression."""

_LOGIN = re.compile(r"//[^/?#\s]*@")
_CONTROL = re.compile(f"[{CONTROLS}]")


def has_controls(text: str) -> bool:
    """Whether ``text`` has control characters, or bytes that were not UTF-8."""
    return _CONTROL.search(text) is not None


def without_login(text: str) -> str:
    """``text`` without the user and password in its URLs."""
    return _LOGIN.sub("//...@", text)


def counted(number: int, noun: str) -> str:
    """``number`` with ``noun`` in its form for that number: "1 file", "1,000 entries"."""
    if number != 1:
        ending = "es" if noun.endswith("ch") else "s"
        noun = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}{ending}"
    return f"{number:,} {noun}"


def printable(text: str) -> str:
    """``text`` with such characters as Python escapes."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
