"""Uploads become part of an index: their files are placed, added to the catalog and published.

Threads that are ready at the same time share one transaction and one publication: what these cost,
mostly waiting for the disk, does not depend on the number of files.

The write lock of the catalog orders all processes. Files are placed while it is held, so that of
two uploads of one name one finds the other. A process that is killed before the transaction ends
leaves placed files with their spool, and :func:`recover` takes them away; scans leave them out.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.atomic import Batch, sync_paths
from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog
from appliance.catalog.metadata import KeptMetadata
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.index.model import Actor, File
from appliance.index.names import COMPANIONS
from appliance.policy.decision import PolicyError, check
from appliance.site.publish import Publisher
from appliance.spec import Spec
from appliance.uploads import spool
from appliance.uploads.refused import EXISTS, Refused, full_disk, is_full
from appliance.uploads.spool import Spool

log = logging.getLogger(__name__)

_BUG = "The server failed; its log says why"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends an upload: as the journal names it, and as the owner of a project."""

    actor: Actor
    owner: str


@dataclass
class Ready:
    """An examined upload.

    Attributes:
        index: The name of the index.
        spool: Its files; not placed yet.
        file: The package file, as it will be in the catalog.
        metadata: The core metadata in it.
        sender: Who uploads it.
        owner: The owner of the project when the sender's rights were checked, if it had one.
        serial: The serial of the published pages that have it, afterwards.
        error: Why it was not stored, afterwards.
    """

    index: str
    spool: Spool
    file: File
    metadata: bytes | None
    sender: Sender
    owner: str | None
    serial: int = 0
    error: Refused | None = None
    is_placed: bool = False
    is_new_project: bool = False
    is_done: bool = False


class Committer:
    """Committer of the uploads of one process."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._spec, self._catalog = spec, catalog
        self._publisher = Publisher(spec, catalog)
        self._kept = KeptMetadata(spec.state)
        self._waiting: list[Ready] = []
        self._lock, self._gate = threading.Lock(), threading.Lock()

    def commit(self, upload: Ready) -> int:
        """Store and publish an upload; return the serial of the pages that have it. The same file
        again changes nothing. Raises :class:`Refused` with nothing stored, or, with status 503, if
        it is stored and cannot be published."""
        with self._gate:
            self._waiting.append(upload)
        with self._lock:
            if not upload.is_done:  # else a thread before had it
                self._commit_waiting()
        if upload.error is not None:
            raise upload.error
        return upload.serial

    def publish(self) -> int:
        """Publish what is stored; return the serial. Raises :class:`Refused`."""
        with self._lock:
            return self._publish(has_new_projects=False)

    def _commit_waiting(self) -> None:
        with self._gate:  # none is added to the list that is being committed
            uploads, self._waiting = self._waiting, []
        try:
            self._store(uploads)
            serial = self._publish(any(each.is_new_project for each in uploads))
            for each in uploads:
                each.serial = serial
        except Exception as error:
            refused = error if isinstance(error, Refused) else Refused(500, _BUG)
            for each in uploads:
                each.error = each.error or refused
            if error is not refused:
                raise
        finally:
            for each in uploads:
                each.is_done = True

    # --- the transaction -----------------------------------------------------------------------

    def _store(self, uploads: Sequence[Ready]) -> None:
        """Place the files and add them to the catalog. Raises :class:`Refused` for all of them."""
        try:
            with self._catalog.change() as change:
                with self._kept.batch() as batch:
                    for each in uploads:
                        self._add(change, each, batch)
                sync_paths(sorted(self._changed_directories(uploads)))
        except BaseException as error:
            for each in uploads:
                self._undo(each)
            if isinstance(error, OSError | PyindexError):
                raise _refusal(error) from error
            raise

    def _add(self, change: Writer, upload: Ready, batch: Batch) -> None:
        """Add one file, unless there is a reason to refuse it, which is noted."""
        try:
            if not self._is_known(change, upload):
                self._ask(change, upload)
                self._place(change, upload)
                self._insert(change, upload, batch)
        except Refused as error:
            self._undo(upload)
            upload.error = error

    def _is_known(self, change: Writer, upload: Ready) -> bool:
        """Return whether the index has the file. Raises :class:`Refused` if it has another one of
        this name."""
        known = change.file(upload.index, upload.file.filename)
        if known is not None and known.sha256 != upload.file.sha256:
            raise exists(known)
        return known is not None

    def _ask(self, change: Writer, upload: Ready) -> None:
        """Ask the policy of the index. Raises :class:`Refused`."""
        try:
            check(change, self._spec, upload.index, upload.file, upload.metadata)
        except PolicyError as error:
            raise Refused(400, str(error), error.rule) from None

    def _place(self, change: Writer, upload: Ready) -> None:
        index, name = upload.index, upload.file.filename
        others = change.filenames(index, upload.file.project)
        upload.is_new_project = not others
        for other in others:
            if _letters(other) == _letters(name):
                raise Refused(400, f"File already exists, in another spelling ({other!r})")
        for path in change.unreachable_named(index, [name]).values():
            raise Refused(503, f"{path} cannot be read now, and may be this file; retry later")

        try:
            upload.spool.place()
        except FileExistsError:
            raise Refused(
                400,
                f"File already exists ({name!r}, which the index has not accepted; see `pyindex"
                " status`)",
            ) from None
        upload.is_placed = True

    def _insert(self, change: Writer, upload: Ready, batch: Batch) -> None:
        """Add a placed file to the catalog, with its metadata. The first sender owns a project."""
        change.by = upload.sender.actor
        owner = change.take_ownership(upload.index, upload.file.project, upload.sender.owner)
        if owner not in (upload.owner, upload.sender.owner):
            raise Refused(503, f"The project {upload.file.project} has a new owner; send it again")
        for rejection in change.add(upload.index, [upload.file]):
            change.remove(upload.index, [rejection.path])
            name = upload.file.filename
            raise Refused(400, f"File already exists ({name!r}): {rejection.reason}")
        if upload.metadata is not None:
            self._kept.write(batch, upload.index, upload.file.path, upload.metadata)

    def _undo(self, upload: Ready) -> None:
        """Take a placed file away again; where that fails, :func:`recover` does."""
        if not upload.is_placed:
            return
        try:
            upload.spool.withdraw()
            self._kept.remove(upload.index, upload.file.path)
        except OSError as error:
            log.error("%s: refused, and cannot be removed yet: %s", upload.file.path, error)
            upload.spool.release()
        upload.is_placed = False

    def _changed_directories(self, uploads: Sequence[Ready]) -> set[str]:
        return {str(self._spec.indexes[each.index].packages) for each in uploads if each.is_placed}

    # --- publication ---------------------------------------------------------------------------

    def _publish(self, has_new_projects: bool) -> int:
        try:
            if has_new_projects:
                with self._catalog.read() as reader:
                    decisionlog.append_new(self._spec.state, reader)  # their owners
            return self._publisher.publish(lists=has_new_projects)
        except (OSError, PyindexError) as error:
            log.error("uploads are stored, but not published: %s", error)
            raise Refused(
                503, "The file is stored and not published yet; the log of the server says why"
            ) from error


_DASHES = str.maketrans("_.", "--")


def _letters(filename: str) -> str:
    """Return a file name without differences of case and dashes."""
    return filename.lower().translate(_DASHES)


def exists(known: File) -> Refused:
    """Return the error for another file of a name that an index has: clients look for its first
    words."""
    return Refused(
        400,
        f"File already exists ({known.filename!r}, with blake2_256 hash {known.blake2b_256!r});"
        " give changed files another version or build number",
        EXISTS,
    )


def _refusal(error: OSError | PyindexError) -> Refused:
    """Return the error for clients instead of one that prevents all uploads of a transaction."""
    log.error("uploads are not stored: %s", error)
    if is_full(error):
        return full_disk()
    return Refused(503, "The server cannot store files now; its log says why")


def recover(spec: Spec, catalog: Catalog) -> None:
    """Take away what uploads of killed processes have left in the packages directories. Problems
    are logged: without write access nothing is left, and a missing disk comes back."""
    for name, index in spec.indexes.items():
        if index.accepts_uploads:
            try:
                _recover(spec, catalog, name)
            except (OSError, PyindexError) as error:
                log.warning("%s: unfinished uploads: %s", index.packages, error)


def _recover(spec: Spec, catalog: Catalog, index: str) -> None:
    kept = KeptMetadata(spec.state)
    for each in spool.unfinished(PackagesDirectory(spec.indexes[index].packages)):
        try:
            # Without the package file it was being removed, at its end.
            is_whole = bool(each.names) and not each.names[0].endswith(COMPANIONS)
            if is_whole and not _is_added(catalog, index, each):
                each.withdraw()
                kept.remove(index, each.names[0])
        except BaseException:
            each.release()  # or scans would accept what it has placed
            raise
        each.discard()


def _is_added(catalog: Catalog, index: str, upload: Spool) -> bool:
    with catalog.read() as reader:
        file = reader.file_at(index, upload.names[0])
    return file is not None and upload.is_file(file.path, file.inode)
