"""Retention: which releases of a project an index no longer keeps, as a pure function."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from appliance.index.model import File, Project
from appliance.index.versions import version_key
from appliance.spec.policy import Retention

_MICROSECONDS = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Outdated:
    """A release that is no longer kept: its version, its files, and the key of the rule."""

    version: str
    files: tuple[File, ...]
    rule: str


def outdated(keep: Retention, project: Project, now: int) -> Iterator[Outdated]:
    """Yield the releases of a project that ``keep`` no longer keeps at ``now``, in microseconds,
    highest version first.

    The highest version and the one that pages show (see :attr:`Project.latest`) stay, and so does
    a quarantined project, which is evidence.
    """
    releases: dict[object, list[File]] = {}
    for file in project.offered:
        releases.setdefault(version_key(file.version), []).append(file)

    latest = None if project.latest is None else version_key(project.latest)
    newest_first = sorted(releases, reverse=True)  # type: ignore[type-var]
    for position, key in enumerate(newest_first):
        files = releases[key]
        rule = _rule(keep, position, files, now)
        if rule is not None and position > 0 and key != latest:
            yield Outdated(files[0].version, tuple(files), rule)


def _rule(keep: Retention, position: int, files: list[File], now: int) -> str | None:
    """Return the key of the rule that does not keep a release, which is number ``position`` of its
    project, if there is one."""
    age = (now - max(file.upload_time for file in files)) * _MICROSECONDS
    is_valid, version = version_key(files[0].version)
    if keep.versions is not None and position >= keep.versions:
        return "versions"
    if keep.age is not None and age > keep.age:
        return "age"
    is_prerelease = is_valid and version.is_prerelease  # type: ignore[union-attr]
    if keep.prereleases is not None and is_prerelease and age > keep.prereleases:
        return "prereleases"
    return None
