"""Projects, files, changes and decisions as values; they follow the simple API 1.4."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from appliance.index.names import PROVENANCE, SIGNATURE
from appliance.index.versions import normalize_version, version_key

STATUSES = ("active", "archived", "quarantined", "deprecated")  # PEP 792


class Stat(NamedTuple):
    """Identity of an examined file: size in bytes, mtime in nanoseconds, and inode."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class File:
    """One distribution file.

    ``path`` is relative to the packages directory, with ``/``; ``upload_time`` and the mtime are
    whole microseconds and nanoseconds since the epoch; the digests are hex; ``core_metadata`` is
    the sha256 of the published ``.metadata`` file, ``None`` if there is none; ``signature`` and
    ``provenance`` (PEP 740) say whether there is a file of its name and that ending; ``yanked`` is
    ``None``, or the reason, which may be empty (PEP 592).
    """

    path: str
    filename: str
    project: str
    name: str
    version: str
    kind: str
    python_version: str
    size: int
    mtime_ns: int
    inode: int
    sha256: str
    md5: str
    blake2b_256: str
    upload_time: int
    requires_python: str | None = None
    summary: str | None = None
    core_metadata: str | None = None
    signature: bool = False
    provenance: bool = False
    yanked: str | None = None

    @property
    def companions(self) -> tuple[str, ...]:
        """The endings of the files beside it, which clients may download with it."""
        known = {SIGNATURE: self.signature, PROVENANCE: self.provenance}
        return tuple(ending for ending, exists in known.items() if exists)

    @property
    def digest_path(self) -> str:
        """The path of the file in an index that arranges files by digest: the BLAKE2b-256 in hex,
        in parts of 2, 2 and 60 characters, then the file name."""
        digest = self.blake2b_256
        return f"{digest[:2]}/{digest[2:4]}/{digest[4:]}/{self.filename}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file came from.

    Attributes:
        filename: Its name.
        sha256: The digest of its content.
        url: The URL that it was fetched from, without user and password; of a wheel that was built
            that of its sources.
        upstream: The URL of the index that listed it, if `mirror` fetched it from one: its yank
            follows the yank there.
        yanked: ``None``, or the reason of its yank there when it was last compared.
        provenance: The URL of its provenance (PEP 740), if it has one.
    """

    filename: str
    sha256: str
    url: str
    upstream: str | None = None
    yanked: str | None = None
    provenance: str | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """A project of one index. ``files`` are in order of release, then file name."""

    index: str
    name: str
    display: str
    serial: int
    status: str = "active"
    status_reason: str | None = None
    files: tuple[File, ...] = field(default=())

    @property
    def offered(self) -> tuple[File, ...]:
        """The files that clients may download: none of a quarantined project (PEP 792)."""
        return () if self.status == "quarantined" else self.files

    @property
    def versions(self) -> list[str]:
        """Each release once, oldest first."""
        # The files are nearly in this order, which makes sorting cheap.
        return sorted(dict.fromkeys(file.version for file in self.offered), key=version_key)

    def release(self, version: str) -> list[File]:
        """The files of a release, however its version is spelled: 1 is 1.0 (PEP 440)."""
        key = version_key(normalize_version(version))
        return [file for file in self.files if version_key(file.version) == key]

    @property
    def latest(self) -> str | None:
        """The version that pages show: not yanked before yanked, final before pre-release, then the
        highest."""
        unyanked: dict[str, bool] = {}
        for file in self.offered:
            unyanked[file.version] = unyanked.get(file.version, False) or file.yanked is None

        def rank(version: str) -> tuple[bool, bool, tuple[int, object]]:
            is_valid, parsed = key = version_key(version)
            is_final = bool(is_valid) and not parsed.is_prerelease  # type: ignore[union-attr]
            return unyanked[version], is_final, key

        return max(unyanked, key=rank, default=None)

    @property
    def summary(self) -> str | None:
        """The summary of the latest release."""
        latest = self.latest
        return next((f.summary for f in self.offered if f.version == latest and f.summary), None)


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the journal; ``time`` is whole microseconds since the epoch. ``actor`` and
    ``address`` are those of an :class:`Actor`, ``None`` if not known."""

    serial: int
    time: int
    index: str
    project: str
    action: str
    path: str | None = None
    filename: str | None = None
    version: str | None = None
    detail: str | None = None
    actor: str | None = None
    address: str | None = None


class Actor(NamedTuple):
    """Who makes a change: the name of an account or of a user of the host, and the address of the
    client; ``None`` if not known."""

    name: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions of operators. ``yanks`` has the reason by index and file name, ``None`` where the
    yank was undone; ``statuses`` status and reason by index and project, ``owners`` the account. If
    ``whole``, there are no other decisions."""

    whole: bool = False
    yanks: dict[tuple[str, str], str | None] = field(default_factory=dict)
    statuses: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)
    owners: dict[tuple[str, str], str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.yanks) + len(self.statuses) + len(self.owners)

    def holding(self) -> "Decisions":
        """The decisions that hold, without those that were undone."""
        yanks: dict[tuple[str, str], str | None] = {
            key: reason for key, reason in self.yanks.items() if reason is not None
        }
        statuses = {key: status for key, status in self.statuses.items() if status[0] != "active"}
        return Decisions(True, yanks, statuses, dict(self.owners))


class Code(StrEnum):
    """Why a file was rejected, for programs; the catalog keeps these words."""

    INVALID = "invalid"  # by its name, path, archive or metadata
    DUPLICATE = "duplicate"  # the index has a file of this name at another path
    ALTERED = "altered"  # it has other bytes, and the size, mtime and inode of before
    UNSIGNED = "unsigned"  # a signature without the file that it signs
    UNFINISHED = "unfinished"  # it is still being downloaded
    COSTLY = "costly"  # examining it takes more CPU time or memory than is allowed
    UNREADABLE = "unreadable"  # reading it fails, such as for want of permission
    STALLED = "stalled"  # reading it takes too long: the disk does not answer
    KILLED = "killed"  # processes that examined it were killed
    FAILED = "failed"  # examining it raised an unexpected error


@dataclass(frozen=True, slots=True)
class Rejection:
    """A file that is in a packages directory and not in its index, and why.

    ``retry`` says that it may be accepted though it does not change: every scan examines it again.
    Otherwise it is known by its size, mtime in nanoseconds, and inode.
    """

    path: str
    code: Code
    reason: str
    size: int
    mtime_ns: int
    inode: int = field(compare=False)
    retry: bool = False

    @property
    def is_duplicate(self) -> bool:
        """Whether another file of the index has its name."""
        return self.code is Code.DUPLICATE
