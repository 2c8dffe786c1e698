"""``/health``: whether the index can serve, and what is wrong if not."""

from collections.abc import Iterator

import falcon

from appliance.index import health
from appliance.index.catalog import Catalog, CatalogError
from appliance.index.watch import is_alive
from appliance.spec import Spec


class Health:
    """200 while pages and files can be served, with what else is wrong; 503 otherwise."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._spec, self._catalog = spec, catalog

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        failures, warnings = list(health.failures(self._spec)), list(self._warnings())
        status = "failing" if failures else "degraded" if warnings else "ok"
        resp.content_type = falcon.MEDIA_JSON
        resp.media = {"status": status, "problems": failures + warnings}
        resp.status = falcon.HTTP_503 if failures else falcon.HTTP_200
        resp.cache_control = ["no-store"]

    on_head = on_get

    def _warnings(self) -> Iterator[str]:
        """What does not keep readers from what is there."""
        try:
            with self._catalog.read() as reader:
                behind = reader.serial() - reader.mark("pages")
                refused = sum(len(reader.refusals(name)) for name in self._spec.indexes)
        except CatalogError as error:
            yield str(error)
        else:
            if behind > 0:
                yield f"{behind} changes are not published yet"
            if refused:
                yield f"{refused} files are refused: see `pyindex status`"
        if not is_alive(self._spec):
            yield "nobody follows the packages directories: run `pyindex watch`"
        yield from health.shortages(self._spec)
