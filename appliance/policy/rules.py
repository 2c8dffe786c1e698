"""The rules of an index's policy, as pure functions: each returns why it refuses a file, or
``None``.

The text of a refusal says what is wrong and what to do; :class:`Refusal` adds the key of the spec
that the rule stands in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from appliance.index.metadata import CoreMetadata
from appliance.index.model import File
from appliance.spec.policy import Policy

_TYPES = {
    "bdist_wheel": "wheel",
    "sdist": "sdist",
    "bdist_egg": "egg",
    "bdist_wininst": "exe",
    "bdist_msi": "msi",
    "bdist_dumb": "dumb",
}
_PRIVATE = "Private ::"
_CLOSED = {"archived", "quarantined"}  # PEP 792: no uploads
_MICROSECONDS = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that is to enter an index, with its core metadata if it has any."""

    file: File
    metadata: CoreMetadata | None


@dataclass(frozen=True, slots=True)
class Known:
    """Facts that an index has about a file that is to enter it.

    Attributes:
        used: The SHA-256 of the last content under its name, also of a removed file.
        status: The status of its project (PEP 792).
        release: The files of its release.
        together: Files of the same release that enter the index with it, before it.
        now: The time in microseconds since the epoch.
    """

    used: str | None
    status: str
    release: Sequence[File]
    now: int
    together: Sequence[File] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused file: the rule, by its key below ``policy`` (or ``status``), and why."""

    rule: str
    why: str


def refusal(policy: Policy, candidate: Candidate, known: Known) -> Refusal | None:
    """Return the first refusal of a file by the policy; ``None`` if it may enter."""
    for name, rule in RULES.items():
        if why := rule(policy, candidate, known):
            return Refusal(name, why)
    return None


def _status(policy: Policy, candidate: Candidate, known: Known) -> str | None:
    if known.status not in _CLOSED:
        return None
    return f"project {candidate.file.project} is {known.status}, and takes no files"


def _reuse(policy: Policy, candidate: Candidate, known: Known) -> str | None:
    if policy.reuse == "accept" or known.used in (None, candidate.file.sha256):
        return None
    # Clients look for the first words, to skip existing files.
    return (
        f"This filename has already been used, use a different version: {candidate.file.filename}"
        f" had other content (sha256 {known.used})"
    )


def _types(policy: Policy, candidate: Candidate, known: Known) -> str | None:
    kind = _TYPES[candidate.file.kind]
    if not policy.types or kind in policy.types:
        return None
    return f"type {kind} is not accepted, only {', '.join(policy.types)}"


def _max_size(policy: Policy, candidate: Candidate, known: Known) -> str | None:
    size = candidate.file.size
    if policy.max_size is None or size <= policy.max_size:
        return None
    return f"{size:,} bytes, at most {policy.max_size:,} are accepted"


def _required(policy: Policy, candidate: Candidate, known: Known) -> str | None:
    missing = [name for name in policy.required if not _has(candidate.metadata, name)]
    return f"metadata without {', '.join(missing)}; add it to the project" if missing else None


def _has(metadata: CoreMetadata | None, name: str) -> bool:
    """Return whether core metadata has a field, in any of the forms that it has had."""
    if metadata is None:
        return False
    match name:
        case "description":
            return bool(metadata.description.strip())
        case "classifiers":
            return bool(metadata.texts("classifiers"))
        case "keywords":
            return any(each.strip() for each in metadata.texts("keywords"))
        case "url":
            return bool(metadata.project_urls or metadata.line("home_page"))
        case "license":
            classified = any(
                each.startswith("License ::") for each in metadata.texts("classifiers")
            )
            names = ("license_expression", "license")
            return classified or any(metadata.line(each) for each in names)
        case "author" | "maintainer":
            return bool(metadata.line(name) or metadata.line(f"{name}_email"))
    return bool(metadata.line(name.replace("-", "_")))


def _local_versions(policy: Policy, candidate: Candidate, known: Known) -> str | None:
    version = candidate.file.version
    if policy.local_versions == "accept" or "+" not in version:
        return None
    return f"version {version} is a local one (PEP 440), which is not accepted"


def _private_classifiers(policy: Policy, candidate: Candidate, known: Known) -> str | None:
    if policy.private_classifiers == "accept" or candidate.metadata is None:
        return None
    for classifier in candidate.metadata.texts("classifiers"):
        if classifier.startswith(_PRIVATE):
            return f"classifier {classifier!r}: such files are not accepted"
    return None


def _closed_after(policy: Policy, candidate: Candidate, known: Known) -> str | None:
    returns = known.used == candidate.file.sha256
    if policy.closed_after is None or not known.release or returns:
        return None
    end = min(file.upload_time for file in known.release) + policy.closed_after // _MICROSECONDS
    if known.now < end:
        return None
    day = datetime.fromtimestamp(end / 1e6, UTC).strftime("%Y-%m-%d")
    return f"release {candidate.file.version} is closed since {day}; make another release"


def _sdists(policy: Policy, candidate: Candidate, known: Known) -> str | None:
    if policy.sdists == "any" or candidate.file.kind != "sdist":
        return None
    others = [file.filename for file in (*known.release, *known.together) if file.kind == "sdist"]
    if not others or candidate.file.filename in others:
        return None
    return f"release {candidate.file.version} has an sdist already: {others[0]}"


_Rule = Callable[[Policy, Candidate, Known], str | None]
RULES: dict[str, _Rule] = {
    "status": _status,
    "reuse": _reuse,
    "types": _types,
    "max_size": _max_size,
    "required": _required,
    "local_versions": _local_versions,
    "private_classifiers": _private_classifiers,
    "closed_after": _closed_after,
    "sdists": _sdists,
}
