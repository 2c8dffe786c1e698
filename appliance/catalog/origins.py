"""Origins: where files came from, by name. They outlive their files, and hold for the content with
their digest alone."""

from collections.abc import Sequence

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import Queries, portions
from appliance.index.model import File, Origin

_FIELDS = tuple(Origin.__dataclass_fields__)


class OriginQueries(Queries):
    """Origins of the files of one index each."""

    def origin(self, index: str, filename: str) -> Origin | None:
        """Return the last known origin of a file of that name, whatever its content."""
        table = schema.origin.c
        where = (table.index == index, table.filename == filename)
        query = sa.select(*(table[name] for name in _FIELDS)).where(*where)
        row = self._connection.execute(query).first()
        return Origin(*row) if row else None

    def origins(self, index: str, files: Sequence[File]) -> dict[str, Origin]:
        """Return the known origins of ``files``, by file name."""
        table, digests = schema.origin.c, {file.filename: file.sha256 for file in files}
        query = sa.select(*(table[name] for name in _FIELDS)).where(table.index == index)
        rows = (
            row
            for portion in portions(list(digests))
            for row in self._connection.execute(query.where(table.filename.in_(portion)))
        )
        return {row.filename: Origin(*row) for row in rows if digests[row.filename] == row.sha256}
