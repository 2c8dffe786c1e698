"""Builds that an operator asks for by name: of what an input names without a package file, and of
sdists without a wheel for a target.

A wheel is kept in ``<state>/builds/<key>`` with a record of where it comes from. The key is that of
the sources (the commit of a repository, the files of a directory, the digest of an sdist), the
interpreter and the platform: the same sources are not built again.
"""

import asyncio
import hashlib
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from packaging.requirements import Requirement

from appliance.atomic import make_directory
from appliance.errors import PyindexError
from appliance.index.names import distribution
from appliance.inputs.demand import Demand, LockedFile, Pin, Unbuilt, Wanted
from appliance.inputs.pinning import FixedLock
from appliance.inputs.urls import url_path
from appliance.mirror import building, wheels
from appliance.mirror.git import Git, parse, subdirectory_of
from appliance.operations.prune import UV_CACHE
from appliance.resolution.candidates import Candidate, applies, key
from appliance.resolution.model import Question
from appliance.targets import reading
from appliance.targets.target import Target
from appliance.upstream import Client, Failed, RemoteFile, fetch
from appliance.upstream.digests import digest_of
from appliance.upstream.urls import redacted, without_secrets


@dataclass(frozen=True, slots=True)
class Built:
    """A demand in which wheels take the place of what was to be built; ``files`` are those that it
    names by URL, by project."""

    demand: Demand
    files: Mapping[str, Sequence[RemoteFile]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Sources:
    """The sources of a build: ``write`` writes them below an empty directory, and returns their
    path there and their time in seconds."""

    project: str
    identity: tuple[str, ...]
    origin: str
    write: Callable[[Path], Awaitable[tuple[Path, int]]]


@dataclass(frozen=True, slots=True)
class Builds:
    """The builds of a run.

    Attributes:
        projects: The normalized names.
        origins: The sources of the wheels, by the SHA-256 of each.
        demands: With the wheels that were built for them, by origin and target.
    """

    projects: set[str] = field(default_factory=set)
    origins: dict[str, str] = field(default_factory=dict)
    demands: dict[tuple[str, str], Demand] = field(default_factory=dict)


class Builder:
    """Builds the projects ``names`` with the upstreams of ``client``, one at a time, each once.
    sdists are fetched into ``staging``; what was built is added to ``builds``."""

    def __init__(
        self, names: frozenset[str], client: Client, state: Path, staging: Path, builds: Builds
    ) -> None:
        self.names, self.builds = names, builds
        self._client, self._git = client, Git(client.upstreams)
        self._directory, self._cache, self._staging = (
            wheels.directory_of(state),
            state / UV_CACHE,
            staging,
        )
        self._tasks: dict[tuple[str, str], asyncio.Task[RemoteFile]] = {}
        self._turn = asyncio.Lock()
        self._here: Target | None = None

    async def demand(self, demand: Demand, target: Target) -> Built:
        """Build what ``demand`` needs on ``target`` of that. Raises :class:`PyindexError` for a
        build that fails, and for a wheel that does not fit the target."""
        if demand.lock is not None:
            pins = [await self._pin(pin, target) for pin in demand.lock.pins(target)]
            return Built(replace(demand, lock=FixedLock(tuple(pins))))

        wanted, files = list(demand.requirements), dict[str, Sequence[RemoteFile]]()
        for each in demand.unbuilt:
            if applies(Requirement(f"{each.project}{each.extras}{each.marker}"), target):
                file = await self._unbuilt(each, target)
                files[each.project] = [file]
                text = f"{each.project}{each.extras} @ {file.url}{each.marker}"
                wanted.append(Wanted(Requirement(text), each.origin, _hashes(file)))
        return Built(replace(demand, requirements=tuple(wanted), unbuilt=()), files)

    async def wheels(
        self, asked: Question, picks: Sequence[Candidate]
    ) -> dict[str, Sequence[RemoteFile]]:
        """Build the sdists among ``picks`` whose projects are named; return the wheels by project.
        Raises as :meth:`demand`, also if ``asked`` demands the digest of an sdist."""
        built: dict[str, Sequence[RemoteFile]] = {}
        for each in picks:
            if each.is_wheel or each.project not in self.names:
                continue
            _check_no_digest(asked, each)
            file = await self._once(each.project, each.file.url, partial(self._sdist, each))
            await self._check_fit(file, asked.target)
            built[each.project] = [file]
        return built

    async def _pin(self, pin: Pin, target: Target) -> Pin:
        if pin.unbuilt is None or pin.name not in self.names:
            return pin
        file = await self._unbuilt(pin.unbuilt, target)
        named = distribution(file.filename)
        assert named is not None
        locked = LockedFile(file.filename, file.url, file.hashes, file.size, file.upload_time)
        return replace(pin, version=named.version, files=(locked,), hashes=_hashes(file))

    async def _unbuilt(self, unbuilt: Unbuilt, target: Target) -> RemoteFile:
        project, location = unbuilt.project, unbuilt.location
        try:
            if location.startswith("file:"):
                sources = partial(self._in_directory, project, location)
            else:
                sources = partial(self._in_repository, project, location)
            file = await self._once(project, location, sources)
        except PyindexError as error:
            raise PyindexError(f"{unbuilt.origin}: {error}") from None
        await self._check_fit(file, target)
        return file

    # --- sources -------------------------------------------------------------------------------

    async def _in_directory(self, project: str, location: str) -> _Sources:
        path = Path(url_path(location), subdirectory_of(location))
        if not path.is_dir():
            raise PyindexError(f"{path}: not a directory; correct the path, or pass a package file")
        commit, time = await self._git.head(path) or ("", 0)
        digest = await asyncio.to_thread(building.tree_digest, path)
        time = time or await asyncio.to_thread(building.newest, path)

        async def write(_directory: Path) -> tuple[Path, int]:
            return path, time  # as pip and uv do: it may use what is around it

        return _Sources(project, ("directory", commit, digest), path.as_uri(), write)

    async def _in_repository(self, project: str, location: str) -> _Sources:
        if not location.partition(":")[0].partition("+")[1]:
            text = "neither a directory nor a Git repository; write NAME @ git+https://HOST/PATH"
            raise PyindexError(f"{redacted(location) or project}: {text}")
        repository = parse(location)
        commit = await self._git.resolve(repository, self._directory)

        async def write(directory: Path) -> tuple[Path, int]:
            checkout = directory / "checkout"
            await self._git.checkout(repository, commit, checkout)
            _, time = await self._git.head(checkout) or ("", 0)
            path = checkout / repository.subdirectory
            if not path.is_dir():
                what = f"{redacted(repository.url)}: {commit} has no directory"
                raise PyindexError(f"{what} {repository.subdirectory}; correct `subdirectory`")
            return path, time

        origin = repository.origin(commit)
        tags = await self._git.tags(repository, self._directory)
        return _Sources(project, ("git", origin, tags), origin, write)

    async def _sdist(self, candidate: Candidate) -> _Sources:
        file = candidate.file
        (outcome,) = await fetch(self._client, [file], self._staging)
        if isinstance(outcome, Failed):
            raise PyindexError(outcome.reason)
        digest = await asyncio.to_thread(digest_of, outcome.path, "sha256")

        async def write(_directory: Path) -> tuple[Path, int]:
            return outcome.path, (file.upload_time or 0) // wheels.MICROSECONDS

        origin = f"{without_secrets(file.url)}#sha256={digest}"
        return _Sources(candidate.project, ("sdist", digest), origin, write)

    # --- builds --------------------------------------------------------------------------------

    async def _once(
        self, project: str, location: str, sources: Callable[[], Awaitable[_Sources]]
    ) -> RemoteFile:
        """Return the wheel of ``sources``, built once in a run."""
        which = project, location
        if which not in self._tasks:
            self._tasks[which] = asyncio.ensure_future(self._wheel(sources))
        return await asyncio.shield(self._tasks[which])

    async def _wheel(self, read: Callable[[], Awaitable[_Sources]]) -> RemoteFile:
        async with self._turn:
            make_directory(self._directory)
            sources = await read()
            directory = self._directory / await self._key(sources)
            if (known := await asyncio.to_thread(wheels.read, directory)) is None:
                known = await self._build(sources, directory)
        self.builds.projects.add(sources.project)
        self.builds.origins[known.hashes["sha256"]] = sources.origin
        return known

    async def _key(self, sources: _Sources) -> str:
        here = await self._machine()
        parts = [sources.project, *sources.identity, here.interpreter, here.platform]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    async def _build(self, sources: _Sources, directory: Path) -> RemoteFile:
        with tempfile.TemporaryDirectory(prefix=wheels.SCRATCH, dir=self._directory) as name:
            scratch = Path(name)
            path, time = await sources.write(scratch)
            wheel = await building.build(
                sources.project, path, time, self._client.upstreams, self._cache, scratch / "out"
            )
            await asyncio.to_thread(wheels.keep, wheel, directory, time, sources.origin)
        kept = await asyncio.to_thread(wheels.read, directory)
        if kept is None:
            raise PyindexError(f"{directory}: changed while it was written; run the command again")
        return kept

    # --- targets -------------------------------------------------------------------------------

    async def _machine(self) -> Target:
        """This interpreter on this machine, as a target."""
        if self._here is None:
            self._here = await asyncio.to_thread(reading.read, f"python:{sys.executable}")
        return self._here

    async def _check_fit(self, file: RemoteFile, target: Target) -> None:
        """Raise :class:`PyindexError` for a wheel that ``target`` cannot install or run."""
        here = await self._machine()
        if not wheels.fits(file.filename, target, here):
            raise PyindexError(
                f"{file.filename}: built by {here.interpreter} on {here.platform}, and does not fit"
                f" target {target.name}; mirror on a machine like the target, or put a wheel for it"
                " into the packages directory"
            )


def _hashes(file: RemoteFile) -> frozenset[str]:
    return frozenset(f"{name}:{digest}" for name, digest in file.hashes.items())


def _check_no_digest(asked: Question, sdist: Candidate) -> None:
    """Raise :class:`PyindexError` if a requirement demands the digest of an sdist to build."""
    for wanted in asked.wanted:
        if wanted.hashes and key(wanted.requirement.name) == sdist.project:
            raise PyindexError(
                f"{wanted.origin}: demands the digest of {sdist.file.filename}, which no wheel"
                f" built from it has; leave out --build {sdist.project}"
            )
