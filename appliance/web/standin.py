"""Requests for another index, for which the appliance answers under its host names
(``nginx.stand_in``)."""

import falcon

from appliance.catalog.database import Catalog
from appliance.index.names import COMPANIONS, METADATA
from appliance.site.digests import digest_links
from appliance.site.tree import Site
from appliance.spec import Spec
from appliance.web.login import Login
from appliance.web.served import served_index


class StandIn:
    """The other index, with the ``indexes`` of which it has the files; it has no host and no file
    without ``nginx.stand_in``."""

    def __init__(self, spec: Spec, catalog: Catalog, login: Login) -> None:
        self._hosts = frozenset(name.lower() for name in spec.nginx.stand_in)
        self._links = digest_links(Site(spec))
        self.indexes = [served_index(spec, catalog, login, name) for name in self._links]

    def is_meant(self, req: falcon.Request) -> bool:
        """Whether a request names a host of the other index."""
        return bool(self._hosts) and req.host.lower() in self._hosts

    def find(self, path: str) -> tuple[str, str] | None:
        """The index and the path of the file that the other index has at ``path``, or of its
        metadata or signature; ``None`` without one. It may be withdrawn: check its marker."""
        suffix = next((each for each in (METADATA, *COMPANIONS) if path.endswith(each)), "")
        for index, links in self._links.items():
            found = links.resolve(path.removesuffix(suffix))
            if found is not None:
                return index, found + suffix
        return None
