"""The catalog built anew, from package files, the decisions log and what can be read of the old."""

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
from appliance.operations.replace import alone, damage, install
from appliance.operations.update import update
from appliance.spec import Spec
from appliance.text import has_controls

_NOTES = ("begun", "recovered", "rebuilt", "restored")  # of the whole, see Writer.note
# A journal runs ahead of what is published and logged by no more changes than this.
_AHEAD = 1_000_000


def rebuild(spec: Spec, accept_changes: bool = False) -> Iterator[str]:
    """Read every package file again, correct the catalog, write every page.

    A damaged catalog is set aside first. Its decisions come from the log, what is known of the
    files from the rows that can be read. A file whose bytes changed while its size, mtime and inode
    did not is refused, unless ``accept_changes``. Yields lines that say what was done, and what is
    lost.
    """
    with alone(spec):
        if spec.catalog.exists() and (problem := damage(spec.catalog)):
            yield f"catalog {spec.catalog}: {problem}"
            yield from _rescue(spec)

    catalog = opening.open_catalog(spec, create=True)
    with catalog.change() as change:
        change.count()
    yield from _agree(spec, catalog)

    if accept_changes:
        with catalog.change() as change:
            change.doubt()
    update(spec, reread=True)
    yield from counts(spec, catalog)


def _rescue(spec: Spec) -> Iterator[str]:
    """Put a new catalog in the place of a damaged one, with all that is known of it."""
    logged = decisionlog.read(spec.state)
    begin_after = opening.evidence(spec)
    saved = _Saved.read(spec.catalog, begin_after + _AHEAD)
    decisions = saved.decisions(logged)

    def fill(catalog: Catalog) -> None:
        with catalog.change() as change:
            saved.write(change)
            change.decide(decisions)
            change.count()
            change.note("rebuilt", begin_after)
            for index in spec.indexes:
                change.remember(index, saved.paths_without_files(index))
            opening.remember_published(spec, change)

    yield f"damaged catalog saved as {install(spec, fill, 'damaged')}"
    yield from logged.problems
    source = "the decision log" if logged.lines else "its readable rows (no decision log)"
    yield f"recovered {len(decisions)} decisions (yanks, statuses) from {source}"
    yield f"recovered {len(saved.paths)} files, {len(saved.journal)} journal entries"
    known = max(opening.published(spec), logged.serial)
    if unread := list(_unread(saved.journal, known)):
        yield f"lost journal entries: {', '.join(unread)}"


@dataclass(frozen=True)
class _Saved:
    """Rows of a damaged catalog, by their tables; ``held`` are those of files that were refused or
    not seen."""

    files: list[salvage.Row]
    projects: list[salvage.Row]
    journal: list[salvage.Row]
    yanks: list[salvage.Row]
    marks: list[salvage.Row]
    held: list[salvage.Row]

    @classmethod
    def read(cls, catalog: Path, latest: int) -> "_Saved":
        """What can be read, and makes sense; no serial is after ``latest``."""
        rows = {table: salvage.salvage(catalog, table).rows for table in schema.metadata.tables}
        return cls(
            files=salvage.files(rows["file"]),
            projects=salvage.projects(rows["project"]),
            journal=salvage.journal(rows["journal"], latest),
            yanks=salvage.yanks(rows["yank"]),
            marks=[row for row in rows["mark"] if row["name"] == "backup"],
            held=rows["refused"] + rows["unseen"],
        )

    @property
    def paths(self) -> set[tuple[str, str]]:
        """Index and path of each file."""
        return {(row["index"], row["path"]) for row in self.files}

    def paths_without_files(self, index: str) -> list[str]:
        """The paths at which one index had what no page lists."""
        paths = [row["path"] for row in self.held if row["index"] == index]
        return [path for path in paths if not has_controls(path)]

    def decisions(self, log: decisionlog.Log) -> Decisions:
        """The decisions of the log, and those after it of the journal; without a log those that
        rows tell."""
        if not log.lines:
            return _decisions_of(self.yanks, self.projects)
        decisions = log.decided()
        later = decisionlog.replay_changes(
            Change(**row)
            for row in self.journal
            if row["action"] in DECIDING and row["serial"] > log.serial
        )
        decisions.yanks.update(later.yanks)
        decisions.statuses.update(later.statuses)
        return decisions

    def write(self, change: Writer) -> None:
        """Insert all but the decisions."""
        active = {"status": "active", "status_reason": None}
        change.put("file", self.files)
        change.put("project", [row | active for row in self.projects])
        change.put("journal", self.journal)
        change.put("mark", self.marks)


def _decisions_of(yanks: list[salvage.Row], projects: list[salvage.Row]) -> Decisions:
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


def _unread(journal: list[salvage.Row], known: int) -> Iterator[str]:
    """Which parts of the history could not be read, given that there was a serial ``known``."""
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
        if row["action"] not in _NOTES  # which leaves serials out
    )
    if between > 0:
        yield f"{between} before serial {last['serial']}"
    if known > last["serial"]:
        yield f"after serial {last['serial']}"


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
        yield "decision log damaged and different from the catalog: using the catalog's decisions"
    else:
        count = len(log.decided().holding())
        yield f"catalog different from the decision log: using the log's {count} decisions"


def counts(spec: Spec, catalog: Catalog) -> Iterator[str]:
    with catalog.read() as reader:
        for index in spec.indexes:
            projects, files = reader.counts(index)
            yield f"{index}: {projects} projects, {files} files"
