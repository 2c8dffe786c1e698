"""Owners: the account that uploaded the first file of a project."""

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import Queries


class OwnerQueries(Queries):
    """Owners of the projects of one index each."""

    def owner(self, index: str, project: str) -> str | None:
        """Return the owner of a project (a normalized name), as
        :attr:`appliance.accounts.principal.Principal.owner` names it; ``None`` if it has none."""
        owner = schema.owner.c
        query = sa.select(owner.account).where(owner.index == index, owner.project == project)
        return self._connection.scalar(query)
