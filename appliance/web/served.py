"""One index as the web serves it."""

from dataclasses import dataclass

from appliance.catalog.database import Catalog
from appliance.catalog.indexes import ready_index
from appliance.catalog.reader import Reader
from appliance.index.index import Index
from appliance.spec import Spec
from appliance.web.complete import Complete


@dataclass(frozen=True)
class ServedIndex:
    """What each resource of one index needs: the index ``name`` of ``spec``, what the ``catalog``
    knows of it, and whether that is ``complete``."""

    spec: Spec
    catalog: Catalog
    name: str
    complete: Complete

    @property
    def prefix(self) -> str:
        """What stands before ``simple/`` in its URLs: "" or "<index>/"."""
        return self.spec.prefix(self.name)

    @property
    def lineage(self) -> tuple[str, ...]:
        """Its name, and those of its bases."""
        return self.spec.lineage(self.name)

    def at(self, reader: Reader) -> Index:
        """The index as one view of the catalog has it. Raises :class:`Unscanned` while it may have
        more than is known of it."""
        return ready_index(reader, self.spec, self.name)


def served_index(spec: Spec, catalog: Catalog, name: str) -> ServedIndex:
    """The index ``name``, with what tells whether it is complete."""
    return ServedIndex(spec, catalog, name, Complete(spec, catalog, name))
