"""``/health``: the status of the appliance, with its problems."""

import falcon

from appliance.catalog.database import Catalog, CatalogError
from appliance.operations.health import health
from appliance.spec import Spec
from appliance.text import counted

_RETRY_SECONDS = "5"


class Health:
    """The status as JSON: 200 while pages and files can be served, otherwise 503."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._spec, self._catalog = spec, catalog

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        report = health(self._spec, self._catalog)
        if rejected := self._rejected():
            report.degraded.append(f"{counted(rejected, 'file')} rejected; run `pyindex status`")
        resp.content_type = falcon.MEDIA_JSON
        resp.media = {"status": report.status, "problems": report.problems}
        resp.cache_control = ["no-store"]
        if report.failing or report.starting:
            resp.status = falcon.HTTP_503
            resp.retry_after = _RETRY_SECONDS

    on_head = on_get

    def _rejected(self) -> int:
        try:
            with self._catalog.read() as reader:
                return sum(reader.rejected_count(name) for name in self._spec.indexes)
        except CatalogError:
            return 0  # health() reports the catalog
