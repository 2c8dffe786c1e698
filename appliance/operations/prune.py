"""What only grows, cut back to what ``keep`` in the spec says. Nothing is removed but what has a
name that we give, and was made longer ago than that."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from appliance.atomic import unlink
from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog
from appliance.operations.opening import open_catalog
from appliance.operations.replace import REPLACED, UNFINISHED
from appliance.operations.stamps import seconds
from appliance.operations.trash import TRASHED
from appliance.spec import Spec

_UNFINISHED_FOR = timedelta(days=1)
# The mark that has the serial up to which the journal's lines are gone.
FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed, or would be."""

    what: str
    size: int = 0


def prune(spec: Spec, dry_run: bool = False) -> Iterator[Removed]:
    """Remove what is older than the spec keeps it; with ``dry_run`` only tell what it would be."""
    now = time.time()
    old = [
        *_named(spec.state / "trash", TRASHED, now - spec.keep.trash.total_seconds()),
        *_named(spec.state, REPLACED, now - spec.keep.catalogs.total_seconds()),
        *_unfinished(spec.state, now),
        *_unfinished(spec.backup.directory, now),
    ]
    for path in old:
        size = path.lstat().st_size
        if not dry_run:
            unlink(path)
        yield Removed(str(path), size)

    catalog = open_catalog(spec)
    lines = _journal(catalog, now - spec.keep.journal.total_seconds(), dry_run)
    if lines:
        yield Removed(f"{lines} journal entries")
    if not dry_run:
        catalog.compact()


def _named(folder: Path, form: re.Pattern[str], before: float) -> Iterator[Path]:
    """Files of a directory whose names have a form of ours, with a time before ``before``."""
    for entry in _files(folder):
        if match := form.fullmatch(entry.name):
            made = seconds(match[1])
            if made is not None and made < before:
                yield Path(entry.path)


def _unfinished(folder: Path, now: float) -> Iterator[Path]:
    for entry in _files(folder):
        age = now - entry.stat(follow_symlinks=False).st_mtime
        if UNFINISHED.fullmatch(entry.name) and age > _UNFINISHED_FOR.total_seconds():
            yield Path(entry.path)


def _files(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in os.scandir(folder) if not entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _journal(catalog: Catalog, before: float, dry_run: bool) -> int:
    """Forget lines older than ``before``: not the last, nor what is not published yet. Returns
    how many."""
    with catalog.read() as reader:
        if decisionlog.is_behind(decisionlog.read(catalog.path.parent), reader):
            return 0  # it could not be written, and these lines are all there is
        published = min(reader.mark("pages"), reader.mark("lists"), reader.serial() - 1)
        count, last = reader.older(int(before * 1_000_000), published)
    if count and not dry_run:
        with catalog.change() as change:
            change.forget(last)
        catalog.set_mark(FORGOTTEN, last)
    return count
