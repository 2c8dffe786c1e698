"""What comes of examining a file, and of offering it to an index."""

from dataclasses import dataclass

from appliance.index.model import File, Rejection


@dataclass(frozen=True, slots=True)
class Accepted:
    """A file that is fit for an index: whether it comes in is for the catalog to say."""

    file: File


@dataclass(frozen=True, slots=True)
class Changing:
    """Somebody is writing to the file at ``path``, or has put another in its place: it is to be
    examined again later."""

    path: str


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no file at ``path`` any more."""

    path: str


@dataclass(frozen=True, slots=True)
class MetadataRead:
    """The core metadata inside a file of which nothing else was asked, ``None`` if it has none."""

    metadata: bytes | None


@dataclass(frozen=True, slots=True)
class Pending:
    """The next outcome takes long: whoever waits can do something else meanwhile, or stop."""


Outcome = Accepted | Rejection | Changing | Gone
