"""A look at one file of a folder: what it is, or why it cannot be taken in.

It touches neither catalog nor pages, so many are looked at on all cores; worker processes import
this module and no more.
"""

import contextlib
import hashlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from itertools import islice

from appliance.errors import Refused
from appliance.index import archive
from appliance.index.folder import Entry, Folder
from appliance.index.model import File, Refusal
from appliance.index.names import SIGNATURE
from appliance.index.store import Batch, Site, sync

# Less than this is looked at sooner than worker processes would have started.
_FEW_FILES = 64
_FEW_BYTES = 64 * 1024 * 1024
_CHUNK_FILES = 50
_CHUNK_BYTES = 16 * 1024 * 1024
_CHUNKS_AHEAD = 40
_NANOSECONDS_PER_MICROSECOND = 1000

Examined = File | Refusal | str | None


@contextlib.contextmanager
def examine_all(
    folder: Folder, site: Site, index: str, entries: list[Entry]
) -> Iterator[Iterator[Examined]]:
    """What :func:`examine` says of each of ``entries``, in their order; the ``.metadata`` files
    are durable when it is told."""
    if len(entries) < _FEW_FILES and sum(entry.size for entry in entries) < _FEW_BYTES:
        yield (each for entry in entries for each in _examine(folder, site, index, [entry], True))
        return
    # Neither fork (the caller has threads) nor spawn (which starts the caller's script again).
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(os.cpu_count(), context, _end_with_parent) as pool:

        def submit(chunk: list[Entry]) -> Future[list[Examined]]:
            return pool.submit(_examine, folder, site, index, chunk, False)

        try:
            yield _in_order(submit, site, _chunks(entries))
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(
    submit: Callable[[list[Entry]], Future[list[Examined]]],
    site: Site,
    chunks: Iterator[list[Entry]],
) -> Iterator[Examined]:
    """Results in the order of ``chunks``, a bounded number of them at work or waiting."""
    pending = deque(submit(chunk) for chunk in islice(chunks, _CHUNKS_AHEAD))
    while pending:
        done = [pending.popleft().result()]
        while pending and pending[0].done():
            done.append(pending.popleft().result())
        pending.extend(submit(chunk) for chunk in islice(chunks, len(done)))
        sync(site.www)
        for results in done:
            yield from results


def _chunks(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Portions of work, of many small files or of one large."""
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        chunk.append(entry)
        size += entry.size
        if len(chunk) >= _CHUNK_FILES or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _examine(
    folder: Folder, site: Site, index: str, entries: list[Entry], durable: bool
) -> list[Examined]:
    with site.batch(durable) as batch:
        return [examine(folder, site, index, entry, batch) for entry in entries]


def _end_with_parent() -> None:
    """Without this a worker outlives a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def examine(folder: Folder, site: Site, index: str, entry: Entry, batch: Batch) -> Examined:
    """Look at one file, and put its ``.metadata`` into ``batch``.

    Returns the file; or the refusal; or its path if somebody is writing to it; or ``None`` if it
    is gone.
    """
    try:
        if entry.problem is not None:
            raise Refused(entry.problem)
        found = archive.inspect(folder.locate(entry.path))
    except archive.Changing:
        return entry.path
    except FileNotFoundError:
        return None
    except Refused as error:
        return _refusal(entry, str(error))
    except (PermissionError, IsADirectoryError) as error:
        # The mode may change and no time tell it: so that this is never taken for known.
        return replace(_refusal(entry, f"cannot be read: {error.strerror}"), inode=-1)
    except (MemoryError, RecursionError) as error:
        return _refusal(entry, f"reading it takes too much memory ({type(error).__name__})")
    if found.size != entry.size:
        return entry.path  # another file than the one that was seen
    if found.metadata is not None:
        batch.write_unseen(site.metadata(index, entry.path), found.metadata)
    signed = folder.entry(entry.path + SIGNATURE) is not None
    return _to_file(entry, found, signed)


def _refusal(entry: Entry, reason: str) -> Refusal:
    return Refusal(entry.path, reason, entry.size, entry.mtime_ns, entry.inode)


def _to_file(entry: Entry, found: archive.Inspection, signed: bool) -> File:
    distribution = found.distribution
    metadata = found.metadata
    return File(
        path=entry.path,
        filename=distribution.filename,
        project=distribution.project,
        name=found.name,
        version=distribution.version,
        kind=distribution.kind,
        python_version=distribution.python_version,
        size=found.size,
        mtime_ns=entry.mtime_ns,
        inode=entry.inode,
        sha256=found.sha256,
        md5=found.md5,
        blake2b_256=found.blake2b_256,
        upload_time=max(0, entry.mtime_ns // _NANOSECONDS_PER_MICROSECOND),
        requires_python=found.requires_python,
        summary=found.summary,
        signature=signed,
        core_metadata=None if metadata is None else hashlib.sha256(metadata).hexdigest(),
    )
