"""Pruning of trash, replaced catalogs, built wheels, unfinished files and journal, by ``keep`` in
the spec: only files whose names pyindex gives are removed. Releases go to the trash by the ``keep``
of their index."""

import logging
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path

from appliance.atomic import unlink
from appliance.catalog import decisionlog
from appliance.catalog.database import Catalog
from appliance.catalog.reader import Reader
from appliance.catalog.readiness import unscanned
from appliance.index.model import Actor, File, Project
from appliance.locks import try_lock
from appliance.operations.arrival import HIDDEN
from appliance.operations.decisions import remove_files
from appliance.operations.housekeeping import record_gc
from appliance.operations.opening import open_catalog
from appliance.operations.replace import REPLACED, UNFINISHED
from appliance.operations.stamps import seconds
from appliance.operations.trash import TRASHED
from appliance.policy.retention import outdated
from appliance.spec import Spec
from appliance.text import counted

log = logging.getLogger(__name__)

_GC = Actor("pyindex gc")
_PROJECTS = 250  # that are read at a time
_UNFINISHED_AGE = timedelta(days=1)
# In the state directory: of `pyindex mirror`, which holds the lock while it runs.
MIRROR_LOCK = "mirror.lock"
BUILDS, UV_CACHE = "builds", "uv-cache"
_BUILD = re.compile(r"[0-9a-f]{32}")
# The mark of the serial up to which the journal was pruned.
FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Removed:
    """Removed item, or one that a dry run would remove; its size in bytes."""

    what: str
    size: int = 0


def prune(spec: Spec, dry_run: bool = False) -> Iterator[Removed]:
    """Remove items that are older than the spec keeps them, and yield them; with ``dry_run`` yield
    them only."""
    now = time.time()
    old = [
        *_named(spec.trash, TRASHED, now - spec.keep.trash.total_seconds()),
        *_named(spec.state, REPLACED, now - spec.keep.catalogs.total_seconds()),
        *_unfinished(spec.state, now),
        *_unfinished(spec.backup.directory, now),
    ]
    for path in old:
        size = path.lstat().st_size
        if not dry_run:
            unlink(path)
        yield Removed(str(path), size)

    # One by one: _built holds a lock meanwhile.
    for directory in chain(_staged(spec, now), _built(spec, now)):
        size = sum(each.lstat().st_size for each in directory.rglob("*"))
        if not dry_run:
            shutil.rmtree(directory, ignore_errors=True)
        yield Removed(str(directory), size)

    catalog = open_catalog(spec)
    lines = _prune_journal(catalog, now, spec.keep.journal, dry_run)
    if lines:
        yield Removed(counted(lines, "journal entry"))
    if not dry_run:
        catalog.compact()
    yield from _outdated(spec, now, dry_run)
    if not dry_run:
        record_gc(spec)


def _outdated(spec: Spec, now: float, dry_run: bool) -> Iterator[Removed]:
    """Move the releases to the trash that the indexes do not keep, by their ``keep``. Not while an
    index is being scanned: it could lack the newest release."""
    for name, index in spec.indexes.items():
        if not index.keep.is_set:
            continue
        catalog, files, removed = open_catalog(spec), list[File](), list[Removed]()
        with catalog.read() as reader:
            if unscanned(reader, spec, name):
                log.warning("%s: not scanned in full yet; keeping all releases", name)
                continue
            for project in _projects(reader, name):
                for each in outdated(index.keep, project, int(now * 1_000_000)):
                    files += each.files
                    size = sum(file.size for file in each.files)
                    what = f"{name}: {project.display} {each.version}, to the trash"
                    removed.append(Removed(f"{what} (`indexes.{name}.keep.{each.rule}`)", size))
        if files and not dry_run:
            remove_files(spec, name, files, _GC)
        yield from removed


def _projects(reader: Reader, index: str) -> Iterator[Project]:
    after = ""
    while names := reader.names(index, after, _PROJECTS):
        yield from reader.named(index, names).values()
        after = names[-1]


def _named(directory: Path, pattern: re.Pattern[str], before: float) -> Iterator[Path]:
    """Yield files whose names match a pattern, with a time before ``before``."""
    for entry in _files(directory):
        if match := pattern.fullmatch(entry.name):
            created = seconds(match[1])
            if created is not None and created < before:
                yield Path(entry.path)


def _unfinished(directory: Path, now: float) -> Iterator[Path]:
    for entry in _files(directory):
        age = now - entry.stat(follow_symlinks=False).st_mtime
        if UNFINISHED.fullmatch(entry.name) and age > _UNFINISHED_AGE.total_seconds():
            yield Path(entry.path)


def _staged(spec: Spec, now: float) -> Iterator[Path]:
    """Yield the staging directories of loads that were interrupted and not continued."""
    for index in spec.indexes.values():
        for path in sorted(index.packages.glob(f"{HIDDEN}*")):
            age = now - path.lstat().st_ctime
            if age > _UNFINISHED_AGE.total_seconds():
                yield path


def _built(spec: Spec, now: float) -> Iterator[Path]:
    """Yield the built wheels, and the cache of the builds, that no build has used for as long as
    ``keep.builds``; nothing while a mirror runs, and none can begin before the last is used."""
    before = now - spec.keep.builds.total_seconds()
    directories = [path for path in (spec.state / BUILDS).glob("*") if _BUILD.fullmatch(path.name)]
    directories += [spec.state / UV_CACHE]
    with (spec.state / MIRROR_LOCK).open("a") as file:
        if try_lock(file):
            yield from (path for path in sorted(directories) if _last_change(path) < before)


def _last_change(directory: Path) -> float:
    """Return the newest mtime in a directory; infinity if there is none."""
    times = (path.lstat().st_mtime for path in (directory, *directory.rglob("*")))
    try:
        return max(times)
    except FileNotFoundError:
        return math.inf


def _files(directory: Path) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in os.scandir(directory) if not entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _prune_journal(catalog: Catalog, now: float, keep: timedelta, dry_run: bool) -> int:
    """Remove journal entries that are older than ``keep``, except unpublished ones and the last;
    return their number."""
    before = now - keep.total_seconds()
    with catalog.read() as reader:
        if decisionlog.is_behind(decisionlog.read(catalog.path.parent), reader):
            return 0  # the log could not be written: the journal has the only copy
        published = min(reader.mark("pages"), reader.mark("lists"), reader.serial() - 1)
        count, last = reader.count_older(int(before * 1_000_000), int(now * 1_000_000), published)
    if count and not dry_run:
        with catalog.change() as change:
            change.prune_journal(last)
        catalog.set_mark(FORGOTTEN, last)
    return count
