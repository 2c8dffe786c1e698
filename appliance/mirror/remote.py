"""Upstreams as the source of a resolution.

A resolution asks one question after the other. :func:`prefetch` asks first, in parallel, what it
will probably ask, and the client answers each question once.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from appliance.errors import PyindexError, Rejected
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.examine import read_build_files, read_metadata
from appliance.index import metadata
from appliance.inputs.demand import Demand, Pin, Wanted
from appliance.inputs.urls import filename_of
from appliance.resolution import sdists
from appliance.resolution.candidates import Candidate, applies, key, unconditional, usable
from appliance.resolution.model import Question
from appliance.resolution.rules import PIP, Wish
from appliance.resolution.source import Facts
from appliance.upstream import Client, Failed, RemoteFile, fetch
from appliance.upstream.digests import digest_of

_T = TypeVar("_T")
_ALGORITHMS = ("sha256", "sha384", "sha512")


class FactReader:
    """Reads what files of upstreams say, each file once. A file without separate metadata, such as
    an sdist, is fetched into ``directory`` for that."""

    def __init__(self, client: Client, directory: Path) -> None:
        self.client, self.directory = client, directory
        self._known: dict[tuple[str, str], asyncio.Task[Facts]] = {}
        self._fetched: dict[tuple[str, str], asyncio.Task[Path]] = {}

    async def read(self, file: RemoteFile) -> Facts:
        """Return the facts of a file. Raises :class:`Rejected` for a damaged one, and
        :class:`PyindexError` if it cannot be fetched."""
        which = file.filename, file.url
        if which not in self._known:
            self._known[which] = asyncio.create_task(self._read(file))
        return await asyncio.shield(self._known[which])

    async def metadata(self, file: RemoteFile) -> bytes:
        """Return the core metadata of a wheel; raises as :meth:`read`."""
        raw = await self.client.metadata(file)
        if raw is None:
            path = await self.fetched(file)
            there = PackagesDirectory(path.parent)
            raw = await asyncio.to_thread(read_metadata, there, path.name)
        return raw or b""

    async def digest(self, file: RemoteFile, algorithm: str) -> str:
        """Return the digest of a file, which is fetched for that. Raises as :meth:`read` does."""
        return await asyncio.to_thread(digest_of, await self.fetched(file), algorithm)

    async def fetched(self, file: RemoteFile) -> Path:
        """Fetch a file, once, and return its path. Raises :class:`PyindexError`."""
        which = file.filename, file.url
        if which not in self._fetched:
            self._fetched[which] = asyncio.create_task(self._fetch(file))
        return await asyncio.shield(self._fetched[which])

    async def _fetch(self, file: RemoteFile) -> Path:
        (outcome,) = await fetch(self.client, [file], self.directory)
        if isinstance(outcome, Failed):
            raise PyindexError(outcome.reason)
        return outcome.path

    async def _read(self, file: RemoteFile) -> Facts:
        try:
            if file.filename.endswith(".whl"):
                return sdists.from_metadata(metadata.parse(await self.metadata(file)))
            path = await self.fetched(file)
            there = PackagesDirectory(path.parent)
            return sdists.facts(await asyncio.to_thread(read_build_files, there, path.name))
        except Rejected as error:
            raise Rejected(f"{file.filename}: {error}") from None


@dataclass(frozen=True)
class RemoteSource:
    """Upstreams for a resolution in a thread, whose event loop is ``loop``.

    ``locked`` are the files that a lock names, by project.
    """

    reader: FactReader
    loop: asyncio.AbstractEventLoop
    locked: Mapping[str, Sequence[RemoteFile]] = field(default_factory=dict)

    def files(self, project: str) -> Sequence[RemoteFile]:
        if files := self.locked.get(project):
            return files
        found = self._wait(self.reader.client.project(project))
        return found.files if found else ()

    def facts(self, file: RemoteFile) -> Facts:
        return self._wait(self.reader.read(file))

    def digest(self, file: RemoteFile, algorithm: str) -> str:
        return self._wait(self.reader.digest(file, algorithm))

    def _wait(self, question: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(question, self.loop).result()


def locked_files(pins: Iterable[Pin]) -> dict[str, Sequence[RemoteFile]]:
    """Return the files that pins name with their URLs, by project."""
    return {
        pin.name: [
            RemoteFile(
                filename=file.filename,
                url=file.url,
                hashes=file.hashes,
                size=file.size,
                upload_time=file.upload_time,
                index=pin.index or "",
            )
            for file in pin.files
            if file.url is not None
        ]
        for pin in pins
        if any(file.url for file in pin.files)
    }


def direct_files(demand: Demand) -> dict[str, Sequence[RemoteFile]]:
    """Return the files that requirements name by URL, by project: no index answers for those."""
    files: dict[str, Sequence[RemoteFile]] = {}
    for wanted in demand.requirements:
        if wanted.requirement.url is not None:
            url, _, fragment = wanted.requirement.url.partition("#")
            hashes = {name: text for name, text in parse_qsl(fragment) if name in _ALGORITHMS}
            stated = dict(each.split(":", 1) for each in wanted.hashes)
            file = RemoteFile(filename_of(url), url, hashes or stated)
            files[key(wanted.requirement.name)] = [file]
    return files


# --- asking in parallel --------------------------------------------------------------------------


async def prefetch(question: Question, source: RemoteSource) -> None:
    """Ask for the pages and metadata that a resolution of ``question`` will probably need: those
    of the best release of each project, and of what it requires. Errors are left to the
    resolution."""
    await _Walk(question, source).run()


class _Walk:
    def __init__(self, question: Question, source: RemoteSource) -> None:
        self._question, self._source = question, source
        self._seen: set[tuple[str, frozenset[str]]] = set()

    async def run(self) -> None:
        await self._all(self._question.wanted)

    async def _all(self, wanted: Iterable[Wanted]) -> None:
        new = [each for each in wanted if self._is_new(each)]
        await asyncio.gather(*map(self._one, new))

    def _is_new(self, wanted: Wanted) -> bool:
        requirement = wanted.requirement
        node = key(requirement.name), frozenset(requirement.extras)
        is_new = node not in self._seen and applies(requirement, self._question.target)
        self._seen |= {node} if is_new else set()
        return is_new

    async def _one(self, wanted: Wanted) -> None:
        source, target = self._source, self._question.target
        project = key(wanted.requirement.name)
        try:
            if project not in source.locked:
                await source.reader.client.project(project)
            if self._question.no_deps:
                return
            best = await asyncio.to_thread(self._best, project, wanted)
            if best is None or not best.is_wheel:
                return
            known = await source.reader.read(best.file)
            extras = ("", *sorted(wanted.requirement.extras))
            needed = [each for each in known.requires or () if applies(each, target, extras)]
        except PyindexError:
            return
        await self._all(Wanted(unconditional(each), "") for each in needed)

    def _best(self, project: str, wanted: Wanted) -> Candidate | None:
        question = self._question
        files = self._source.files(project)
        found, _ = usable(project, files, question.target, question.formats, PIP.supports)
        wish = Wish(wanted.requirement.specifier, hashes=wanted.hashes, pre=question.pre)
        return next(iter(PIP.choose(found, wish)), None)
