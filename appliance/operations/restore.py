"""Restoring a backup: its content replaces that of the catalog."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from appliance.atomic import make_directory
from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog, CatalogError
from appliance.catalog.sqlite import connect_to_read
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.operations import opening, tokencopies
from appliance.operations.backup import copy_catalog, copy_durably
from appliance.operations.rebuild import counts
from appliance.operations.replace import (
    damage,
    exclusive_replacement,
    install,
    saved_path,
    temporary_catalog,
)
from appliance.operations.update import update
from appliance.operations.watchlock import is_watched
from appliance.spec import Spec

_OF_INDEXES = ("file", "project", "yank")


def restore(spec: Spec, copy: Path) -> Iterator[str]:
    """Replace the content of the catalog with that of a backup in one transaction, then update
    catalog and pages from the packages directories.

    The previous catalog is saved beside it. Yields messages about what was done. Raises
    :class:`PyindexError` while a watcher is running and for a backup of other indexes,
    :class:`CatalogError` for a file that is no backup.
    """
    if is_watched(spec):
        raise PyindexError("a watcher is running; stop it, restore, and start it again")

    make_directory(spec.state)
    with exclusive_replacement(spec), temporary_catalog(spec) as temporary:
        copy_catalog(copy.absolute(), temporary)
        _check_indexes(spec, copy, temporary)
        Catalog(temporary, create=True).close()  # which migrates it
        yield from _replace(spec, temporary)
        yield from tokencopies.restore(spec, temporary)

    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        decisionlog.append_new(spec.state, reader)
    yield f"restored from {copy}"
    update(spec, rewrite=True)
    yield from counts(spec, catalog)


def _replace(spec: Spec, copy: Path) -> Iterator[str]:
    """Replace the content of the catalog, or the catalog itself if it cannot be opened."""

    def replace_rows(catalog: Catalog, at_least: int) -> None:
        def record(change: Writer) -> None:
            opening.record_published(spec, change)

        catalog.replace_rows(copy, "restored", at_least, record)

    def fill(catalog: Catalog) -> None:
        replace_rows(catalog, opening.last_known_serial(spec))

    if not spec.catalog.exists():
        install(spec, fill, "replaced")
        return

    known = max(opening.published(spec), decisionlog.last_serial(spec.state))
    saved = saved_path(spec.catalog, "replaced")
    try:
        copy_durably(spec.catalog, saved)
    except CatalogError:
        if damage(spec.catalog) is None:
            raise  # a full disk, for example
        saved = install(spec, fill, "replaced")
    else:
        replace_rows(Catalog(spec.catalog, create=True), known)
    yield f"previous catalog saved as {saved}"


def _check_indexes(spec: Spec, copy: Path, temporary: Path) -> None:
    """Raise an error for a copy of indexes that neither spec nor catalog have."""
    known = set(spec.indexes)
    with contextlib.suppress(CatalogError):
        known |= _indexes(spec.catalog)
    copied = _indexes(temporary)
    if others := sorted(copied - known):
        raise PyindexError(
            f"{copy}: backup of other indexes: it has {', '.join(sorted(copied))}, the spec"
            f" {', '.join(spec.indexes)}; to restore it, add {', '.join(others)} to the spec"
        )


def _indexes(catalog: Path) -> set[str]:
    """Return the names of the indexes in a catalog."""
    query = " UNION ".join(f'SELECT "index" FROM "{table}"' for table in _OF_INDEXES)  # noqa: S608
    try:
        with closing(connect_to_read(catalog)) as connection:
            return {index for (index,) in connection.execute(query)}
    except sqlite3.DatabaseError as error:
        raise CatalogError(f"{catalog}: cannot be read: {error}") from error
