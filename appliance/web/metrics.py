"""``/metrics`` for Prometheus: what the server has counted, and states of the appliance."""

import time
from collections.abc import Iterator, Mapping

import falcon

from appliance.catalog import readiness
from appliance.catalog.database import Catalog
from appliance.catalog.indexes import open_index
from appliance.catalog.reader import Reader
from appliance.operations.health import health
from appliance.operations.watchlock import is_watched
from appliance.policy.rules import RULES
from appliance.spec import Spec
from appliance.uploads.refused import REASONS
from appliance.web.authorize import Authorize
from appliance.web.connection import is_dropped
from appliance.web.counters import Counters

# The version of the text format that Prometheus calls the first one.
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_SIZES_SECONDS = 60.0  # for which sums over all files are kept
_HELP = {
    "requests": "Requests that the application has answered, without those that nginx answered.",
    "uploads": "Uploads that were accepted, or sent again.",
    "upload_bytes": "Bytes of these uploads.",
    "refused_uploads": "Uploads by clients with the right to upload that were refused.",
}


def requests(status: int) -> str:
    """Return the name of a counter: of answers with a status."""
    return f'requests{{status="{status // 100}xx"}}'


def of_index(family: str, index: str) -> str:
    """Return the name of a counter of an index."""
    return f'{family}{{index="{index}"}}'


def refusals(index: str, rule: str) -> str:
    """Return the name of a counter: of uploads that a rule has refused."""
    return f'refused_uploads{{index="{index}",rule="{rule}"}}'


def counters(spec: Spec) -> Counters:
    """Return the counters of a server, which are in the state directory."""
    names = [requests(hundreds * 100) for hundreds in range(1, 6)]
    for index in (name for name, section in spec.indexes.items() if section.accepts_uploads):
        names += [of_index("uploads", index), of_index("upload_bytes", index)]
        names += [refusals(index, rule) for rule in sorted({*RULES, *REASONS})]
    return Counters(spec.state / "counters", names)


class Counted:
    """Counts requests by the status of their answers."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        # Questions of nginx are parts of a client's request; a streamed request comes twice.
        if not isinstance(resource, Authorize) and not is_dropped(req.env):
            self._counters.add(requests(resp.status_code))


class Metrics:
    """Counts and states of the appliance, in Prometheus' text format."""

    def __init__(self, spec: Spec, catalog: Catalog, counters: Counters) -> None:
        self._spec, self._catalog, self._counters = spec, catalog, counters
        self._sizes: dict[str, int] = {}
        self._sizes_at = -_SIZES_SECONDS

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
            sizes = self._known_sizes(reader)
            serial, published = reader.serial(), reader.mark("pages")
            waiting = reader.changes(published, limit=1)

        projects = {name: count.projects for name, count in counts.items()}
        files = {name: count.files for name, count in counts.items()}
        scanned = {name: int(name not in unscanned) for name in counts}
        lag = max(0.0, time.time() - waiting[0].time / 1e6) if waiting else 0.0

        yield from _by_index("projects", "Projects of an index.", projects)
        yield from _by_index("files", "Accepted files of an index.", files)
        yield from _by_index("bytes", "Size of the accepted files of an index.", sizes)
        yield from _by_index("rejected_files", "Rejected files of an index.", rejected)
        yield from _by_index("scanned", "Whether an index was scanned in full.", scanned)

        yield from _single("serial", "Serial of the last change.", serial)
        yield from _single("published_serial", "Serial up to which pages are written.", published)
        yield from _single("publish_lag_seconds", "Age of the oldest unpublished change.", lag)
        yield from _single("watcher_running", "Whether a watcher runs.", is_watched(self._spec))
        yield from _single("problems", "Problems that /health lists.", len(problems))
        yield from _counted(self._counters.totals())

    def _known_sizes(self, reader: Reader) -> dict[str, int]:
        """Return the sizes of all indexes, which need all files to be read, as of some seconds
        ago."""
        if time.monotonic() - self._sizes_at >= _SIZES_SECONDS:
            self._sizes = {name: reader.size(name) for name in self._spec.indexes}
            self._sizes_at = time.monotonic()
        return self._sizes


def _by_index(name: str, text: str, values: Mapping[str, int]) -> Iterator[str]:
    yield f"# HELP pyindex_{name} {text}\n# TYPE pyindex_{name} gauge\n"
    # Names of indexes need no escape (see appliance.spec.forms.NAME).
    yield from (f'pyindex_{name}{{index="{index}"}} {n}\n' for index, n in values.items())


def _single(name: str, text: str, value: float) -> Iterator[str]:
    yield f"# HELP pyindex_{name} {text}\n# TYPE pyindex_{name} gauge\npyindex_{name} {+value}\n"


def _counted(totals: Mapping[str, int]) -> Iterator[str]:
    for family, text in _HELP.items():
        name = f"pyindex_{family}_total"
        yield f"# HELP {name} {text}\n# TYPE {name} counter\n"
        for counter, value in totals.items():
            of, _, labels = counter.partition("{")
            if of == family:
                yield f"{name}{{{labels} {value}\n"
