"""Shared by the readers of locks: markers of a target, chosen groups, files, and refusals."""

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.index.versions import normalize_version
from appliance.inputs.demand import Lock, LockedFile, Pin, Unbuilt
from appliance.inputs.documents import Table
from appliance.inputs.urls import filename_of
from appliance.targets.target import Target

ALL = "all"


@dataclass(frozen=True, slots=True)
class Choice:
    """The extras and groups that an input is read with, besides its default ones; ``all`` chooses
    each."""

    extras: Collection[str] = ()
    groups: Collection[str] = ()

    def choose_extras(self, known: Iterable[str], where: str) -> frozenset[str]:
        return _chosen(self.extras, known, "extra", where)

    def choose_groups(self, known: Iterable[str], where: str) -> frozenset[str]:
        return _chosen(self.groups, known, "group", where)


def _chosen(asked: Collection[str], known: Iterable[str], noun: str, where: str) -> frozenset[str]:
    names = {canonicalize_name(name) for name in known}
    if ALL in asked:
        return frozenset(names)
    chosen = {canonicalize_name(name) for name in asked}
    for name in sorted(chosen - names):
        available = f"it has {', '.join(sorted(names))}" if names else "it has none"
        raise PyindexError(f"{where}: {noun} {name!r} not found; {available}")
    return frozenset(chosen)


class Conditions:
    """Evaluates markers on a target, with a set of chosen extras."""

    def __init__(self, target: Target, extras: AbstractSet[str] = frozenset()) -> None:
        self._environment: dict[str, str | AbstractSet[str]] = {**target.environment}
        self._environment["extra"] = extras
        self._known: dict[str, bool] = {}

    def allow(self, marker: Marker | None, where: str = "") -> bool:
        """Whether a marker applies; errors begin with ``where``."""
        if marker is None:
            return True
        text = str(marker)
        if text not in self._known:
            self._known[text] = self._evaluate(marker, where)
        return self._known[text]

    def _evaluate(self, marker: Marker, where: str) -> bool:
        try:
            return marker.evaluate_prepared(self._environment)
        except (UndefinedComparison, UndefinedEnvironmentName) as error:
            text = f"the marker {marker} has no meaning: {error}"
            raise PyindexError(f"{where}: {text}; write the lock again") from None


def check_python(specifier: SpecifierSet | None, target: Target, origin: str) -> None:
    """Raise :class:`PyindexError` if a lock does not support the Python of the target."""
    if specifier is not None and not specifier.contains(target.python, prereleases=True):
        text = f"requires Python {specifier}, target {target.name} has {target.python}"
        raise PyindexError(f"{origin}: {text}; remove the target, or lock for it")


def locked_file(table: Table, url: str | None, filename: str | None = None) -> LockedFile:
    """A file of a lock whose table has ``hash`` or ``hashes``, and perhaps size and upload time."""
    hashes: dict[str, str] = {}
    if text := table.optional_text("hash"):
        hashes = split_hash(text)
    return LockedFile(
        filename or filename_of(url or ""),
        url,
        hashes,
        table.number("size"),
        microseconds(table.values.get("upload-time") or table.values.get("upload_time")),
    )


def split_hash(text: str) -> dict[str, str]:
    """``sha256:<hex>`` as a mapping; empty for a text without an algorithm."""
    algorithm, colon, digest = text.partition(":")
    return {algorithm: digest.lower()} if colon else {}


def hashes_of(files: Iterable[LockedFile]) -> frozenset[str]:
    """All digests of files, as ``sha256:<hex>``; none unless each file has one."""
    files = tuple(files)
    if not all(file.hashes for file in files):
        return frozenset()
    return frozenset(f"{name}:{digest}" for file in files for name, digest in file.hashes.items())


def microseconds(time: object) -> int | None:
    """Microseconds since the epoch, of a TOML time or of a text as in ISO 8601."""
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            return None
    if not isinstance(time, datetime):
        return None
    zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
    whole = zoned - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds


def pin(
    name: str,
    version: str,
    files: Iterable[LockedFile],
    index: str | None,
    origin: str,
    unbuilt: Unbuilt | None = None,
) -> Pin:
    """A release with the digests of its files."""
    files = tuple(files)
    return Pin(name, normalize_version(version), files, hashes_of(files), index, origin, unbuilt)


def by_name(pins: Iterable[Pin], origin: str) -> tuple[Pin, ...]:
    """The pins by name; raises :class:`PyindexError` for two versions of one project."""
    names: dict[str, Pin] = {}
    for each in pins:
        other = names.setdefault(each.name, each)
        if other.version != each.version:
            text = f"both {each.name} {other.version} and {each.version} apply to one target"
            raise PyindexError(f"{origin}: {text}; write the lock again")
    return tuple(names[name] for name in sorted(names))


@dataclass(frozen=True, slots=True)
class FixedLock:
    """A lock that has the same releases for each target."""

    releases: tuple[Pin, ...]

    def pins(self, target: Target) -> tuple[Pin, ...]:
        return self.releases


@dataclass(frozen=True, slots=True)
class CheckedLock:
    """The lock of the input ``origin``, without packages that only a build makes, but for those of
    the projects ``builds``."""

    origin: str
    lock: Lock
    builds: frozenset[str]

    def pins(self, target: Target) -> tuple[Pin, ...]:
        pins = self.lock.pins(target)
        unbuilt = [each.unbuilt for each in pins if each.unbuilt and each.name not in self.builds]
        if unbuilt:
            listed = ", ".join(f"{each.project} is {each.kind}" for each in unbuilt)
            advice = " ".join(f"--build {each.project}" for each in unbuilt)
            text = f"without a package file: {listed}; lock a wheel of each, or mirror it with"
            raise PyindexError(f"{self.origin}: {text} {advice}")
        return pins
