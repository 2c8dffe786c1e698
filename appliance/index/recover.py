"""The catalog anew: from the package files, with what can be saved of the old one; or from a
backup."""

import contextlib
import hashlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from appliance.errors import PyindexError
from appliance.index import store
from appliance.index.catalog import Catalog, CatalogError
from appliance.index.publish import Publisher
from appliance.index.watch import Watch, is_alive
from appliance.spec import Spec

# What no package file tells: the decisions, and the history.
_KEPT = ("yank", "project", "journal")
_OF_INDEXES = ("file", "project", "yank")


def rebuild(spec: Spec) -> Iterator[str]:
    """Read every package file again, correct the catalog, write every page.

    A damaged catalog is set aside first, and its decisions are taken over as far as they can be
    read. Yields lines that say what was done.
    """
    try:
        catalog = Catalog(spec.catalog, create=True)
        catalog.check()
    except CatalogError as error:
        yield str(error)
        aside = _set_aside(spec.catalog, "damaged")
        yield f"the damaged catalog is kept as {aside}"
        saved = {table: _salvage(aside, table) for table in _KEPT}
        catalog = Catalog(spec.catalog, create=True)
        catalog.restore(saved)
        catalog.go_on(store.last_serial(spec), "rebuilt")
        yield "taken over: " + ", ".join(f"{len(saved[table])} rows of {table}" for table in _KEPT)
    Watch(spec).once(again=True)
    yield from _counts(spec, catalog)


def _counts(spec: Spec, catalog: Catalog) -> Iterator[str]:
    with catalog.read() as reader:
        for index in spec.indexes:
            projects, files = reader.counts(index)
            yield f"{index}: {projects} projects, {files} files"


def backup(spec: Spec) -> Path:
    """Write a copy of the catalog as it is at one moment, and remove copies of it beyond
    ``backup.keep``. Copies of other catalogs in the directory stay.

    The copy is whole, checked and durable when it appears. Returns its path; raises
    :class:`CatalogError` or ``OSError``.
    """
    folder = spec.backup.directory
    folder.mkdir(0o750, parents=True, exist_ok=True)
    own = f"catalog-{_mark(spec)}"
    place = folder / f"{own}-{time.strftime(_STAMP)}.sqlite"
    temporary = folder / f".{place.name}.{os.getpid()}"
    try:
        _copy(spec.catalog, temporary)
        store.sync(folder)
        temporary.rename(place)
        store.sync(folder)
    finally:
        store.unlink(temporary)
    copies = sorted(each for each in folder.glob(f"{own}-*.sqlite") if each != place)
    for old in copies[: max(0, len(copies) + 1 - spec.backup.keep)]:
        old.unlink()
    return place


def _mark(spec: Spec) -> str:
    """Eight hex digits that tell whose the copies in a directory are.

    They are of the state's path, and of a number in the catalog: hosts that share a disk for their
    backups have the same paths.
    """
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        number = reader.mark("backup")
    if number == 0:
        number = 1 + secrets.randbelow(1 << 62)
        catalog.set_mark("backup", number)
    return hashlib.sha256(os.fsencode(f"{number} {spec.state.resolve()}")).hexdigest()[:8]


def restore(spec: Spec, copy: Path) -> Iterator[str]:
    """Put a backup in the catalog's place, and bring it and the pages up to the folder.

    The catalog that it replaces is kept beside it. Yields lines that say what was done; raises
    :class:`PyindexError` while the index runs and for a backup of other indexes,
    :class:`CatalogError` for what is no backup.
    """
    if is_alive(spec):
        raise PyindexError("the index is running; stop it, restore, and start it again")
    last = store.last_serial(spec)
    store.make_directory(spec.state)
    temporary = spec.catalog.with_name(f".restored.{os.getpid()}")
    try:
        _copy(copy.absolute(), temporary)
        _check_indexes(spec, copy, temporary)
        store.sync(spec.state)
        if spec.catalog.exists():
            with contextlib.suppress(CatalogError), Catalog(spec.catalog).read() as reader:
                last = max(last, reader.serial())
            yield f"the catalog until now is kept as {_set_aside(spec.catalog, 'replaced')}"
        temporary.rename(spec.catalog)
    finally:
        store.unlink(temporary)
    catalog = Catalog(spec.catalog, create=True)
    catalog.go_on(last, "restored")
    yield f"restored from {copy}"
    Watch(spec).once()
    Publisher(spec, catalog).publish(everything=True)
    Publisher(spec, catalog).publish_lists()
    yield from _counts(spec, catalog)


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
        with closing(sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True)) as connection:
            return {index for (index,) in connection.execute(query)}
    except sqlite3.DatabaseError as error:
        raise CatalogError(f"{catalog}: cannot be read: {error}") from error


def _copy(source: Path, place: Path) -> None:
    """A sound copy of a catalog as it is at this moment, of mode 0640."""
    if not source.exists():
        raise CatalogError(f"{source}: no such file")
    place.touch(mode=0o640, exist_ok=False)
    try:
        with closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(place),))
        with closing(sqlite3.connect(place)) as connection:
            connection.execute("SELECT max(serial) FROM journal")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise CatalogError(f"{source}: cannot be copied: {found}")


_STAMP = "%Y%m%dT%H%M%S"


def _set_aside(path: Path, why: str) -> Path:
    """Rename the catalog and its log, so that nothing of them is overwritten."""
    aside = path.with_name(f"{path.name}.{why}-{time.strftime(_STAMP)}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _salvage(path: Path, table: str) -> list[dict[str, Any]]:
    """The rows of ``table`` up to the first that cannot be read."""
    rows: list[dict[str, Any]] = []
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - of _KEPT
                rows.append(dict(row))
    except sqlite3.DatabaseError:
        pass  # what came before the damage is what can be had
    return rows
