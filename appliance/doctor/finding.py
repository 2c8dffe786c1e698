"""A finding about this machine."""

from dataclasses import dataclass
from typing import Literal

from appliance.text import printable

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about a ``subject``, such as pip or DNS. A problem keeps clients from
    installing, or lets them ask another host; its text says what to do. Texts are printable."""

    level: Level
    subject: str
    text: str


def ok(subject: str, text: str) -> Finding:
    return Finding("ok", subject, printable(text))


def warning(subject: str, text: str) -> Finding:
    return Finding("warning", subject, printable(text))


def problem(subject: str, text: str) -> Finding:
    return Finding("problem", subject, printable(text))
