"""Outcomes of the examination of a file."""

from dataclasses import dataclass

from appliance.index.model import File, Rejection


@dataclass(frozen=True, slots=True)
class Accepted:
    """File that passed the examination; the catalog decides whether it is a duplicate."""

    file: File


@dataclass(frozen=True, slots=True)
class Changing:
    """File at ``path`` that changed during the examination; examine it again later."""

    path: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """File at ``path`` that does not exist any more."""

    path: str


@dataclass(frozen=True, slots=True)
class MetadataRead:
    """Core metadata inside a file, if nothing else was requested; ``None`` if it has none."""

    metadata: bytes | None


@dataclass(frozen=True, slots=True)
class Pending:
    """Sign that the next outcome takes long: the caller can do other work meanwhile, or stop."""


Outcome = Accepted | Rejection | Changing | Deleted
