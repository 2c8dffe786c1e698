"""One index of a spec, as the resources of the application receive it."""

from dataclasses import dataclass

import falcon

from appliance.accounts.principal import Principal
from appliance.catalog.database import Catalog
from appliance.catalog.indexes import open_index, ready_index
from appliance.catalog.reader import Reader
from appliance.index.index import Index
from appliance.policy.rights import Right
from appliance.spec import Spec
from appliance.web.completeness import Completeness
from appliance.web.login import Login


@dataclass(frozen=True)
class ServedIndex:
    """The index ``name`` of ``spec``, with the ``catalog`` and its completeness."""

    spec: Spec
    catalog: Catalog
    name: str
    completeness: Completeness
    login: Login

    @property
    def prefix(self) -> str:
        """The path before ``simple/`` in its URLs: "" or "<index>/"."""
        return self.spec.prefix(self.name)

    @property
    def lineage(self) -> tuple[str, ...]:
        """Its name, then those of its bases, in resolution order."""
        return self.spec.lineage(self.name)

    def open(self, reader: Reader) -> Index:
        """The index in the reader's view of the catalog, as far as it has been scanned."""
        return open_index(reader, self.spec, self.name)

    def using(self, reader: Reader) -> Index:
        """As :meth:`open`. Raises :class:`Unscanned` until it has been scanned in full."""
        return ready_index(reader, self.spec, self.name)

    def authorize(self, req: falcon.Request, right: Right, project: str | None = None) -> Principal:
        """As :meth:`Login.authorize`, for this index."""
        return self.login.authorize(req, self.name, right, project)


def served_index(spec: Spec, catalog: Catalog, login: Login, name: str) -> ServedIndex:
    """The index ``name`` of ``spec`` with its own :class:`Completeness`."""
    return ServedIndex(spec, catalog, name, Completeness(spec, catalog, name), login)
