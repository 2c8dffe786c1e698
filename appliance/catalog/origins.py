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

    def last_origins(self, index: str, filenames: Sequence[str]) -> dict[str, Origin]:
        """Return the last known origins by file name, whatever the content of the files."""
        table = schema.origin.c
        query = sa.select(*(table[name] for name in _FIELDS)).where(table.index == index)
        return {
            row.filename: Origin(*row)
            for portion in portions(filenames)
            for row in self._connection.execute(query.where(table.filename.in_(portion)))
        }

    def origins(self, index: str, files: Sequence[File]) -> dict[str, Origin]:
        """Return the known origins of ``files``, by file name."""
        digests = {file.filename: file.sha256 for file in files}
        found = self.last_origins(index, list(digests))
        return {name: each for name, each in found.items() if digests[name] == each.sha256}
