"""The web application: middleware, error handlers, and the route of each resource."""

import ipaddress
import logging
from collections.abc import Callable, Collection
from functools import lru_cache

import falcon

from appliance import headers
from appliance.accounts.htpasswd import AccountsError
from appliance.catalog.database import Catalog, CatalogError
from appliance.errors import STATUSES, NotFound, PyindexError, Unscanned
from appliance.spec import Spec
from appliance.uploads.commit import recover
from appliance.uploads.receive import Uploads
from appliance.uploads.refused import Refused
from appliance.web import address, formerly
from appliance.web.authorize import Authorize, name_actor
from appliance.web.browse import Home, Packages
from appliance.web.client import ClientFile
from appliance.web.files import Files, FilesByDigest
from appliance.web.health import Health
from appliance.web.legacy import ProjectJson
from appliance.web.login import Login
from appliance.web.metrics import Counted, Metrics, counters
from appliance.web.monitor import Ready
from appliance.web.served import ServedIndex, served_index
from appliance.web.simple import Simple
from appliance.web.standin import StandIn
from appliance.web.uploads import UploadForm, is_form
from appliance.web.xmlrpc import XmlRpc

log = logging.getLogger(__name__)

_WRONG_URL = "405 No uploads at this URL; upload to /legacy/ of the index"
_NO_INDEX = "404 No index at this URL; upload to /legacy/ of the index"

App = falcon.App[falcon.Request, falcon.Response]


def create_app(spec: Spec) -> App:
    """The application of ``spec``. It expects paths without the prefix of the spec's url, as behind
    a proxy that strips it."""
    app = falcon.App(falcon.MEDIA_TEXT, middleware=Secure())
    app.add_middleware(WrongUrl())
    counted = counters(spec)
    app.add_middleware(Counted(counted))
    app.set_error_serializer(_as_text)
    for error_class, status in STATUSES.items():
        app.add_error_handler(error_class, _handler(status))
    app.add_error_handler(OSError, _unreadable)
    app.add_error_handler(Refused, _refuse)
    app.add_error_handler(falcon.HTTPRouteNotFound, _not_routed)

    catalog = Catalog(spec.catalog)
    recover(spec, catalog)
    login, uploads = Login(spec, catalog), Uploads(spec, catalog)
    indexes = {name: served_index(spec, catalog, login, name) for name in spec.indexes}
    forms = {name: UploadForm(index, uploads, counted) for name, index in indexes.items()}
    for name, index in indexes.items():
        _add_index(app, index, forms[name], f"/{name}")
    _add_index(app, indexes[spec.root], forms[spec.root], "", StandIn(spec, catalog, login))

    app.add_route("/-/authorize/{name}", Authorize(indexes))
    monitoring = {
        "/health": Health(spec, catalog),
        "/ready": Ready(spec, catalog),
        "/metrics": Metrics(spec, catalog, counted),
    }
    for path, resource in monitoring.items():
        app.add_route(path, resource)
    if login.rights.has_secrets:
        app.add_middleware(InternalOnly(spec, monitoring))
    return app


class InternalOnly:
    """Answers the ``paths`` to ``nginx.internal`` alone, as nginx does: monitoring counts what not
    every client may read."""

    def __init__(self, spec: Spec, paths: Collection[str]) -> None:
        self._networks = [ipaddress.ip_network(each, strict=False) for each in spec.nginx.internal]
        self._paths = frozenset(paths)

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.path in self._paths:
            client = ipaddress.ip_address(address.client(req))
            if not any(client in network for network in self._networks):
                raise falcon.HTTPForbidden(description="nginx.internal lists who may see this")


class Secure:
    """Adds the security headers, and the name of the client, to every response."""

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        if not isinstance(resource, Authorize):  # nginx reads its answer for each file it sends
            resp.set_headers(headers.SECURITY)
            name_actor(req, resp)


class WrongUrl:
    """Names the right URL to upload clients that post elsewhere, as to the simple API."""

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: object
    ) -> None:
        if req.method == "POST" and is_form(req) and not isinstance(resource, Home | UploadForm):
            raise falcon.HTTPError(_WRONG_URL, headers={"Allow": "GET, HEAD, OPTIONS"})


class Redirect:
    """A permanent redirect to ``url``, with the query of the request."""

    def __init__(self, url: str) -> None:
        self._url = url

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        query = f"?{req.query_string}" if req.query_string else ""
        raise falcon.HTTPMovedPermanently(f"{self._url}{query}")

    on_head = on_get


def _add_index(
    app: App,
    index: ServedIndex,
    form: UploadForm,
    url_path: str,
    stand_in: StandIn | None = None,
) -> None:
    """Add the routes of the index below ``url_path``: "" or "/NAME"."""
    if url_path:
        app.add_route(url_path, Redirect(f"{index.spec.path}{url_path}/"))
    _add_simple(app, index, url_path, stand_in)
    _add_files(app, index, url_path, stand_in)
    if url_path:  # once, also for the first index
        for former in index.spec.indexes[index.name].formerly:
            formerly.add_routes(app, former, f"{index.spec.path}/{index.prefix}")
    _add_apis(app, index, url_path, form)


def _add_simple(app: App, index: ServedIndex, url_path: str, stand_in: StandIn | None) -> None:
    simple = Simple(index, f"{index.spec.path}{url_path}/simple/", stand_in)
    app.add_route(f"{url_path}/simple/", simple, suffix="list")
    app.add_route(f"{url_path}/simple/{{name}}/", simple, suffix="page")
    app.add_route(f"{url_path}/simple", simple, suffix="moved")
    app.add_route(f"{url_path}/simple/{{name}}", simple, suffix="moved")

    # An index URL without /simple works too, as it did with pypiserver.
    app.add_route(f"{url_path}/{{name}}", simple, suffix="moved")
    app.add_route(f"{url_path}/{{name}}/", simple, suffix="moved")
    for path in ("/favicon.ico", "/robots.txt"):  # browsers ask any site; these are no projects
        app.add_route(f"{url_path}{path}", simple, suffix="absent")


def _add_files(app: App, index: ServedIndex, url_path: str, stand_in: StandIn | None) -> None:
    files = Files(index)
    answering = FilesByDigest(stand_in, files) if stand_in else files
    app.add_route(f"{url_path}/packages/{{path:path}}", answering)
    app.add_route(f"{url_path}/packages/", Packages(index))
    app.add_route(f"{url_path}/packages", Redirect(f"{index.spec.path}{url_path}/packages/"))
    app.add_route(f"{url_path}/-/{{name}}", ClientFile(index, url_path))


def _add_apis(app: App, index: ServedIndex, url_path: str, form: UploadForm) -> None:
    search = XmlRpc(index)
    for path in ("/pypi", "/pypi/", "/RPC2"):
        app.add_route(f"{url_path}{path}", search)
    app.add_route(f"{url_path}/", Home(index, search, form))
    for path in ("/legacy", "/legacy/"):  # clients follow no redirect of an upload
        app.add_route(f"{url_path}{path}", form)

    api = ProjectJson(index)
    for path in ("/pypi/{name}/json", "/pypi/{name}/{version}/json", "/{name}/json"):
        app.add_route(f"{url_path}{path}", api)
        app.add_route(f"{url_path}{path}/", api)


def _handler(
    status: int,
) -> Callable[[falcon.Request, falcon.Response, PyindexError, dict[str, str]], None]:
    """Return the handler that answers an error with ``status``."""

    def respond(
        req: falcon.Request, resp: falcon.Response, error: PyindexError, params: dict[str, str]
    ) -> None:
        retry = {"Retry-After": str(error.retry_seconds)} if isinstance(error, Unscanned) else None
        raise falcon.HTTPError(status, description=_description(error), headers=retry) from error

    return respond


def _description(error: PyindexError) -> str:
    """The text for clients. Errors that no client has caused contain paths of the server: the text
    of these is logged."""
    if isinstance(error, NotFound | Unscanned):
        return str(error)
    _log_once(str(error))
    what = next((text for kind, text in _FAILURES.items() if isinstance(error, kind)), _FAILURE)
    return f"{what}; the log says why"


_FAILURES = {
    AccountsError: "the accounts cannot be read",
    CatalogError: "the catalog cannot be used",
}
_FAILURE = "the server cannot do this now"


@lru_cache(maxsize=16)
def _log_once(text: str) -> None:
    log.error("%s", text)


def _unreadable(
    req: falcon.Request, resp: falcon.Response, error: OSError, params: dict[str, str]
) -> None:
    """Answer for a file that cannot be read, because of its mode or its disk."""
    _log_once(str(error))
    raise falcon.HTTPServiceUnavailable(
        description=f"the server cannot read this: {error.strerror}"
    ) from error


def _refuse(
    req: falcon.Request, resp: falcon.Response, error: Refused, params: dict[str, str]
) -> None:
    """Answer for a refused upload: twine and setuptools show the reason phrase, uv the body."""
    raise falcon.HTTPError(f"{error.status} {error.reason}") from error


def _not_routed(
    req: falcon.Request,
    resp: falcon.Response,
    error: falcon.HTTPRouteNotFound,
    params: dict[str, str],
) -> None:
    """Answer for a path without a resource. For an upload, say why: clients show the status."""
    if req.method == "POST" and is_form(req):
        raise falcon.HTTPError(_NO_INDEX) from error
    raise error


def _as_text(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """One line that a person can read, whatever the client accepts."""
    resp.content_type = falcon.MEDIA_TEXT
    resp.text = f"{error.title}: {error.description}\n" if error.description else f"{error.title}\n"
