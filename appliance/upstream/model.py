"""Projects and files of a remote index as values; they follow the simple API 1.4."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file on a project page.

    Attributes:
        filename: Its name; unchecked, so parse it before use.
        url: Its absolute URL, without fragment.
        hashes: Hex digests by algorithm, as the page states them.
        size: In bytes, if stated (PEP 700).
        requires_python: As stated (PEP 503).
        yanked: ``None``, or the reason, which may be empty (PEP 592).
        upload_time: In microseconds since the epoch, if stated (PEP 700).
        has_metadata: Whether ``<url>.metadata`` exists (PEP 658).
        metadata_hashes: Hex digests of that by algorithm.
        provenance: The URL of its provenance, if stated (PEP 740).
        index: The URL of the index that lists it.
    """

    filename: str
    url: str
    hashes: Mapping[str, str] = field(default_factory=dict, hash=False)
    size: int | None = None
    requires_python: str | None = None
    yanked: str | None = None
    upload_time: int | None = None
    has_metadata: bool = False
    metadata_hashes: Mapping[str, str] = field(default_factory=dict, hash=False)
    provenance: str | None = None
    index: str = ""

    @property
    def sha256(self) -> str | None:
        return self.hashes.get("sha256")


@dataclass(frozen=True, slots=True)
class RemoteIndex:
    """The project list of a remote index: its ``version`` of the simple API, and the ``names``,
    unchecked."""

    version: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoteProject:
    """A project of one or more remote indexes; ``status`` as in PEP 792."""

    name: str
    files: tuple[RemoteFile, ...] = ()
    status: str = "active"
