"""The error that a client gets for an upload."""

from appliance import atomic
from appliance.errors import PyindexError
from appliance.text import printable

_LONGEST = 400


_BY_STATUS = {
    400: "invalid",
    403: "forbidden",
    413: "too_large",
    500: "failed",
    503: "unavailable",
    507: "disk_full",
}
EXISTS = "exists"
REASONS = frozenset({*_BY_STATUS.values(), EXISTS})
"""Reasons of refusals other than rules of a policy."""


class Refused(PyindexError):
    """An upload is refused with the HTTP ``status``. The text is one line for the user of the
    client; clients show it from the status line or from the body. ``rule`` is that of the policy,
    or one of :data:`REASONS`, by default that of the status."""

    def __init__(self, status: int, text: str, rule: str | None = None) -> None:
        super().__init__(printable(text))
        self.status = status
        self.rule = rule or _BY_STATUS.get(status, "invalid")

    @property
    def reason(self) -> str:
        """The text as a reason phrase: Latin-1, of bounded length (RFC 9112, 4)."""
        return reason_phrase(str(self))


def reason_phrase(text: str) -> str:
    """Return a text without the characters that a status line cannot carry, and cut short."""
    text = printable(text).encode("latin-1", "replace").decode("latin-1")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def is_full(error: BaseException) -> bool:
    """Return whether an error says that a disk is full, or a quota is reached."""
    if isinstance(error, OSError):
        return atomic.is_full(error)
    return "free some disk space" in str(error)  # the advice of a CatalogError


def full_disk() -> Refused:
    """Return the error for an upload that the server's disk has no space for."""
    return Refused(507, "The disk of the server has no space for this file; ask its operator")
