"""Monitoring: ``/ready`` for load balancers."""

import falcon

from appliance.catalog.database import Catalog
from appliance.operations.health import health
from appliance.spec import Spec

_RETRY_SECONDS = 5


class Ready:
    """200 after every index has been scanned in full and published; until then 503."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._spec, self._catalog = spec, catalog

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        report = health(self._spec, self._catalog)
        if reasons := report.failing + report.starting:
            raise falcon.HTTPServiceUnavailable(
                description="; ".join(reasons),
                retry_after=_RETRY_SECONDS,
                headers={"Cache-Control": "no-store"},
            )
        resp.text = "ready\n"
        resp.cache_control = ["no-store"]

    on_head = on_get
