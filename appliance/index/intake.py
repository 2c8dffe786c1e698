"""The one door for a file: looked at, checked, put into the catalog with a line of the journal.

Looking at a file (:func:`examine`) touches neither catalog nor pages and can run in any process;
:meth:`Intake.take_in` does it for many files, on all cores where it pays, and commits.
"""

import contextlib
import hashlib
import logging
import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice

from appliance.errors import Refused
from appliance.index import archive
from appliance.index.catalog import Catalog
from appliance.index.model import File, Refusal
from appliance.index.names import SIGNATURE
from appliance.index.store import Batch, Entry, Folder, Site, sync, unlink

log = logging.getLogger(__name__)

# Files in one transaction: enough to share its cost, few enough that pages appear as it goes.
_COMMIT = 1000
# Fewer files than this are looked at sooner than worker processes would have started.
_FEW = 64
_CHUNK = 32
_NANOSECONDS_PER_MICROSECOND = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many files came in, which were refused, which must be looked at again later."""

    added: int = 0
    refused: tuple[Refusal, ...] = ()
    changing: tuple[str, ...] = ()


Examined = File | Refusal | str | None


def examine(folder: Folder, site: Site, index: str, entry: Entry, durable: bool) -> Examined:
    """Look at one file and lay its ``.metadata`` ready.

    Returns the file; or the refusal; or its path if somebody is writing to it; or ``None`` if it
    is gone. ``durable`` says whether to sync the metadata file here.
    """
    try:
        path = folder.locate(entry.path)
        if entry.problem is not None:
            raise Refused(entry.problem)
        found = archive.inspect(path)
        if found.metadata is not None:
            _lay(site, index, entry.path, found.metadata, durable)
    except archive.Changing:
        return entry.path
    except FileNotFoundError:
        return None
    except Refused as error:
        return _refusal(entry, str(error))
    except (PermissionError, IsADirectoryError) as error:
        return _refusal(entry, f"cannot be read: {error.strerror}")
    except (MemoryError, RecursionError) as error:
        return _refusal(entry, f"reading it takes too much memory ({type(error).__name__})")
    signed = path.with_name(path.name + SIGNATURE).is_file()
    return _to_file(entry.path, found, signed)


def _lay(site: Site, index: str, path: str, metadata: bytes, durable: bool) -> None:
    batch = Batch()
    batch.write(site.metadata(index, path), metadata)
    batch.commit(durable=durable)


def _refusal(entry: Entry, reason: str) -> Refusal:
    return Refusal(entry.path, reason, entry.size, entry.mtime_ns, entry.inode)


def _to_file(path: str, found: archive.Inspection, signed: bool) -> File:
    distribution = found.distribution
    metadata = found.metadata
    return File(
        path=path,
        filename=distribution.filename,
        project=distribution.project,
        name=found.name,
        version=distribution.version,
        kind=distribution.kind,
        python_version=distribution.python_version,
        size=found.size,
        mtime_ns=found.mtime_ns,
        inode=found.inode,
        sha256=found.sha256,
        md5=found.md5,
        blake2b_256=found.blake2b_256,
        upload_time=max(0, found.mtime_ns // _NANOSECONDS_PER_MICROSECOND),
        requires_python=found.requires_python,
        summary=found.summary,
        signature=signed,
        core_metadata=None if metadata is None else hashlib.sha256(metadata).hexdigest(),
    )


class Intake:
    """Takes files of one index's folder into the catalog."""

    def __init__(self, catalog: Catalog, site: Site, index: str, folder: Folder) -> None:
        self._catalog, self._site, self._index, self._folder = catalog, site, index, folder

    def take_in(self, entries: list[Entry]) -> Iterator[Outcome]:
        """Take in the files at ``entries``, in that order where two have one name.

        Yields after each transaction, so that its files can be published before the next.
        """
        durable = len(entries) < _FEW
        with self._examiner(entries, durable) as results:
            while part := list(islice(results, _COMMIT)):
                if not durable:
                    sync(self._site.www)
                yield self._commit(part)

    def _commit(self, examined: list[Examined]) -> Outcome:
        files = [each for each in examined if isinstance(each, File)]
        refused = [each for each in examined if isinstance(each, Refusal)]
        with self._catalog.change() as change:
            gone = change.remove(self._index, [refusal.path for refusal in refused])
            change.refuse(self._index, refused)
            duplicates = change.add(self._index, files)
        for refusal in duplicates:
            unlink(self._site.metadata(self._index, refusal.path))
        for refusal in refused + duplicates:
            log_refusal(self._index, refusal)
        return Outcome(
            added=len(files) - len(duplicates) + len(gone),
            refused=(*refused, *duplicates),
            changing=tuple(each for each in examined if isinstance(each, str)),
        )

    @contextlib.contextmanager
    def _examiner(self, entries: list[Entry], durable: bool) -> Iterator[Iterator[Examined]]:
        door = (self._folder, self._site, self._index)
        if durable:
            yield (examine(*door, entry, durable) for entry in entries)
            return
        # Neither fork (the caller has threads) nor spawn (which starts the caller's script again).
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        with ProcessPoolExecutor(os.cpu_count(), context, _end_with_parent) as pool:
            try:
                yield _in_order(pool, door, entries)
            finally:
                pool.shutdown(cancel_futures=True)


def log_refusal(index: str, refusal: Refusal) -> None:
    """Tell it once, when it is found out; `pyindex status` tells it as long as it is true."""
    log.warning("%s: refused %s: %s", index, refusal.path, refusal.reason)


def _in_order(
    pool: ProcessPoolExecutor, door: tuple[Folder, Site, str], entries: list[Entry]
) -> Iterator[Examined]:
    """Results in the order of ``entries``, a bounded number of them at work or waiting."""
    chunks = (entries[start : start + _CHUNK] for start in range(0, len(entries), _CHUNK))
    pending = [pool.submit(_examine_chunk, *door, chunk) for chunk in islice(chunks, 64)]
    while pending:
        yield from pending.pop(0).result()
        pending.extend(pool.submit(_examine_chunk, *door, chunk) for chunk in islice(chunks, 1))


def _examine_chunk(
    folder: Folder, site: Site, index: str, entries: Iterable[Entry]
) -> list[Examined]:
    return [examine(folder, site, index, entry, durable=False) for entry in entries]


def _end_with_parent() -> None:
    """Without this a worker outlives a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
