"""A backup put in the place of the catalog."""

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
from appliance.operations import opening
from appliance.operations.backup import copy_catalog, copy_durably
from appliance.operations.rebuild import counts
from appliance.operations.replace import alone, damage, install, kept_path, temporary_catalog
from appliance.operations.update import update
from appliance.operations.watchlock import is_watched
from appliance.spec import Spec

_OF_INDEXES = ("file", "project", "yank")


def restore(spec: Spec, copy: Path) -> Iterator[str]:
    """Put what a backup has in the place of all that the catalog has, in one transaction, and bring
    it and the pages up to the folder.

    The catalog until then is kept beside it. Yields lines that say what was done; raises
    :class:`PyindexError` while the index runs and for a backup of other indexes,
    :class:`CatalogError` for what is no backup.
    """
    if is_watched(spec):
        raise PyindexError("a watcher is running; stop it, restore, and start it again")

    make_directory(spec.state)
    with alone(spec), temporary_catalog(spec) as temporary:
        copy_catalog(copy.absolute(), temporary)
        _check_indexes(spec, copy, temporary)
        Catalog(temporary, create=True).close()  # which brings it up to this version
        yield from _replace(spec, temporary)

    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        decisionlog.follow(spec.state, reader)
    yield f"restored from {copy}"
    update(spec, rewrite=True)
    yield from counts(spec, catalog)


def _replace(spec: Spec, copy: Path) -> Iterator[str]:
    """Let the catalog have what ``copy`` has; where there is none to be opened, make one."""

    def take_over(catalog: Catalog, at_least: int) -> None:
        def remember(change: Writer) -> None:
            opening.remember_published(spec, change)

        catalog.take_over(copy, "restored", at_least, remember)

    def fill(catalog: Catalog) -> None:
        take_over(catalog, opening.evidence(spec))

    if not spec.catalog.exists():
        install(spec, fill, "replaced")
        return

    known = max(opening.published(spec), decisionlog.last_serial(spec.state))
    kept = kept_path(spec.catalog, "replaced")
    try:
        copy_durably(spec.catalog, kept)
    except CatalogError:
        if damage(spec.catalog) is None:
            raise  # the disk is full, say
        kept = install(spec, fill, "replaced")
    else:
        take_over(Catalog(spec.catalog, create=True), known)
    yield f"previous catalog saved as {kept}"


def _check_indexes(spec: Spec, copy: Path, read: Path) -> None:
    """Refuse a copy of other indexes; one that left the spec is known to the catalog until now."""
    known = set(spec.indexes)
    with contextlib.suppress(CatalogError):
        known |= _indexes(spec.catalog)
    found = _indexes(read)
    if others := sorted(found - known):
        raise PyindexError(
            f"{copy}: backup of other indexes: it has {', '.join(sorted(found))}, the spec"
            f" {', '.join(spec.indexes)}; to restore it, add {', '.join(others)} to the spec"
        )


def _indexes(catalog: Path) -> set[str]:
    """The indexes that a catalog has anything of."""
    query = " UNION ".join(f'SELECT "index" FROM "{table}"' for table in _OF_INDEXES)  # noqa: S608
    try:
        with closing(connect_to_read(catalog)) as connection:
            return {index for (index,) in connection.execute(query)}
    except sqlite3.DatabaseError as error:
        raise CatalogError(f"{catalog}: cannot be read: {error}") from error
