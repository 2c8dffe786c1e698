"""Client of upstreams: project pages and core metadata. Each question is asked once per client."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

from appliance.index.names import is_name, normalize
from appliance.index.patterns import matches
from appliance.upstream import digests, findlinks, pages, urls, wheelend
from appliance.upstream.cache import Cache, Page
from appliance.upstream.connection import Connection
from appliance.upstream.failures import UpstreamError, retried
from appliance.upstream.limits import Limits
from appliance.upstream.model import RemoteFile, RemoteProject
from appliance.upstream.upstreams import Upstreams
from appliance.upstream.urls import redacted

_ABSENT = (404, 410)
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Client:
    """A client of ``upstreams``, to be used in ``async with`` in one event loop.

    ``cache`` is a directory for pages and metadata between runs. Methods raise
    :class:`~appliance.upstream.failures.UpstreamError` with the URL if an upstream cannot answer,
    after all attempts that ``limits`` permit.
    """

    def __init__(
        self, upstreams: Upstreams, cache: Path | None = None, limits: Limits | None = None
    ) -> None:
        self.upstreams = upstreams
        self.limits = limits or _limits(upstreams)
        self.connection = Connection(upstreams, self.limits)
        self._cache = Cache(cache)
        self._answers = _Once(self._ask_answers)
        self._projects = _Once(self._ask_project)
        self._listed = _Once(self._list_links)
        self._metadata = _Once(self._ask_metadata)

    async def __aenter__(self) -> "Client":
        await self.connection.__aenter__()
        return self

    async def __aexit__(self, *_error: object) -> None:
        for questions in (self._answers, self._projects, self._listed, self._metadata):
            questions.cancel()
        await self.connection.__aexit__()
        await asyncio.to_thread(self._cache.prune)

    async def project(self, name: str) -> RemoteProject | None:
        """The project, ``None`` if no upstream has it.

        Its files are those of the first index that has it, or of all in order if the upstreams are
        merged, then those of find-links; a name may occur more than once.
        """
        if not is_name(name):
            raise UpstreamError(f"{redacted(name)!r}: not the name of a project; correct it")
        return await self._projects(normalize(name))

    @property
    def asked(self) -> frozenset[str]:
        """The normalized names that :meth:`project` was asked for, those that no upstream has
        included."""
        return self._projects.keys

    async def version(self, name: str) -> str:
        """A text that changes with everything that :meth:`project` is made of. Pages are compared,
        not read."""
        name = normalize(name)
        answers = await self._answers(name)
        parts = [
            (index, page.url, page.content_type, _sha256(page.content)) for index, page in answers
        ]
        links = [(file, findlinks.changed(file)) for file in await self._links(name)]
        return _sha256(repr((parts, links)).encode())

    async def metadata(self, file: RemoteFile) -> bytes | None:
        """The core metadata of a file, verified if the page has its digest.

        ``None`` if only the file itself has it: an sdist without ``has_metadata``, or a wheel
        whose server has no ranges.
        """
        return await self._metadata(file)

    async def content(self, url: str) -> bytes | None:
        """The content of a small file, uncompressed; ``None`` if there is none."""
        if (path := urls.path(url)) is not None:
            try:
                return await asyncio.to_thread(path.read_bytes)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise UpstreamError(f"{path}: {error.strerror}; check the URL") from None
        return await retried(self.limits, lambda: self._small(url, self.limits.page_bytes))

    async def provenance(self, file: RemoteFile) -> bytes | None:
        """The provenance of a file (PEP 740), which is not verified; ``None`` if its page states
        none, or the server has none. It is asked for once."""
        if file.provenance is None or urls.path(file.provenance) is not None:
            return None
        content = await self._small(file.provenance, self.limits.provenance_bytes)
        if content is not None and not _is_object(content):
            raise UpstreamError(
                f"{redacted(file.provenance)}: expected a JSON object; check the server and proxy"
            )
        return content

    # --- projects --------------------------------------------------------------------------------

    async def _ask_answers(self, name: str) -> tuple[tuple[str, Page], ...]:
        """The indexes that answer for a project, and their pages."""
        indexes = () if self._is_private(name) else self.upstreams.indexes
        if self.upstreams.is_merged:
            found = await asyncio.gather(*(self._page(index, name) for index in indexes))
            return tuple((index, page) for index, page in zip(indexes, found, strict=True) if page)
        for index in indexes:
            if page := await self._page(index, name):
                return ((index, page),)
        return ()

    async def _ask_project(self, name: str) -> RemoteProject | None:
        found = [
            pages.parse(name, page.content, page.content_type, page.url, index)
            for index, page in await self._answers(name)
        ]
        links = await self._links(name)
        if not found:
            return RemoteProject(name, links) if links else None
        files = chain.from_iterable(project.files for project in found)
        return replace(found[0], files=(*files, *links))

    async def _links(self, name: str) -> tuple[RemoteFile, ...]:
        """The files of a project in find-links."""
        urls = () if self._is_private(name) else self.upstreams.find_links
        listed = [await self._listed(url) for url in urls]
        return findlinks.of_project(tuple(chain.from_iterable(listed)), name)

    def _is_private(self, name: str) -> bool:
        return matches(self.upstreams.private, name)

    async def _list_links(self, url: str) -> tuple[RemoteFile, ...]:
        """The files of one entry of find-links."""
        if urls.path(url) is not None:
            try:
                return await asyncio.to_thread(findlinks.local, url)
            except OSError as error:
                raise UpstreamError(
                    f"{redacted(url)}: {error.strerror}; correct find-links"
                ) from None
        if single := findlinks.single(url):
            return single
        page = await self._fetch_page(url, "text/html")
        if page is None:
            raise UpstreamError(f"{redacted(url)}: the server answered 404; correct find-links")
        return pages.links(page.content, page.content_type, page.url)

    async def _page(self, index: str, name: str) -> Page | None:
        """The page of a project in one index."""
        url = f"{index}{name}/"
        directory = urls.path(url)
        if directory is not None:
            return await asyncio.to_thread(_local_page, directory, url)
        return await self._fetch_page(url, pages.ACCEPT)

    async def _fetch_page(self, url: str, accept: str) -> Page | None:
        """The page at ``url``; ``None`` if there is none."""
        stored = self._cache.page(url)
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        headers |= {} if stored is None else stored.conditions

        async def attempt() -> Page | None:
            async with self.connection.open(url, headers) as response:
                if response.status in _ABSENT:
                    return None
                if response.status == 304 and stored is not None:
                    return stored
                if response.status != 200:
                    raise UpstreamError(
                        f"{redacted(url)}: the server answered {response.status}; check the URL"
                    )
                content = await response.read(self.limits.page_bytes)
                values = response.headers
                return Page(
                    response.url,
                    values.get("Content-Type", ""),
                    content,
                    values.get("ETag"),
                    values.get("Last-Modified"),
                )

        page = await retried(self.limits, attempt)
        if page is not None and page is not stored:
            self._cache.store_page(url, page)
        return page

    # --- core metadata ---------------------------------------------------------------------------

    async def _ask_metadata(self, file: RemoteFile) -> bytes | None:
        is_wheel = file.filename.endswith(".whl")
        if urls.path(file.url) is not None:
            return await asyncio.to_thread(self._local_metadata, file) if is_wheel else None

        key = _key(file)
        if key and (stored := self._cache.metadata(key)) is not None:
            return stored
        content = None
        if file.has_metadata:
            content = await self._fetch_metadata(file)
        if content is None and is_wheel:
            content = await wheelend.metadata(self.connection, file.url, file.filename)
        if key and content is not None:
            self._cache.store_metadata(key, content)
        return content

    async def _fetch_metadata(self, file: RemoteFile) -> bytes | None:
        """The separate file of PEP 658; ``None`` if it is missing though the page states it."""
        url = f"{file.url}.metadata"
        content = await retried(self.limits, lambda: self._small(url, self.limits.metadata_bytes))
        if content is not None:
            digests.check(content, file.metadata_hashes, url)
        return content

    async def _small(self, url: str, limit: int) -> bytes | None:
        """The file at ``url``, of at most ``limit`` bytes; ``None`` if it is missing."""
        async with self.connection.open(url, {"Accept-Encoding": "identity"}) as response:
            return await response.read(limit) if response.status == 200 else None

    def _local_metadata(self, file: RemoteFile) -> bytes | None:
        path = urls.path(file.url)
        assert path is not None
        try:
            with path.open("rb") as archive:
                return wheelend.member(archive, file.filename, self.limits.metadata_bytes)
        except OSError as error:
            raise UpstreamError(f"{path}: {error.strerror}; check the index") from None


def _limits(upstreams: Upstreams) -> Limits:
    """The default limits, with the time limit of pip's configuration if there is one."""
    seconds = upstreams.network.timeout_seconds
    return Limits() if seconds is None else Limits(connect_seconds=seconds, idle_seconds=seconds)


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _local_page(directory: Path, url: str) -> Page | None:
    """A project page of an index that is a directory of HTML pages."""
    try:
        content = (directory / "index.html").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UpstreamError(f"{directory}: {error.strerror}; check the index") from None
    return Page(url, "text/html", content)


def _key(file: RemoteFile) -> str | None:
    """The key of the core metadata of a file: the URL, so that no upstream answers for
    another one, and a digest; ``None`` if the page has none."""
    digest = digests.preferred(file.metadata_hashes, file.url) or digests.preferred(
        file.hashes, file.url
    )
    return None if digest is None else f"{file.url} {digest}"


class _Once(Generic[_Key, _Value]):
    """Awaits a function once for each key, also if several tasks ask for it."""

    def __init__(self, function: Callable[[_Key], Awaitable[_Value]]) -> None:
        self._function = function
        self._tasks: dict[_Key, asyncio.Future[_Value]] = {}

    async def __call__(self, key: _Key) -> _Value:
        if key not in self._tasks:
            self._tasks[key] = asyncio.ensure_future(self._function(key))
        # One task that is canceled does not cancel the others.
        return await asyncio.shield(self._tasks[key])

    @property
    def keys(self) -> frozenset[_Key]:
        """The keys that were asked for."""
        return frozenset(self._tasks)

    def cancel(self) -> None:
        """Cancel what is still awaited."""
        for task in self._tasks.values():
            task.cancel()
