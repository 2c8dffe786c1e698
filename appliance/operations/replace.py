"""One catalog in the place of another, as files: the one until then is kept beside it."""

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
"""Names that :func:`kept_path` gives, and those of the logs beside."""
UNFINISHED = re.compile(r"\.catalog[-.0-9a-zA-Z]*\.[0-9a-f]{16}(?:-wal|-shm|-journal)?")
"""Names of what a kill left of a catalog or a backup that was being written."""


@contextmanager
def alone(spec: Spec) -> Iterator[None]:
    """One process at a time puts another catalog in place."""
    make_directory(spec.state)
    with locked(spec.state / "recover.lock"):
        yield


@contextmanager
def temporary_catalog(spec: Spec) -> Iterator[Path]:
    """A path in the state directory for a catalog that is not one yet; what is there is removed at
    the end."""
    path = spec.state / f".catalog.{secrets.token_hex(8)}"
    try:
        yield path
    finally:
        for suffix in ("-wal", "-shm", "-journal", ""):
            unlink(path.with_name(path.name + suffix))


def install(spec: Spec, fill: Callable[[Catalog], None], why: str) -> Path:
    """Let ``fill`` write a new catalog, and put it in place when it is whole; what was there is
    kept, and cannot be opened perhaps: returns where. ``why`` is a word of its name."""
    kept = kept_path(spec.catalog, why)
    with temporary_catalog(spec) as path:
        catalog = Catalog(path, create=True)
        fill(catalog)
        catalog.close()
        sync(spec.state)

        # The old log first: it must never be taken for the log of the new catalog.
        for suffix in ("-wal", "-shm"):
            part = spec.catalog.with_name(spec.catalog.name + suffix)
            with contextlib.suppress(FileNotFoundError):
                part.rename(kept.with_name(kept.name + suffix))
        with contextlib.suppress(FileNotFoundError):
            os.link(spec.catalog, kept)
        path.replace(spec.catalog)
        sync(spec.state)
    return kept


def kept_path(catalog: Path, why: str) -> Path:
    """An unused path beside a catalog, for what it was until now."""
    return unused(lambda stamp: catalog.with_name(f"{catalog.name}.{why}-{stamp}"))


def damage(catalog: Path) -> str | None:
    """What is wrong with a catalog: as a database, or in any row of it."""
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
