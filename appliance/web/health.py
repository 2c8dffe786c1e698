"""``/health``: whether the index can serve, and what is wrong if not."""

import falcon

from appliance.catalog.database import Catalog, CatalogError
from appliance.operations.health import health
from appliance.spec import Spec

_RETRY_SECONDS = "5"


class Health:
    """200 while pages and files can be served, with what else is wrong; 503 otherwise."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._spec, self._catalog = spec, catalog

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        found = health(self._spec, self._catalog)
        if refused := self._refused():
            found.degraded.append(f"{refused} files are refused: see `pyindex status`")
        resp.content_type = falcon.MEDIA_JSON
        resp.media = {"status": found.status, "problems": found.problems}
        resp.cache_control = ["no-store"]
        if found.failing or found.starting:
            resp.status = falcon.HTTP_503
            resp.retry_after = _RETRY_SECONDS

    on_head = on_get

    def _refused(self) -> int:
        try:
            with self._catalog.read() as reader:
                return sum(reader.rejected_count(name) for name in self._spec.indexes)
        except CatalogError:
            return 0  # the health tells it
