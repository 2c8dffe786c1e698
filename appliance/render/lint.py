"""Units for systemd 219, which starts a unit whatever it does not understand in it.

``systemd-analyze verify`` of a newer systemd does not know what 219 lacks; and 219 says so in its
log only, while the service runs as root and unconfined.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources

# Directives that it has, and values that it does not accept.
_REFUSED = (
    (r"Service\.Type", r"exec|notify-reload", "has no such type"),
    (r"Service\.ProtectSystem", r"strict", "has yes and full only"),
    (r"Service\.ProtectHome", r"tmpfs", "has yes and read-only only"),
    (r"\w+\.Standard(Output|Error)", r"(append|file|truncate):.*", "cannot write to a file"),
    (r"Service\.WorkingDirectory", r"[~-].*", "requires a plain path"),
    (r"\w+\.RuntimeDirectory", r".*/.*", "requires names without a slash"),
    (r"\w+\.Exec\w+", r"[-@]*[^-@/].*", "requires an absolute path, after - or @ at most"),
    (r"\w+\.(Memory|Tasks)\w+", r".*%", "has no percentages"),
)


def systemd_219(text: str) -> list[str]:
    """Return the directives of a unit without effect on systemd 219 of CentOS 7, by line."""
    return list(_complaints(text))


def _complaints(text: str) -> Iterator[str]:
    section = ""
    for number, line in _lines(text):
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
            continue

        name, equals, value = line.partition("=")
        directive = f"{section}.{name.strip()}"
        if not equals:
            yield f"line {number}: {line!r} is not a directive"
        elif directive not in _known():
            yield f"line {number}: {directive} is unknown to systemd 219, or without effect there"

        for names, values, why in _REFUSED:
            if re.fullmatch(names, directive) and re.fullmatch(values, value.strip()):
                yield f"line {number}: {directive}={value.strip()}: systemd 219 {why}"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is not empty or a comment; continued lines joined."""
    begun, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not begun and (not line.strip() or line.lstrip()[0] in "#;"):
            continue

        start = start if begun else number
        begun += line.strip()
        if line.endswith("\\"):
            begun = begun[:-1] + " "
        else:
            yield start, begun.strip()
            begun = ""

    if begun:
        yield start, begun.strip()


@cache
def _known() -> frozenset[str]:
    """Return ``Section.Directive`` names, with those that Red Hat backported, without those that
    it compiled out."""
    data = resources.files("appliance.render").joinpath("systemd-219.txt")
    return frozenset(data.read_text("utf-8").split())
