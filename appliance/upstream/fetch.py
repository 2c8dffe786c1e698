"""Fetch files of upstreams into a directory: in parallel, resumed, verified, atomically.

A file has its final name only when it is complete, verified and durable. What cannot be fetched is
an outcome like any other: it stops no other file.
"""

import asyncio
import contextlib
import errno
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance import atomic
from appliance.errors import PyindexError, Rejected
from appliance.index import names
from appliance.upstream import digests, partial, urls
from appliance.upstream.client import Client
from appliance.upstream.connection import Response
from appliance.upstream.digests import REPORT, Digest
from appliance.upstream.failures import Temporary, UpstreamError, retried
from appliance.upstream.model import RemoteFile
from appliance.upstream.partial import Part
from appliance.upstream.pieces import Pieces, Source
from appliance.upstream.ranges import content_range, span
from appliance.upstream.urls import redacted

_CHUNK = 1 << 20
_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is at ``path``, complete.

    Attributes:
        file: The file, with the URL that it came from.
        path: Where it is.
        size: In bytes.
        verified: The algorithm of the digest that was verified; ``None`` if the page has none,
            so that only the size was.
        is_new: Whether it was fetched now; otherwise it was there.
    """

    file: RemoteFile
    path: Path
    size: int
    verified: str | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that could not be fetched, and why, in one message."""

    file: RemoteFile
    reason: str


class Report(Protocol):
    """Receives the progress of a run that fetches files."""

    def update(self, step: str) -> None:
        """Another step begins."""

    def transfer(self, step: str, bytes_there: int, bytes_total: int) -> None:
        """Files are being fetched."""


class _NoReport:
    def update(self, step: str) -> None: ...

    def transfer(self, step: str, bytes_there: int, bytes_total: int) -> None: ...


NO_REPORT: Report = _NoReport()
Outcome = Fetched | Failed
OnProgress = Callable[[int, int], None]
"""Called with the number of finished files, and the bytes that are there of all files."""
OnFetched = Callable[[Fetched], None]
"""Called with each file as soon as it is complete."""


async def fetch(
    client: Client,
    files: Sequence[RemoteFile],
    directory: Path,
    progress: OnProgress = lambda files, bytes_there: None,
    fetched: OnFetched = lambda outcome: None,
    parallel: int = 16,
    check_name: Callable[[str], object] = names.parse,
) -> list[Outcome]:
    """Fetch ``files`` into ``directory``, each name once, and return an outcome for each name.

    ``check_name`` raises Rejected for a name that must not be written there.

    Files of one name are alternatives: those with a digest of the first are tried in turn, in
    their order. A file that is there with the right size and digest is not fetched. The mtime of a
    file is its upload time, if that is stated.
    """
    directory.mkdir(parents=True, exist_ok=True)
    fetcher = _Fetcher(client, directory, progress, fetched, parallel, check_name)
    groups = _alternatives(files)
    try:
        # The largest first: the last one to end is then a small one.
        order = sorted(groups, key=lambda group: -(group[0].size or 0))
        outcomes = await asyncio.gather(*map(fetcher.fetch, order))
    finally:
        atomic.sync_paths([str(directory)])
    by_name = {outcome.file.filename: outcome for outcome in outcomes}
    return [by_name[group[0].filename] for group in groups]


def _alternatives(files: Iterable[RemoteFile]) -> list[list[RemoteFile]]:
    """The files of each name that have a digest of the first one, in order."""
    groups: dict[str, list[RemoteFile]] = {}
    for file in files:
        group = groups.setdefault(file.filename, [])
        if not group or file.hashes.items() & group[0].hashes.items():
            group.append(file)
    return list(groups.values())


class _Fetcher:
    """The state of one call of :func:`fetch`."""

    def __init__(
        self,
        client: Client,
        directory: Path,
        progress: OnProgress,
        fetched: OnFetched,
        parallel: int,
        check_name: Callable[[str], object],
    ) -> None:
        self._connection, self._limits = client.connection, client.limits
        self._directory, self._progress, self._fetched = directory, progress, fetched
        self._check_name = check_name
        self._slots = asyncio.Semaphore(parallel)
        self._pieces = Pieces(client.connection)
        self._files = self._bytes = 0
        self._disk_fault: str | None = None

    async def fetch(self, group: list[RemoteFile]) -> Outcome:
        """Fetch one file from the first alternative that has it."""
        async with self._slots:
            try:
                outcome = await self._fetch(group)
            except PyindexError as error:
                outcome = Failed(group[0], str(error))
            except OSError as error:
                outcome = Failed(group[0], self._explained(error))
        self._files += 1
        self._report(0)
        if isinstance(outcome, Fetched):
            self._fetched(outcome)
        return outcome

    def _explained(self, error: OSError) -> str:
        """The message for a failure to write."""
        advice = (
            "free some disk space" if atomic.is_full(error) else "check the directory and its disk"
        )
        message = f"{self._directory}: {error.strerror}; {advice}"
        if error.errno in _DISK_FAULTS:
            self._disk_fault = message  # the other files would fail, too
        return message

    def _report(self, count: int) -> None:
        self._bytes += count
        self._progress(self._files, self._bytes)

    async def _fetch(self, group: list[RemoteFile]) -> Outcome:
        file = group[0]
        try:
            self._check_name(file.filename)
        except Rejected as error:
            raise UpstreamError(f"{redacted(file.url)}: {error}; fetch another file") from None
        if self._disk_fault:
            return Failed(file, self._disk_fault)

        digest = digests.preferred(file.hashes, file.url)
        if digest is None and file.index.startswith("https:") and file.url.startswith("http:"):
            raise UpstreamError(
                f"{redacted(file.url)}: has no digest, and is not on https as its index; {REPORT}"
            )
        target = self._directory / file.filename
        if target.exists():
            return await self._existing(file, target, digest)

        part = Part(self._directory / partial.name(file.filename, digest), digest)
        try:
            await part.load(file.size)
            self._report(part.size)
            source = await self._from_any(group, part)
            mtime = None if file.upload_time is None else file.upload_time * 1000
            await asyncio.to_thread(part.finish, target, mtime)
            return Fetched(source, target, part.size, digest[0] if digest else None, is_new=True)
        finally:
            part.close()

    async def _existing(self, file: RemoteFile, target: Path, digest: Digest | None) -> Outcome:
        if not await asyncio.to_thread(partial.holds, target, file.size, digest):
            return Failed(
                file, f"{target}: has another size or digest than {redacted(file.url)}; remove it"
            )
        size = target.stat().st_size
        self._report(size)
        return Fetched(file, target, size, digest[0] if digest else None, is_new=False)

    async def _from_any(self, group: list[RemoteFile], part: Part) -> RemoteFile:
        """Complete the partial file from the first alternative that can; returns that."""
        reasons: list[str] = []
        for file in group:
            part.validator = None  # it is of another server
            try:
                await self._complete(file, part)
            except UpstreamError as error:
                reasons.append(str(error))
            else:
                return file
        raise UpstreamError("; ".join(reasons))

    async def _complete(self, file: RemoteFile, part: Part) -> None:
        """Complete and verify the partial file."""
        await self._transfer_all(file, part)
        if part.wrong_digest() and part.is_resumed:  # parts of different files
            self._restart(part)
            await self._transfer_all(file, part)
        if wrong := part.wrong_digest():
            self._restart(part)
            raise UpstreamError(digests.mismatch(file.url, part.digest, wrong))

    def _restart(self, part: Part) -> None:
        self._report(-part.size)
        part.restart()

    async def _transfer_all(self, file: RemoteFile, part: Part) -> None:
        """Transfer until the file is complete; attempts count from the last progress on."""
        is_complete = False
        while not is_complete:
            with contextlib.suppress(_Progress):
                await retried(self._limits, lambda: self._attempt(file, part))
                is_complete = True

    async def _attempt(self, file: RemoteFile, part: Part) -> None:
        reached = part.reached
        try:
            await self._transfer(file, part)
        except Temporary as error:
            if part.reached - reached >= self._limits.progress_bytes:
                raise _Progress from error
            raise

    async def _transfer(self, file: RemoteFile, part: Part) -> None:
        """One request for the rest of the file."""
        if part.size and part.size == file.size:
            return
        if path := urls.path(file.url):
            await self._write(_read(path, part.size), file.size, file, part)
            return
        if part.size and not part.can_continue:
            self._restart(part)

        wanted = self._wanted(file, part)
        async with self._connection.open(file.url, _headers(part) | wanted) as response:
            if response.status == 416 and content_range(response.headers).size == part.size:
                return  # an earlier run has received all of it
            size = self._begin(response, file, part, has_range=bool(wanted))
            async with contextlib.aclosing(self._chunks(response, size, file, part)) as chunks:
                await self._write(chunks, size, file, part)

    def _wanted(self, file: RemoteFile, part: Part) -> dict[str, str]:
        """The header Range for the rest of the file; for its first piece if it is large, and has
        a digest, so that pieces of different files would be noticed."""
        piece = self._limits.piece_bytes
        if part.digest and file.size and file.size - part.size > 2 * piece:
            return {"Range": span(part.size, part.size + piece)}
        return {"Range": span(part.size)} if part.size else {}

    def _begin(
        self, response: Response, file: RemoteFile, part: Part, has_range: bool
    ) -> int | None:
        """Check status and sizes; returns the size of the whole file, if it is known."""
        where = redacted(file.url)
        announced = _total(response)
        if None not in (announced, file.size) and announced != file.size:
            self._restart(part)
            raise UpstreamError(f"{where}: has {announced} bytes, expected {file.size}; {REPORT}")
        if response.status == 200:
            self._restart(part)  # the server has no ranges, or another file
        elif response.status in (206, 416) and has_range:
            if response.status == 416 or content_range(response.headers).start != part.size:
                self._restart(part)
                raise Temporary(f"{where}: answered another range; check the server and proxy")
            part.is_resumed = part.size > 0
        else:
            raise UpstreamError(f"{where}: the server answered {response.status}; check the index")

        part.validator = _validator(response)
        return file.size if announced is None else announced

    def _chunks(
        self, response: Response, size: int | None, file: RemoteFile, part: Part
    ) -> AsyncGenerator[bytes, None]:
        """The rest of the file: with more pieces, if the response has only the first one."""
        received = content_range(response.headers)
        if response.status == 200 or size is None or received.stop in (None, size):
            return response.chunks()
        part.is_resumed = True
        return self._pieces.follow(
            Source(file.url, size, _headers(part)), received, response.chunks()
        )

    async def _write(
        self, chunks: AsyncIterator[bytes], size: int | None, file: RemoteFile, part: Part
    ) -> None:
        """Append ``chunks`` to the partial file, which must then have ``size``."""
        limit = self._limits.file_bytes if size is None else size
        async for chunk in chunks:
            part.write(chunk)
            self._report(len(chunk))
            if part.size > limit:
                self._restart(part)
                raise UpstreamError(f"{redacted(file.url)}: has more than {limit} bytes; {REPORT}")
        if size is not None and part.size < size:
            raise Temporary(
                f"{redacted(file.url)}: ended after {part.size} of {size} bytes; {REPORT}"
            )


class _Progress(Exception):
    """A transfer failed after it had received much."""


def _headers(part: Part) -> dict[str, str]:
    """The headers of a request for a part of a file (RFC 9110, 13.1.5 and 14.2)."""
    condition = {"If-Range": part.validator} if part.validator else {}
    return {"Accept-Encoding": "identity"} | condition


def _validator(response: Response) -> str | None:
    """A validator for If-Range: no weak ETag."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _total(response: Response) -> int | None:
    """The size of the whole file according to the headers."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None
    return content_range(response.headers).size


async def _read(path: Path, offset: int) -> AsyncIterator[bytes]:
    """Yield the content of a local file from ``offset`` on."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk
    except OSError as error:
        raise UpstreamError(f"{path}: {error.strerror}; check the index") from None
