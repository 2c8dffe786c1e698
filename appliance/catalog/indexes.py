"""Construction of the indexes of a spec over one view of the catalog."""

from collections.abc import Iterator, Sequence

from appliance.catalog.reader import Reader
from appliance.catalog.readiness import unscanned
from appliance.errors import Unscanned
from appliance.index.index import Counts, Index, Listed, WithBases, Without
from appliance.index.model import File, Project
from appliance.spec import Spec


class CatalogIndex:
    """Index of one packages directory in the catalog, without bases."""

    def __init__(self, reader: Reader, name: str) -> None:
        self.name = name
        self._reader = reader

    def project(self, name: str) -> Project | None:
        return self._reader.project(self.name, name)

    def named(self, names: Sequence[str]) -> dict[str, Project]:
        return self._reader.named(self.name, names)

    def projects(self, first: str = "", end: str | None = None) -> Iterator[Listed]:
        return self._reader.projects(self.name, first, end)

    def serials(self, names: Sequence[str] | None = None) -> dict[str, int]:
        return self._reader.last_serials([self.name], names)

    def counts(self) -> Counts:
        return self._reader.counts(self.name)

    def files(self, after: str = "", limit: int = 1000) -> list[File]:
        return self._reader.offered(self.name, after, limit)


def open_index(reader: Reader, spec: Spec, name: str) -> Index:
    """Return the index ``name`` with its bases, as far as they are scanned."""
    index, *bases = (_in_view(reader, spec, name, each) for each in spec.lineage(name))
    return WithBases(index, bases) if bases else index


def _in_view(reader: Reader, spec: Spec, view: str, name: str) -> Index:
    """Return an index of the lineage of ``view``, without projects private to others."""
    index = CatalogIndex(reader, name)
    foreign = spec.foreign(view, name)
    return Without(index, foreign) if foreign else index


def ready_index(reader: Reader, spec: Spec, name: str) -> Index:
    """As :func:`open_index`; raises :class:`Unscanned` until the lineage is scanned."""
    if missing := unscanned(reader, spec, name):
        raise Unscanned(f"index {missing[0]} is being scanned for the first time; retry")
    return open_index(reader, spec, name)
