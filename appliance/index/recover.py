"""A catalog anew from the package files, with what can be saved of the old one."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from appliance.index import store
from appliance.index.catalog import Catalog, CatalogError
from appliance.index.watch import Watch
from appliance.spec import Spec

# What no package file tells: the decisions, and the history.
_KEPT = ("yank", "project", "journal")


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
        aside = _set_aside(spec.catalog)
        yield f"the damaged catalog is kept as {aside}"
        saved = {table: _salvage(aside, table) for table in _KEPT}
        catalog = Catalog(spec.catalog, create=True)
        catalog.restore(saved, at_least=store.last_serial(spec))
        yield "taken over: " + ", ".join(f"{len(saved[table])} rows of {table}" for table in _KEPT)
    Watch(spec).once(again=True)
    with catalog.read() as reader:
        for index in spec.indexes:
            projects, files = reader.counts(index)
            yield f"{index}: {projects} projects, {files} files"


def _set_aside(path: Path) -> Path:
    """Rename the catalog and its log, so that nothing of them is overwritten."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
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
