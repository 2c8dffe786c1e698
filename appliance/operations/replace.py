"""Replacement of the catalog file; the previous catalog is saved beside it."""

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.atomic import make_directory, sync, unlink
from appliance.catalog import salvage, schema
from appliance.catalog.database import Catalog, CatalogError
from appliance.locks import locked
from appliance.operations.stamps import STAMP, unused
from appliance.spec import Spec

REPLACED = re.compile(rf"catalog\.sqlite\.(?:damaged|replaced)-{STAMP}(?:-wal|-shm)?")
"""Names that :func:`saved_path` gives, and those of SQLite's files beside them."""
UNFINISHED = re.compile(
    r"\.catalog[-.0-9a-zA-Z]*\.[0-9a-f]{16}(?:-wal|-shm|-journal)?"
    r"|\.[a-z]+\.json\.(?:[0-9a-f]{12}-)?[0-9]+"
)
"""Names of unfinished catalogs, backups and records, of a process that was killed."""


@contextmanager
def exclusive_replacement(spec: Spec) -> Iterator[None]:
    """Hold the lock for a replacement: one process at a time replaces the catalog."""
    make_directory(spec.state)
    with locked(spec.state / "recover.lock"):
        yield


@contextmanager
def temporary_catalog(spec: Spec) -> Iterator[Path]:
    """Provide a path in the state directory for an unfinished catalog, which is removed at the
    end."""
    path = spec.state / f".catalog.{secrets.token_hex(8)}"
    try:
        yield path
    finally:
        for suffix in ("-wal", "-shm", "-journal", ""):
            unlink(path.with_name(path.name + suffix))


def install(spec: Spec, fill: Callable[[Catalog], None], reason: str) -> Path:
    """Let ``fill`` write a new catalog, and replace the present one atomically.

    Returns the path at which the previous catalog is saved, if there was one; ``reason`` is a word
    in its name.
    """
    saved = saved_path(spec.catalog, reason)
    with temporary_catalog(spec) as path:
        catalog = Catalog(path, create=True)
        fill(catalog)
        catalog.close()
        sync(spec.state)

        # The old WAL first: SQLite must never read it as that of the new catalog.
        for suffix in ("-wal", "-shm"):
            companion = spec.catalog.with_name(spec.catalog.name + suffix)
            with contextlib.suppress(FileNotFoundError):
                companion.rename(saved.with_name(saved.name + suffix))
        with contextlib.suppress(FileNotFoundError):
            os.link(spec.catalog, saved)
        path.replace(spec.catalog)
        sync(spec.state)
    return saved


def saved_path(catalog: Path, reason: str) -> Path:
    """Return an unused path beside a catalog, to save it there."""
    return unused(lambda stamp: catalog.with_name(f"{catalog.name}.{reason}-{stamp}"))


def damage(catalog: Path) -> str | None:
    """Return the first problem of a catalog as a database or in a row; ``None`` if it is intact."""
    try:
        Catalog(catalog).check()
    except CatalogError as error:
        return str(error).removeprefix(f"catalog {catalog}: ")
    if not salvage.has_our_tables(catalog):
        return "malformed: unexpected table definitions"
    for table in schema.metadata.tables:
        if problems := salvage.salvage(catalog, table).problems:
            return problems[0]
    return None
