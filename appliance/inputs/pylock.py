"""``pylock.toml`` (PEP 751), read and selected from by ``packaging.pylock``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from packaging.markers import Environment, UndefinedComparison, UndefinedEnvironmentName
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageVcs,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.index import names
from appliance.inputs.demand import Demand, LockedFile, Pin, Unbuilt
from appliance.inputs.documents import Table
from appliance.inputs.pinning import Choice, by_name, microseconds, pin
from appliance.inputs.unbuilt import directory, repository
from appliance.inputs.urls import filename_of
from appliance.targets.target import Target

KIND = "pylock.toml"


def read(root: Table, choice: Choice) -> Demand:
    """The demand of a lock, with its default groups and those chosen."""
    try:
        lock = Pylock.from_dict(dict(root.values))
    except PylockValidationError as error:
        place = f"{error.context}: " if error.context else ""
        message = error.message[:1].lower() + error.message[1:]
        raise PyindexError(f"{root.file}: {place}{message}; write the lock again") from None

    extras = choice.choose_extras(lock.extras or (), root.file)
    groups = choice.choose_groups(lock.dependency_groups or (), root.file)
    default = {canonicalize_name(name) for name in lock.default_groups or ()}
    return Demand(
        root.file,
        KIND,
        lock=_Lock(root.file, lock, extras, groups | default),
        requires_python=lock.requires_python,
    )


@dataclass(frozen=True, slots=True)
class _Lock:
    origin: str
    lock: Pylock
    extras: frozenset[str]
    groups: frozenset[str]

    def pins(self, target: Target) -> tuple[Pin, ...]:
        selected = [package for package, _ in self._select(target) if not _is_project(package)]
        return by_name((self._pin(package) for package in selected), self.origin)

    def _select(self, target: Target) -> list[tuple[Package, object]]:
        environment = cast("Environment", {**target.environment})
        try:
            return list(
                self.lock.select(
                    environment=environment,
                    tags=target.tags,
                    extras=self.extras,
                    dependency_groups=self.groups,
                )
            )
        except (PylockSelectError, UndefinedComparison, UndefinedEnvironmentName) as error:
            text = str(error)[:1].lower() + str(error)[1:]
            advice = "remove the target, or lock for it"
            raise PyindexError(f"{self.origin}: {target.name}: {text}; {advice}") from None

    def _pin(self, package: Package) -> Pin:
        base = Path(self.origin).absolute().parent
        version, unbuilt = str(package.version or ""), _unbuilt(package, base, self.origin)
        if unbuilt is not None:
            return pin(package.name, version, (), package.index, self.origin, unbuilt)
        files = tuple(_files(package, base))
        if not version and (distribution := names.distribution(files[0].filename)):
            version = distribution.version
        return pin(package.name, version, files, package.index, self.origin)


def _is_project(package: Package) -> bool:
    """Whether a package is the project that the lock was made for."""
    return package.directory is not None and package.directory.path in (".", "./")


def _unbuilt(package: Package, base: Path, origin: str) -> Unbuilt | None:
    """The sources of a package without a file; their paths are relative to ``base``."""
    name = package.name
    if package.vcs is not None:
        return Unbuilt(name, origin, *_repository(package.vcs, name, base))
    if package.directory is not None:
        path, subdirectory = package.directory.path, package.directory.subdirectory
        location = directory(base, path, subdirectory)
        return Unbuilt(name, origin, f"the directory {path}", name, location)
    if package.archive is not None and not _is_file(package.archive):
        location = package.archive.url or directory(base, package.archive.path or "")
        kind = "an archive whose name is not NAME-VERSION"
        return Unbuilt(name, origin, kind, name, location)
    return None


def _repository(vcs: PackageVcs, name: str, base: Path) -> tuple[str, str, str]:
    url = vcs.url or directory(base, vcs.path or "")
    location = repository(vcs.type, url, vcs.commit_id, vcs.subdirectory)
    return f"the {vcs.type} repository {vcs.url or vcs.path}", name, location


def _is_file(archive: PackageArchive) -> bool:
    return names.distribution(filename_of(archive.url or archive.path or "")) is not None


def _files(package: Package, directory: Path) -> Iterator[LockedFile]:
    listed = [*(package.wheels or ()), package.sdist, package.archive]
    for file in listed:
        if file is None:
            continue
        url = file.url or (directory / (file.path or "")).as_uri()
        filename = filename_of(url) if isinstance(file, PackageArchive) else file.filename
        digests = {name: digest.lower() for name, digest in file.hashes.items()}
        yield LockedFile(filename, url, digests, file.size, microseconds(file.upload_time))
