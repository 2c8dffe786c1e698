"""Changes to decisions: yanks and project statuses; and to what is known of origins."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import portions
from appliance.catalog.recorder import Recorder
from appliance.index import names
from appliance.index.model import Decisions, Origin


class DecisionWriter(Recorder):
    """Yanks (PEP 592), project statuses (PEP 792) and owners."""

    def yank(self, index: str, filename: str, reason: str | None) -> bool:
        """Yank a file for ``reason`` (may be empty), or unyank it with ``None`` (PEP 592). Returns
        whether anything changed."""
        file = self.file(index, filename)
        if file is None or file.yanked == reason:
            return False

        self._write_yank(index, filename, reason)
        self._record(index, file, "unyanked" if reason is None else "yanked", reason)
        return True

    def yank_ahead(self, index: str, filename: str, reason: str | None) -> bool:
        """Yank a file that the index does not have yet: it will be yanked from the first moment; or
        unyank it with ``None``. Returns whether anything changed. Raises :class:`Rejected` for no
        name of a file."""
        if self.file(index, filename) is not None:
            return self.yank(index, filename, reason)
        named = names.parse(filename)
        if self.yanks_of(index, [filename]).get(filename) == reason:
            return False

        self._write_yank(index, filename, reason)
        display = self._displayed(index, named.project) or named.name
        action = "unyanked" if reason is None else "yanked"
        self._journal(
            *(index, named.project, display, action, None, filename, named.version, reason)
        )
        return True

    def yanks_of(self, index: str, filenames: Sequence[str]) -> dict[str, str]:
        """Return the reasons of yanks by file name, also of files that the index does not have."""
        table = schema.yank.c
        query = sa.select(table.filename, table.reason).where(table.index == index)
        return {
            filename: reason
            for portion in portions(filenames)
            for filename, reason in self._connection.execute(
                query.where(table.filename.in_(portion))
            )
        }

    def take_ownership(self, index: str, project: str, account: str) -> str:
        """Return the owner of a project (a normalized name), which becomes ``account`` if it has
        none. Call it in the transaction that adds the first file."""
        owner = self.owner(index, project)
        if owner is None:
            row = {"index": index, "project": project, "account": account}
            self._connection.execute(sa.insert(schema.owner).values(row))
            display = self._displayed(index, project) or project
            self._journal(index, project, display, "owned", detail=account)
        return owner or account

    def set_origins(self, index: str, origins: Iterable[Origin]) -> None:
        """Record where files came from, also of files that the index does not have yet. No page
        shows it, so the journal has no line."""
        rows = [asdict(origin) | {"index": index} for origin in origins]
        schema.upsert(self._connection, schema.origin, rows)

    def set_status(self, index: str, project: str, status: str, reason: str | None) -> bool:
        """Set a project's status (PEP 792), also of one without files, or with its first files in
        this transaction. Returns whether anything changed."""
        where = schema.project.c.index == index, schema.project.c.name == project
        row = self._connection.execute(sa.select(schema.project).where(*where)).first()
        if row is None and (index, project) in self._display:
            new = self._project_row(index, project) | {"status": "active"}
            self._connection.execute(sa.insert(schema.project).values(new))
            row = self._connection.execute(sa.select(schema.project).where(*where)).one()
        if row is None or (row.status, row.status_reason) == (status, reason):
            return False

        query = sa.update(schema.project).where(*where)
        self._connection.execute(query.values(status=status, status_reason=reason))
        detail = status if reason is None else f"{status}: {reason}"
        display = self._display.get((index, project), row.display)
        self._journal(index, project, display, "status", detail=detail)
        return True

    def apply_decisions(self, decisions: Decisions) -> None:
        """Apply decisions made before this catalog existed, also about files not in it yet.
        The journal gets no line for each; see :meth:`Writer.record_replacement`."""
        if decisions.whole:
            self._undo_all()
        for index, filename in decisions.yanks:
            where = (schema.yank.c.index == index, schema.yank.c.filename == filename)
            self._connection.execute(sa.delete(schema.yank).where(*where))

        yanks: list[dict[str, Any]] = [
            {"index": index, "filename": filename, "reason": reason}
            for (index, filename), reason in decisions.holding().yanks.items()
        ]
        schema.upsert(self._connection, schema.yank, yanks)

        statuses = [
            self._project_row(index, name) | {"status": status, "status_reason": reason}
            for (index, name), (status, reason) in decisions.statuses.items()
        ]
        schema.upsert(self._connection, schema.project, statuses, ("status", "status_reason"))

        owners = [
            {"index": index, "project": project, "account": account}
            for (index, project), account in decisions.owners.items()
        ]
        schema.upsert(self._connection, schema.owner, owners)

    def _write_yank(self, index: str, filename: str, reason: str | None) -> None:
        where = (schema.yank.c.index == index, schema.yank.c.filename == filename)
        self._connection.execute(sa.delete(schema.yank).where(*where))
        if reason is not None:
            row = {"index": index, "filename": filename, "reason": reason}
            self._connection.execute(sa.insert(schema.yank).values(row))

    def _undo_all(self) -> None:
        self._connection.execute(sa.delete(schema.yank))
        self._connection.execute(sa.delete(schema.owner))
        active = sa.update(schema.project).values(status="active", status_reason=None)
        self._connection.execute(active)

    def _project_row(self, index: str, name: str) -> dict[str, Any]:
        """Return the row of a project that has no file yet."""
        return {"index": index, "name": name, "display": name, "serial": self._last, "files": 0}
