"""Demands: what an input asks for, whatever its format, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from appliance.targets.target import Target


@dataclass(frozen=True, slots=True)
class Wanted:
    """One requirement.

    Attributes:
        requirement: The requirement (PEP 508), with its extras and marker.
        origin: Where it stands, for messages: ``requirements.txt:3``.
        hashes: Digests that its file may have, as ``sha256:<hex>``; any file, if empty.
    """

    requirement: Requirement
    origin: str
    hashes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """A requirement without a package file: a directory, a repository, or an archive of sources
    whose name has no version. Only a build makes a file of it.

    Attributes:
        line: The requirement as written.
        origin: As in :class:`Wanted`.
        kind: What it names, for messages: ``a directory``.
        project: The normalized name, as far as it is known without a build.
        location: The URL of the sources: ``git+https://host/repository@reference``,
            ``file:///directory``; with the fragment ``subdirectory=PATH`` below them.
        extras: ``[fast]``, or nothing.
        marker: `` ; os_name == "nt"``, or nothing.
    """

    line: str
    origin: str
    kind: str
    project: str
    location: str
    extras: str = ""
    marker: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of pip that an input sets; all are empty where it sets none.

    Attributes:
        index_url: The index to use instead of the default one.
        extra_index_urls: Indexes that are used in addition.
        find_links: Files, directories or pages with further files, as absolute paths or URLs.
        no_index: Whether only ``find_links`` count.
        only_binary: Projects of which only wheels count; ``:all:`` for each.
        no_binary: Projects of which only sdists count; ``:all:`` for each.
        prefer_binary: Whether an older wheel counts more than a newer sdist.
        pre: Whether pre-releases count.
        no_deps: Whether the requirements are complete: no dependency is followed.
        require_hashes: Whether each file must have one of the digests that the input lists.
        has_hashes: Whether a requirement or constraint has ``--hash``, by which pip does the same.
        trusted_hosts: Hosts, with or without a port, whose certificates are not checked.
    """

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    only_binary: frozenset[str] = frozenset()
    no_binary: frozenset[str] = frozenset()
    prefer_binary: bool = False
    pre: bool = False
    no_deps: bool = False
    require_hashes: bool = False
    has_hashes: bool = False
    trusted_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file of a lock.

    ``hashes`` are hex digests by algorithm; ``url`` is ``None`` where the lock has only the name;
    ``size`` is in bytes; ``upload_time`` in microseconds since the epoch.
    """

    filename: str
    url: str | None = None
    hashes: Mapping[str, str] = field(default_factory=dict, hash=False)
    size: int | None = None
    upload_time: int | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """One release that a lock names.

    Attributes:
        name: The normalized name of the project.
        version: Its version, normalized.
        files: Its files in the lock, all targets included; empty where the lock names none.
        hashes: Digests that its files may have, as ``sha256:<hex>``; any file, if empty.
        index: The URL of the index that the lock names for it.
        origin: Where it stands, for messages.
        unbuilt: Its sources, if only a build makes a file of them.
    """

    name: str
    version: str
    files: tuple[LockedFile, ...] = ()
    hashes: frozenset[str] = frozenset()
    index: str | None = None
    origin: str = ""
    unbuilt: Unbuilt | None = None


class Lock(Protocol):
    """A lock: exact releases, which depend on the target."""

    def pins(self, target: Target) -> tuple[Pin, ...]:
        """The releases that an install on ``target`` takes, each project once, by name.

        Raises :class:`PyindexError` if the lock does not support the target.
        """


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand of one input: a lock, or requirements to be resolved.

    Attributes:
        origin: The path of the input, or ``command line``.
        kind: The name of its format: ``requirements.txt``, ``uv.lock``, ...
        requirements: What must be installed.
        constraints: What limits versions without being installed by itself.
        unbuilt: What must be built before it can be installed.
        options: The options of pip that it sets.
        lock: The exact releases, if it is a lock; it has no ``requirements`` then.
        requires_python: The Pythons that it supports; a target outside is an error.
    """

    origin: str
    kind: str
    requirements: tuple[Wanted, ...] = ()
    constraints: tuple[Wanted, ...] = ()
    unbuilt: tuple[Unbuilt, ...] = ()
    options: Options = Options()
    lock: Lock | None = None
    requires_python: SpecifierSet | None = None
