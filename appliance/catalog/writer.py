"""Writer: all changes in one transaction, each with its line in the journal."""

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.decisions import DecisionWriter
from appliance.catalog.files import FileWriter
from appliance.catalog.recorder import to_row
from appliance.index.model import Change

# The mark with the serial since which the published tree may contain files of another catalog.
SWEEP = "sweep"
# The mark with the serial up to which clients must see all changes at once, or none.
TOGETHER = "together"


class Writer(FileWriter, DecisionWriter):
    """All changes in one transaction, and changes to the whole catalog."""

    def record_replacement(self, action: str, at_least: int) -> Change:
        """Record a change to the whole catalog, with a serial after ``at_least`` and all before.

        Every page gets that serial, since any may have changed. Scan marks and view marks are
        deleted: packages directories and published tree are compared in full, and clients get
        the published pages until the new ones are complete.
        """
        assert not self._changes, "record_replacement() needs a transaction of its own"
        self._last = max(self._last, at_least) + 1
        by = {"actor": self.by.name, "address": self.by.address}
        note = Change(self._last, self._time, "", "", action, **by)
        self._connection.execute(sa.insert(schema.journal), [to_row("", note)])
        self._connection.execute(sa.update(schema.project).values(serial=self._last))
        for kind in ("scanned:", "view:"):
            is_of_kind = schema.mark.c.name.startswith(kind, autoescape=True)
            self._connection.execute(sa.delete(schema.mark).where(is_of_kind))
        schema.upsert(self._connection, schema.mark, [{"name": SWEEP, "value": self._last}])
        return note

    def publish_together(self) -> None:
        """Let clients see all changes of this transaction at once; call it after the last."""
        serial = self._last + len(self._changes)
        schema.upsert(self._connection, schema.mark, [{"name": TOGETHER, "value": serial}])

    def prune_journal(self, serial: int) -> None:
        """Delete the lines of the journal up to ``serial``."""
        line = schema.journal
        self._connection.execute(sa.delete(line).where(line.c.serial <= serial))
