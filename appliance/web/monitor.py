"""Monitoring: ``/ready`` for load balancers, ``/metrics`` for Prometheus."""

from collections.abc import Iterator

import falcon

from appliance.catalog import readiness
from appliance.catalog.database import Catalog
from appliance.catalog.indexes import open_index
from appliance.operations.health import health
from appliance.operations.watchlock import is_watched
from appliance.spec import Spec

_RETRY_SECONDS = 5
# The version of the text format that Prometheus calls the first one.
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


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


class Metrics:
    """Counts and states of the appliance, in Prometheus' text format."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._spec, self._catalog = spec, catalog

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = _TEXT
        resp.text = "".join(self._lines())
        resp.cache_control = ["no-store"]

    on_head = on_get

    def _lines(self) -> Iterator[str]:
        problems = health(self._spec, self._catalog).problems
        with self._catalog.read() as reader:
            counts = {
                name: open_index(reader, self._spec, name).counts() for name in self._spec.indexes
            }
            rejected = {name: reader.rejected_count(name) for name in self._spec.indexes}
            unscanned = readiness.all_unscanned(reader, self._spec)
            serial, published = reader.serial(), reader.mark("pages")

        projects = {name: count.projects for name, count in counts.items()}
        files = {name: count.files for name, count in counts.items()}
        scanned = {name: int(name not in unscanned) for name in counts}

        yield from _by_index("projects", "Projects of an index.", projects)
        yield from _by_index("files", "Accepted files of an index.", files)
        yield from _by_index("rejected_files", "Rejected files of an index.", rejected)
        yield from _by_index("scanned", "Whether an index was scanned in full.", scanned)

        yield from _single("serial", "Serial of the last change.", serial)
        yield from _single("published_serial", "Serial up to which pages are written.", published)
        yield from _single("watcher_running", "Whether a watcher runs.", is_watched(self._spec))
        yield from _single("problems", "Problems that /health lists.", len(problems))


def _by_index(name: str, text: str, values: dict[str, int]) -> Iterator[str]:
    yield f"# HELP pyindex_{name} {text}\n# TYPE pyindex_{name} gauge\n"
    # Names of indexes need no escape (see appliance.spec.forms.NAME).
    yield from (f'pyindex_{name}{{index="{index}"}} {n}\n' for index, n in values.items())


def _single(name: str, text: str, value: int) -> Iterator[str]:
    yield f"# HELP pyindex_{name} {text}\n# TYPE pyindex_{name} gauge\npyindex_{name} {value:d}\n"
