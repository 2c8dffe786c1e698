"""Changes to the catalog in one transaction, each with its line of the journal."""

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.decisions import DecisionWriter
from appliance.catalog.files import FileWriter
from appliance.catalog.recorder import to_row
from appliance.index.model import Change

# The mark with the serial since which the tree of pages may hold what this catalog never heard of.
SWEEP = "sweep"


class Writer(FileWriter, DecisionWriter):
    """All changes in one transaction, and those to the whole."""

    def note(self, action: str, at_least: int) -> Change:
        """Journal what was done to the whole, with a serial after ``at_least`` and all before.

        Every page gets that serial, as any may be another one now. What was known of the folders
        and of the tree of pages is in doubt: they are to be compared in full, and readers go on
        with the pages that there are until others are whole.
        """
        assert not self._changes, "a transaction of its own"
        self._last = max(self._last, at_least) + 1
        note = Change(self._last, self._time, "", "", action)
        self._connection.execute(sa.insert(schema.journal), [to_row("", note)])
        self._connection.execute(sa.update(schema.project).values(serial=self._last))
        for kind in ("scanned:", "view:"):
            doubted = schema.mark.c.name.startswith(kind, autoescape=True)
            self._connection.execute(sa.delete(schema.mark).where(doubted))
        schema.upsert(self._connection, schema.mark, [{"name": SWEEP, "value": self._last}])
        return note

    def forget(self, serial: int) -> None:
        """Remove the lines of the journal up to ``serial``."""
        line = schema.journal
        self._connection.execute(sa.delete(line).where(line.c.serial <= serial))
