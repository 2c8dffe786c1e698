"""Rebuilding the catalog from package files, decision log, and readable rows of a damaged one."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from appliance.catalog import decisionlog, salvage, schema
from appliance.catalog.database import Catalog
from appliance.catalog.journal import DECIDING
from appliance.catalog.writer import Writer
from appliance.index.model import Change, Decisions
from appliance.operations import opening
from appliance.operations.replace import damage, exclusive_replacement, install
from appliance.operations.update import update
from appliance.spec import Spec
from appliance.text import counted, has_controls

# Actions of entries about the whole catalog, see Writer.note.
_NOTES = ("begun", "recovered", "rebuilt", "restored")
# A journal is ahead of published pages and decision log by no more changes than this.
_AHEAD = 1_000_000


def rebuild(spec: Spec, accept_changes: bool = False) -> Iterator[str]:
    """Read every package file again, correct the catalog, and rewrite every page.

    A damaged catalog is replaced first, with decisions from the log and files from its readable
    rows. A file whose bytes changed without a change of size, mtime and inode is rejected, unless
    ``accept_changes``. Yields messages about recovered and lost data.
    """
    with exclusive_replacement(spec):
        if spec.catalog.exists() and (problem := damage(spec.catalog)):
            yield f"catalog {spec.catalog}: {problem}"
            yield from _rescue(spec)

    catalog = opening.open_catalog(spec, create=True)
    with catalog.change() as change:
        change.update_counts()
    yield from _reconcile_decisions(spec, catalog)

    if accept_changes:
        with catalog.change() as change:
            change.invalidate_stats()
    update(spec, reread=True)
    yield from counts(spec, catalog)


def _rescue(spec: Spec) -> Iterator[str]:
    """Replace a damaged catalog with a new one that has its recovered data."""
    logged = decisionlog.read(spec.state)
    begin_after = opening.last_known_serial(spec)
    saved = _Saved.read(spec.catalog, begin_after + _AHEAD)
    decisions = saved.decisions(logged)

    def fill(catalog: Catalog) -> None:
        with catalog.change() as change:
            saved.write(change)
            change.apply_decisions(decisions)
            change.update_counts()
            change.record_replacement("rebuilt", max(begin_after, saved.serial))
            for index in spec.indexes:
                change.record_unreachable(index, saved.paths_without_files(index))
            opening.record_published(spec, change)

    yield f"damaged catalog saved as {install(spec, fill, 'damaged')}"
    yield from logged.problems
    source = "the decision log" if logged.lines else "its readable rows (no decision log)"
    yield f"recovered {counted(len(decisions), 'decision')} (yanks, statuses, owners) from {source}"
    entries = counted(len(saved.journal), "journal entry")
    yield f"recovered {counted(len(saved.paths), 'file')}, {entries}"
    known = max(opening.published(spec), logged.serial)
    if lost := list(_unread_entries(saved.journal, known)):
        yield f"lost journal entries: {', '.join(lost)}"


@dataclass(frozen=True)
class _Saved:
    """Readable rows of a damaged catalog by table; ``unlisted`` are those of rejected and
    unreachable files."""

    files: list[salvage.Row]
    projects: list[salvage.Row]
    journal: list[salvage.Row]
    used: list[salvage.Row]
    yanks: list[salvage.Row]
    owners: list[salvage.Row]
    origins: list[salvage.Row]
    marks: list[salvage.Row]
    unlisted: list[salvage.Row]

    @classmethod
    def read(cls, catalog: Path, latest: int) -> "_Saved":
        """Read the valid rows of a catalog, with no serial after ``latest``."""
        rows = {table: salvage.salvage(catalog, table).rows for table in schema.metadata.tables}
        return cls(
            files=salvage.files(rows["file"]),
            projects=salvage.projects(rows["project"]),
            journal=salvage.journal(rows["journal"], latest),
            used=salvage.used(rows["used"]),
            yanks=salvage.yanks(rows["yank"]),
            owners=salvage.owners(rows["owner"]),
            origins=salvage.origins(rows["origin"]),
            marks=[row for row in rows["mark"] if row["name"] == "backup"],
            unlisted=rows["refused"] + rows["unseen"],
        )

    @property
    def serial(self) -> int:
        """The last serial of the journal, which may be neither published nor logged; 0 if none."""
        return max((row["serial"] for row in self.journal), default=0)

    @property
    def paths(self) -> set[tuple[str, str]]:
        """Index and path of each accepted file."""
        return {(row["index"], row["path"]) for row in self.files}

    def paths_without_files(self, index: str) -> list[str]:
        """Return the paths of rejected and unreachable files of an index."""
        paths = [row["path"] for row in self.unlisted if row["index"] == index]
        return [path for path in paths if not has_controls(path)]

    def decisions(self, log: decisionlog.Log) -> Decisions:
        """Return the decisions of the log and later ones of the journal; without a log those in
        other tables."""
        if not log.lines:
            return self._readable_decisions()
        decisions = log.decisions()
        later = decisionlog.replay_changes(
            Change(**row)
            for row in self.journal
            if row["action"] in DECIDING and row["serial"] > log.serial
        )
        decisions.yanks.update(later.yanks)
        decisions.statuses.update(later.statuses)
        decisions.owners.update(later.owners)
        return decisions

    def _readable_decisions(self) -> Decisions:
        return Decisions(
            True,
            {(row["index"], row["filename"]): row["reason"] for row in self.yanks},
            {
                (row["index"], row["name"]): (row["status"], row["status_reason"])
                for row in self.projects
                if row["status"] != "active"
            },
            {(row["index"], row["project"]): row["account"] for row in self.owners},
        )

    def write(self, change: Writer) -> None:
        """Insert all rows except decisions."""
        active = {"status": "active", "status_reason": None}
        change.insert("file", self.files)
        change.insert("project", [row | active for row in self.projects])
        change.insert("journal", self.journal)
        change.insert("used", self.used)
        change.insert("origin", self.origins)
        change.insert("mark", self.marks)


def _unread_entries(journal: list[salvage.Row], known: int) -> Iterator[str]:
    """Describe journal entries that could not be read, up to the ``known`` serial."""
    if not journal:
        yield "all"
        return

    journal = sorted(journal, key=lambda row: row["serial"])
    first, last = journal[0], journal[-1]
    if first["serial"] > 1 and first["action"] not in _NOTES:
        yield f"before {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(first['time'] / 1e6))}"
    between = sum(
        row["serial"] - before["serial"] - 1
        for before, row in pairwise(journal)
        if row["action"] not in _NOTES  # before which serials are skipped
    )
    if between > 0:
        yield f"{between} before serial {last['serial']}"
    if known > last["serial"]:
        yield f"after serial {last['serial']}"


def _reconcile_decisions(spec: Spec, catalog: Catalog) -> Iterator[str]:
    """Replace decisions that differ from those of an intact log: damage of one character in a name
    shows nowhere else."""
    with catalog.change() as change:
        log = decisionlog.read(spec.state)
        if not log.lines or decisionlog.is_behind(log, change):
            return

        if log.decisions().holding() == change.decisions():
            yield from log.problems
            return
        if not log.problems:
            change.apply_decisions(log.decisions())
            change.record_replacement("recovered", 0)

    yield from log.problems
    if log.problems:
        yield "decision log damaged and different from the catalog: using the catalog's decisions"
    else:
        count = len(log.decisions().holding())
        yield f"catalog different from the decision log: using the log's {count} decisions"


def counts(spec: Spec, catalog: Catalog) -> Iterator[str]:
    """Yield a message with the number of projects and files of each index."""
    with catalog.read() as reader:
        for index in spec.indexes:
            projects, files = reader.counts(index)
            yield f"{index}: {counted(projects, 'project')}, {counted(files, 'file')}"
