"""The catalog anew: from the package files, the decisions log and what can be saved of the old one;
or from a backup."""

import contextlib
import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

from appliance import atomic
from appliance.catalog import decisionlog, salvage, schema
from appliance.catalog.database import Catalog, CatalogError
from appliance.catalog.journal import DECIDING
from appliance.catalog.sqlite import connect_to_read
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.index.model import Change, Decisions
from appliance.operations import opening
from appliance.operations.update import update
from appliance.operations.watchlock import is_watched
from appliance.site.publish import Publisher
from appliance.spec import Spec
from appliance.text import has_controls

_NOTES = ("begun", "recovered", "rebuilt", "restored")  # of the whole, see Writer.note
_OF_INDEXES = ("file", "project", "yank")
# A journal runs ahead of what is published and logged by no more changes than this.
_AHEAD = 1_000_000


def rebuild(spec: Spec, accept_changes: bool = False) -> Iterator[str]:
    """Read every package file again, correct the catalog, write every page.

    A damaged catalog is set aside first. Its decisions come from the log, what is known of the
    files from the rows that can be read. A file whose bytes changed while its size, mtime and inode
    did not is refused, unless ``accept_changes``. Yields lines that say what was done, and what is
    lost.
    """
    with _alone(spec):
        if spec.catalog.exists() and (damage := _damage(spec.catalog)):
            yield f"catalog {spec.catalog}: {damage}"
            yield from _rescue(spec)
    catalog = opening.open_catalog(spec, create=True)
    with catalog.change() as change:
        change.count()
    yield from _agree(spec, catalog)
    if accept_changes:
        with catalog.change() as change:
            change.doubt()
    update(spec, reread=True)
    yield from _counts(spec, catalog)


def _damage(catalog: Path) -> str | None:
    """What is wrong with a catalog: as a database, or in any row of it."""
    try:
        Catalog(catalog).check()
    except CatalogError as error:
        return str(error).removeprefix(f"catalog {catalog}: ")
    if not salvage.has_our_tables(catalog):
        return "malformed: its tables are not as they were made"
    for table in schema.metadata.tables:
        if problems := salvage.salvage(catalog, table).problems:
            return problems[0]
    return None


def _rescue(spec: Spec) -> Iterator[str]:
    """Put a new catalog in the place of a damaged one, with all that is known of it."""
    logged = decisionlog.read(spec.state)
    begin_after = opening.evidence(spec)
    saved = {table: salvage.salvage(spec.catalog, table).rows for table in schema.metadata.tables}
    files = salvage.files(saved["file"])
    projects = salvage.projects(saved["project"])
    journal = salvage.journal(saved["journal"], begin_after + _AHEAD)
    later = [
        Change(**row)
        for row in journal
        if row["action"] in DECIDING and row["serial"] > logged.serial
    ]
    if logged.lines:
        decided = logged.decided()
        _add(decided, decisionlog.replay_changes(later))
    else:
        decided = _decided(salvage.yanks(saved["yank"]), projects)

    def fill(change: Writer) -> None:
        change.put("file", files)
        change.put(
            "project", [row | {"status": "active", "status_reason": None} for row in projects]
        )
        change.put("journal", journal)
        change.put("mark", [row for row in saved["mark"] if row["name"] == "backup"])
        change.decide(decided)
        change.count()
        change.note("rebuilt", begin_after)
        held = saved["refused"] + saved["unseen"]
        for index in spec.indexes:
            paths = [row["path"] for row in held if row["index"] == index]
            change.remember(index, [path for path in paths if not has_controls(path)])
        opening.remember_published(spec, change)

    aside = _install(spec, fill, "damaged")
    yield f"the damaged catalog is kept as {aside}"
    yield from logged.problems
    source = "the decisions log" if logged.lines else "what can be read of it: there was no log"
    yield f"{len(decided)} decisions (yanks, statuses) from {source}"
    paths = {(row["index"], row["path"]) for row in files}
    yield f"taken over: {len(paths)} files, {len(journal)} lines of the journal"
    if unread := list(_unread(journal, max(opening.published(spec), logged.serial))):
        yield f"history that is lost: {', '.join(unread)}"


def _unread(journal: list[salvage.Row], known: int) -> Iterator[str]:
    """Which parts of the history could not be read, given that there was a serial ``known``."""
    if not journal:
        yield "all of it"
        return
    journal = sorted(journal, key=lambda row: row["serial"])
    first, last = journal[0], journal[-1]
    if first["serial"] > 1 and first["action"] not in _NOTES:
        yield f"before {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(first['time'] / 1e6))}"
    between = sum(
        row["serial"] - before["serial"] - 1
        for before, row in pairwise(journal)
        if row["action"] not in _NOTES  # which leaves serials out
    )
    if between > 0:
        yield f"{between} lines before serial {last['serial']}"
    if known > last["serial"]:
        yield f"after serial {last['serial']}"


def _decided(yanks: list[salvage.Row], projects: list[salvage.Row]) -> Decisions:
    """The decisions that rows of the catalog tell."""
    return Decisions(
        True,
        {(row["index"], row["filename"]): row["reason"] for row in yanks},
        {
            (row["index"], row["name"]): (row["status"], row["status_reason"])
            for row in projects
            if row["status"] != "active"
        },
    )


def _add(decided: Decisions, later: Decisions) -> None:
    decided.yanks.update(later.yanks)
    decided.statuses.update(later.statuses)


def _agree(spec: Spec, catalog: Catalog) -> Iterator[str]:
    """Where catalog and log differ in what was decided, the log is right if its chain is whole: a
    damaged character of a name shows nowhere else."""
    with catalog.change() as change:
        log = decisionlog.read(spec.state)
        if not log.lines or decisionlog.is_behind(log, change):
            return
        if log.decided().holding() == change.decisions():
            yield from log.problems
            return
        if not log.problems:
            change.decide(log.decided())
            change.note("recovered", 0)
    yield from log.problems
    if log.problems:
        yield "the decisions log is not whole, and differs from the catalog: the catalog's hold"
    else:
        count = len(log.decided().holding())
        yield f"the catalog had other decisions than the log: the log's {count} hold now"


def _counts(spec: Spec, catalog: Catalog) -> Iterator[str]:
    with catalog.read() as reader:
        for index in spec.indexes:
            projects, files = reader.counts(index)
            yield f"{index}: {projects} projects, {files} files"


def backup(spec: Spec) -> Path:
    """Write a copy of the catalog as it is at one moment, and remove copies of it beyond
    ``backup.keep``. Whatever else is in the directory stays.

    The copy is whole, checked and durable when it appears. Returns its path; raises
    :class:`CatalogError` or ``OSError``.
    """
    mark = opening.mark(spec, _number(spec))
    folder = spec.backup.directory
    folder.mkdir(0o750, parents=True, exist_ok=True)
    place = folder / f"catalog-{mark}-{time.strftime(_STAMP)}.sqlite"
    _keep(spec.catalog, place)
    own = [copy for found, copy in opening.copies(folder) if found == mark and copy != place]
    for old in own[: max(0, len(own) + 1 - spec.backup.keep)]:
        old.unlink()
    return place


def _number(spec: Spec) -> int:
    """The number by which copies of this catalog are known."""
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        number = reader.mark("backup")
    if number == 0:
        number = 1 + secrets.randbelow(1 << 62)
        catalog.set_mark("backup", number)
    return number


def restore(spec: Spec, copy: Path) -> Iterator[str]:
    """Put what a backup has in the place of all that the catalog has, in one transaction, and bring
    it and the pages up to the folder.

    The catalog until then is kept beside it. Yields lines that say what was done; raises
    :class:`PyindexError` while the index runs and for a backup of other indexes,
    :class:`CatalogError` for what is no backup.
    """
    if is_watched(spec):
        raise PyindexError("the index is running; stop it, restore, and start it again")
    atomic.make_directory(spec.state)
    with _alone(spec), _temporary(spec) as temporary:
        _copy(copy.absolute(), temporary)
        _check_indexes(spec, copy, temporary)
        Catalog(temporary, create=True).close()  # which brings it up to this version
        known = max(opening.published(spec), decisionlog.last_serial(spec.state))
        if spec.catalog.exists():
            yield f"the catalog until now is kept as {_replace(spec, temporary, known)}"
        else:
            _install(spec, None, "replaced", temporary)
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        decisionlog.follow(spec.state, reader)
    yield f"restored from {copy}"
    update(spec)
    publisher = Publisher(spec, catalog)
    publisher.publish(everything=True)
    publisher.publish_lists()
    yield from _counts(spec, catalog)


def _replace(spec: Spec, copy: Path, known: int) -> Path:
    """Let the catalog have what ``copy`` has; returns where it is kept as it was."""
    aside = _aside(spec.catalog, "replaced")
    try:
        _keep(spec.catalog, aside)
    except CatalogError:
        if _damage(spec.catalog) is None:
            raise  # the disk is full, say
        return _install(spec, None, "replaced", copy)
    Catalog(spec.catalog, create=True).take_over(copy, "restored", known, _remember(spec))
    return aside


def _remember(spec: Spec) -> Callable[[Writer], None]:
    return lambda change: opening.remember_published(spec, change)


# --- catalogs as files -------------------------------------------------------------------------


@contextmanager
def _alone(spec: Spec) -> Iterator[None]:
    """One at a time puts another catalog in place; the lock ends with its holder."""
    atomic.make_directory(spec.state)
    with (spec.state / "recover.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _temporary(spec: Spec) -> Iterator[Path]:
    """A name in the state directory for a catalog that is not one yet."""
    place = spec.state / f".catalog.{secrets.token_hex(8)}"
    try:
        yield place
    finally:
        for suffix in ("-wal", "-shm", "-journal", ""):
            atomic.unlink(place.with_name(place.name + suffix))


def _install(
    spec: Spec, fill: Callable[[Writer], None] | None, why: str, copy: Path | None = None
) -> Path:
    """Build a catalog whole and rename it into its place; what cannot be opened there is kept
    beside it, under the name that is returned."""
    aside = _aside(spec.catalog, why)
    with _temporary(spec) as place:
        catalog = Catalog(place, create=True)
        if copy is not None:
            catalog.take_over(copy, "restored", opening.evidence(spec), _remember(spec))
        if fill is not None:
            with catalog.change() as change:
                fill(change)
        catalog.close()
        atomic.sync(spec.state)
        # Its log first: it must never be taken for the log of the new one.
        for suffix in ("-wal", "-shm"):
            part = spec.catalog.with_name(spec.catalog.name + suffix)
            with contextlib.suppress(FileNotFoundError):
                part.rename(aside.with_name(aside.name + suffix))
        with contextlib.suppress(FileNotFoundError):
            os.link(spec.catalog, aside)
        place.replace(spec.catalog)
        atomic.sync(spec.state)
    return aside


def _keep(catalog: Path, place: Path) -> None:
    """A sound and durable copy of a catalog at ``place``, which appears whole."""
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        _copy(catalog, temporary)
        atomic.sync(place.parent)
        temporary.rename(place)
        atomic.sync(place.parent)
    finally:
        atomic.unlink(temporary)


_STAMP = "%Y%m%dT%H%M%S"


def _aside(path: Path, why: str) -> Path:
    """A name beside ``path`` that nothing has."""
    stem = f"{path.name}.{why}-{time.strftime(_STAMP)}"
    names = (stem, *(f"{stem}.{number}" for number in range(1, 1000)))
    return next(place for name in names if not (place := path.with_name(name)).exists())


def _check_indexes(spec: Spec, copy: Path, read: Path) -> None:
    """Refuse a copy of other indexes; one that left the spec is known to the catalog until now."""
    known = set(spec.indexes)
    with contextlib.suppress(CatalogError):
        known |= _indexes(spec.catalog)
    found = _indexes(read)
    if strange := sorted(found - known):
        raise PyindexError(
            f"{copy} is of other indexes: it has {', '.join(sorted(found))}, the spec"
            f" {', '.join(spec.indexes)}; to restore it all the same, give the spec"
            f" {', '.join(strange)} too"
        )


def _indexes(catalog: Path) -> set[str]:
    """The indexes that a catalog has anything of."""
    query = " UNION ".join(f'SELECT "index" FROM "{table}"' for table in _OF_INDEXES)  # noqa: S608
    try:
        with closing(connect_to_read(catalog)) as connection:
            return {index for (index,) in connection.execute(query)}
    except sqlite3.DatabaseError as error:
        raise CatalogError(f"{catalog}: cannot be read: {error}") from error


def _copy(source: Path, place: Path) -> None:
    """A sound copy of a catalog as it is at this moment, of mode 0640."""
    if not source.exists():
        raise CatalogError(f"{source}: no such file")
    place.touch(mode=0o640, exist_ok=False)
    try:
        with closing(connect_to_read(source)) as connection:
            connection.execute("VACUUM INTO ?", (str(place),))
        with closing(connect_to_read(place)) as connection:
            connection.execute("SELECT max(serial) FROM journal")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise CatalogError(f"{source}: cannot be copied: {found}")
