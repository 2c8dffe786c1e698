"""Reader: all queries to the catalog, composed by subject."""

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.inventory import InventoryQueries
from appliance.catalog.journal import JournalQueries
from appliance.catalog.origins import OriginQueries
from appliance.catalog.owners import OwnerQueries
from appliance.catalog.projects import ProjectQueries
from appliance.catalog.search import SearchQueries
from appliance.index.model import Decisions


class Reader(
    ProjectQueries,
    SearchQueries,
    InventoryQueries,
    JournalQueries,
    OriginQueries,
    OwnerQueries,
):
    """All queries to one consistent view of the catalog."""

    def mark(self, name: str) -> int:
        """Return a stored number; 0 if there is none."""
        query = sa.select(schema.mark.c.value).where(schema.mark.c.name == name)
        return self._connection.scalar(query) or 0

    def marks(self) -> dict[str, int]:
        """Return all stored numbers by name."""
        rows = self._connection.execute(sa.select(schema.mark))
        return {row.name: row.value for row in rows}

    def decisions(self) -> Decisions:
        """Return every decision in force."""
        project = schema.project
        yanks = self._connection.execute(sa.select(schema.yank))
        owners = self._connection.execute(sa.select(schema.owner))
        decided = self._connection.execute(sa.select(project).where(project.c.status != "active"))
        return Decisions(
            whole=True,
            yanks={(index, filename): reason for index, filename, reason in yanks},
            statuses={
                (row._mapping["index"], row.name): (row.status, row.status_reason)
                for row in decided
            },
            owners={(index, project): account for index, project, account in owners},
        )
