"""The whole web application, wired in one place."""

import logging
from functools import lru_cache

import falcon

from appliance import headers
from appliance.catalog.database import Catalog
from appliance.errors import NotFound, PyindexError, Unscanned
from appliance.spec import Spec
from appliance.web.browse import Home, Packages
from appliance.web.client import ClientFile
from appliance.web.files import Files
from appliance.web.health import Health
from appliance.web.legacy import ProjectJson
from appliance.web.monitor import Metrics, Ready
from appliance.web.search import XmlRpc
from appliance.web.served import served_index
from appliance.web.simple import Simple

log = logging.getLogger(__name__)

App = falcon.App[falcon.Request, falcon.Response]

_FORM = "multipart/form-data"
_NO_UPLOADS = "405 This version takes no uploads: copy files into the packages directory"


def create_app(spec: Spec) -> App:
    """Everything that the appliance answers. URLs are as behind a proxy that strips the prefix."""
    app = falcon.App(falcon.MEDIA_TEXT, middleware=Secure())
    app.add_middleware(NoUploads())
    app.set_error_serializer(_as_text)
    app.add_error_handler(PyindexError, _unavailable)
    app.add_error_handler(NotFound, _absent)
    app.add_error_handler(OSError, _unreadable)
    catalog = Catalog(spec.catalog)
    for name in spec.indexes:
        _add_index(app, spec, catalog, name, f"/{name}")
    _add_index(app, spec, catalog, spec.root, "")
    app.add_route("/health", Health(spec, catalog))
    app.add_route("/ready", Ready(spec, catalog))
    app.add_route("/metrics", Metrics(spec, catalog))
    return app


class Secure:
    """Adds the security headers to every response."""

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        resp.set_headers(headers.SECURITY)


class NoUploads:
    """Tells who posts a form, as all upload clients do and nobody else, that none is taken.

    The body is not read. Most clients read no answer before they have sent it all: the server takes
    it from them meanwhile (see :mod:`appliance.web.worker`).
    """

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.method != "POST" or not (req.content_type or "").lower().startswith(_FORM):
            return
        # twine shows the reason phrase alone, uv the body.
        raise falcon.HTTPError(_NO_UPLOADS, headers={"Allow": "GET, HEAD, OPTIONS"})


class Moved:
    """A URL without the slash at its end."""

    def __init__(self, url: str) -> None:
        self._url = url

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        query = f"?{req.query_string}" if req.query_string else ""
        raise falcon.HTTPMovedPermanently(f"{self._url}{query}")

    on_head = on_get


def _add_index(app: App, spec: Spec, catalog: Catalog, name: str, at: str) -> None:
    """Routes of the index ``name`` below the URL path ``at``."""
    index = served_index(spec, catalog, name)
    simple = Simple(index, f"{spec.path}{at}/simple/")
    app.add_route(f"{at}/simple/", simple, suffix="list")
    app.add_route(f"{at}/simple/{{name}}/", simple, suffix="page")
    app.add_route(f"{at}/simple", simple, suffix="moved")
    app.add_route(f"{at}/simple/{{name}}", simple, suffix="moved")
    app.add_route(f"{at}/packages/{{path:path}}", Files(index))
    app.add_route(f"{at}/packages/", Packages(index))
    app.add_route(f"{at}/packages", Moved(f"{spec.path}{at}/packages/"))
    app.add_route(f"{at}/-/{{name}}", ClientFile(index, at))
    if at:
        app.add_route(at, Moved(f"{spec.path}{at}/"))
    search = XmlRpc(index)
    for path in ("/pypi", "/pypi/", "/RPC2"):
        app.add_route(f"{at}{path}", search)
    app.add_route(f"{at}/", Home(index, search))
    api = ProjectJson(index)
    for path in ("/pypi/{name}/json", "/pypi/{name}/{version}/json", "/{name}/json"):
        app.add_route(f"{at}{path}", api)
        app.add_route(f"{at}{path}/", api)
    for path in ("/favicon.ico", "/robots.txt"):  # asked of any site, and no projects
        app.add_route(f"{at}{path}", simple, suffix="absent")
    # An index URL without /simple works too, as it did with pypiserver.
    app.add_route(f"{at}/{{name}}", simple, suffix="moved")
    app.add_route(f"{at}/{{name}}/", simple, suffix="moved")


def _unavailable(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, str]
) -> None:
    """A failure that can be explained, but not by what the client did, nor to a client: it has the
    paths of the server in it."""
    if isinstance(error, Unscanned):
        raise falcon.HTTPServiceUnavailable(
            description=str(error), retry_after=error.retry_seconds
        ) from error
    _log_once(str(error))
    raise falcon.HTTPServiceUnavailable(description="the catalog cannot be used; the log says why")


def _absent(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, str]
) -> None:
    raise falcon.HTTPNotFound(description=str(error)) from error


@lru_cache(maxsize=16)
def _log_once(text: str) -> None:
    log.error("%s", text)


def _unreadable(
    req: falcon.Request, resp: falcon.Response, error: OSError, params: dict[str, str]
) -> None:
    """What should be readable is not: the mode of a file, say, or the disk."""
    raise falcon.HTTPServiceUnavailable(
        description=f"the server cannot read this: {error.strerror}"
    ) from error


def _as_text(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """One line that a person can read, whatever the client accepts."""
    resp.content_type = falcon.MEDIA_TEXT
    resp.text = f"{error.title}: {error.description}\n" if error.description else f"{error.title}\n"
