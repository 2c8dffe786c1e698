"""A finding about this machine."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a ``subject``, such as pip or DNS. A problem keeps clients from
    installing, or lets them ask another host; its text says what to do."""

    level: Level
    subject: str
    text: str


def ok(subject: str, text: str) -> Finding:
    return Finding("ok", subject, text)


def warning(subject: str, text: str) -> Finding:
    return Finding("warning", subject, text)


def problem(subject: str, text: str) -> Finding:
    return Finding("problem", subject, text)
