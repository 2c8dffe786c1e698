"""Arrivals: staged files of one index become visible together, or none of them does.

The record ``<state>/loading.json`` is durable before the first file is placed, and is removed after
the transaction that adds all files to the catalog; scans leave its files out meanwhile (see
:mod:`appliance.incoming.arriving`). After a kill before the transaction :func:`recover` takes the
placed files away; after it, only the receipt has to be written.
"""

import contextlib
import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.atomic import Batch, make_directory, remove_empty, sync_paths, unlink
from appliance.catalog.database import Catalog
from appliance.catalog.metadata import KeptMetadata
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.incoming.arriving import NAME
from appliance.incoming.directory import PackagesDirectory
from appliance.index.model import File
from appliance.index.names import COMPANIONS
from appliance.locks import try_lock
from appliance.operations.actor import operator
from appliance.spec import Spec

log = logging.getLogger(__name__)

HIDDEN = ".pyindex-"
"""Beginning of the names of our directories in a packages directory; scans skip hidden names."""
STAGING = f"{HIDDEN}load-"
"""Beginning of the name of a staging directory of a load."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Files that arrive together.

    Attributes:
        index: The name of the index.
        packages: Its packages directory, without symbolic links.
        staging: The directory in it that has the files, at their paths.
        paths: The paths of the files, and of their companions.
        receipt: The path of the receipt, which is written at the end; "" for none.
        text: Its content.
    """

    index: str
    packages: str
    staging: str
    paths: Sequence[str]
    receipt: str
    text: str


@contextlib.contextmanager
def locked(spec: Spec) -> Iterator[None]:
    """Hold the lock of all loads into this state directory, after the recovery of an interrupted
    one. Raises :class:`PyindexError` if another load is running."""
    make_directory(spec.state)
    with (spec.state / "load.lock").open("a") as file:
        if not try_lock(file):
            raise PyindexError(
                f"state directory {spec.state}: another load is running; wait until it has ended"
            )
        _recover(spec)
        yield


def is_recorded(spec: Spec) -> bool:
    """Return whether files are arriving, or were when a load was killed."""
    return (spec.state / NAME).exists()


def recover(spec: Spec) -> None:
    """Complete or undo a load that was killed, unless a load is running now.

    A service that may not write to the packages directory leaves that to the next load; the files
    stay invisible.
    """
    if not is_recorded(spec):
        return
    with (spec.state / "load.lock").open("a") as file:
        if try_lock(file):
            try:
                _recover(spec)
            except OSError as error:
                log.warning(
                    "%s: a load was interrupted, and is not undone: %s; load again",
                    error.filename,
                    error.strerror,
                )


def arrive(
    spec: Spec,
    catalog: Catalog,
    arrival: Arrival,
    files: Sequence[File],
    decide: Callable[[Writer], None],
    check: Callable[[Writer], None] = lambda change: None,
) -> None:
    """Place the files of an arrival, and add them to the catalog in one transaction, in which
    ``check`` is called before that and ``decide`` after it; then write the receipt and remove the
    staging directory.

    Raises :class:`PyindexError` or ``OSError`` with nothing changed, or if all is there but the
    receipt.
    """
    with Batch() as batch:
        batch.write(spec.state / NAME, json.dumps(asdict(arrival)).encode())
    try:
        for path in arrival.paths:
            _place(arrival, path)
        _sync(arrival)
        _add(catalog, arrival, files, decide, check)
    finally:
        _end(spec, arrival)


def _place(arrival: Arrival, path: str) -> None:
    """Link a staged file to its path, which must be free."""
    target = Path(arrival.packages, path)
    if link := PackagesDirectory(Path(arrival.packages)).link_above(path):
        raise PyindexError(f"{target}: symbolic link at {link}; replace it with a directory")
    make_directory(target.parent)
    try:
        link_or_move(f"{arrival.staging}/{path}", str(target))
    except FileExistsError:
        raise PyindexError(f"{target}: exists, appeared during the load; load again") from None
    except OSError as error:
        advice = "; make it part of the packages directory's file system" * (
            error.errno == errno.EXDEV
        )
        raise PyindexError(f"{target}: {error.strerror}{advice}") from None


def link_or_move(source: str, target: str) -> None:
    """Give a file a second name, which must be free. Where the file system has no links, rename
    it. Raises ``OSError``."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        Path(source).rename(target)


def _sync(arrival: Arrival) -> None:
    """Make the names of the placed files durable."""
    directories = {str(Path(arrival.packages, path).parent) for path in arrival.paths}
    parents = {str(parent) for each in directories for parent in Path(each).parents}
    inside = {each for each in parents if each.startswith(arrival.packages)}
    sync_paths(sorted(directories | inside))


def _add(
    catalog: Catalog,
    arrival: Arrival,
    files: Sequence[File],
    decide: Callable[[Writer], None],
    check: Callable[[Writer], None],
) -> None:
    """Add the files to the catalog, all or none."""
    names = [file.filename for file in files]
    with catalog.change(operator()) as change:
        check(change)
        for name, path in change.unreachable_named(arrival.index, names).items():
            raise PyindexError(
                f"{path}: {name} may be there, and cannot be read now; mount its disk, then load"
                " again"
            )
        for rejection in change.add(arrival.index, files):
            raise PyindexError(f"{rejection.path}: {rejection.reason}; load again")
        decide(change)
        change.publish_together()


# --- the end --------------------------------------------------------------------------------------


def _recover(spec: Spec) -> None:
    """Complete or undo what the record says."""
    try:
        arrival = Arrival(**json.loads((spec.state / NAME).read_bytes()))
    except FileNotFoundError:
        return
    except (ValueError, TypeError) as error:
        log.error("%s: not readable (%s); removed", spec.state / NAME, error)
        unlink(spec.state / NAME)
        return

    if not _end(spec, arrival):
        log.warning("%s: undid a load that was interrupted", arrival.packages)


def _end(spec: Spec, arrival: Arrival) -> bool:
    """Complete the arrival if its transaction was committed, otherwise undo it; return whether it
    is complete."""
    is_added = _is_added(spec, arrival)
    if is_added:
        _complete(spec, arrival)
    else:
        _undo(spec, arrival)
    return is_added


def _is_added(spec: Spec, arrival: Arrival) -> bool:
    """Return whether the transaction was committed: the catalog has the staged files, and no others
    that an operator has copied to their paths."""
    if arrival.receipt and Path(arrival.receipt).exists():
        return True
    path = next(path for path in arrival.paths if not path.endswith(COMPANIONS))
    with Catalog(spec.catalog).read() as reader:
        file = reader.file_at(arrival.index, path)
    return file is not None and file.inode in _inodes(arrival, path)


def _inodes(arrival: Arrival, path: str) -> Iterator[int]:
    """Yield the inode of a staged file; of the placed one if it was moved there."""
    for directory in (arrival.staging, arrival.packages):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            yield os.lstat(f"{directory}/{path}").st_ino
            return


def _complete(spec: Spec, arrival: Arrival) -> None:
    try:
        if arrival.receipt:
            write_receipt(Path(arrival.receipt), arrival.text)
    except OSError as error:
        raise PyindexError(
            f"{arrival.receipt}: {error.strerror}; loaded, but without receipt: correct that, then"
            " load again"
        ) from error
    shutil.rmtree(arrival.staging, ignore_errors=True)
    unlink(spec.state / NAME)


def _undo(spec: Spec, arrival: Arrival) -> None:
    """Take the placed files away. Where the file system has no links, move them
    into the staging directory."""
    kept = KeptMetadata(spec.state)
    for path in arrival.paths:
        staged, placed = f"{arrival.staging}/{path}", f"{arrival.packages}/{path}"
        if not os.path.lexists(staged):
            make_directory(staged.rpartition("/")[0])
            with contextlib.suppress(FileNotFoundError):
                Path(placed).rename(staged)
        elif _is_same(staged, placed):
            unlink(placed)
        remove_empty(placed.rpartition("/")[0], arrival.packages)
        kept.remove(arrival.index, path)
        kept.prune(arrival.index, path)
    sync_paths([arrival.packages])
    unlink(spec.state / NAME)


def _is_same(first: str, second: str) -> bool:
    try:
        return os.path.samestat(os.lstat(first), os.lstat(second))
    except (FileNotFoundError, NotADirectoryError):
        return False


def write_receipt(path: Path, text: str) -> None:
    """Write a receipt durably."""
    with Batch() as batch:
        batch.write(path, text.encode())
