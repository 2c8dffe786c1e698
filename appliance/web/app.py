"""The whole web application, wired in one place."""

import falcon

from appliance.spec import Spec
from appliance.web import address
from appliance.web.files import Files
from appliance.web.simple import Simple

App = falcon.App[falcon.Request, falcon.Response]


def create_app(spec: Spec) -> App:
    """Everything that the appliance answers. URLs are as behind a proxy that strips the prefix."""
    app = falcon.App()
    app.set_error_serializer(_as_text)
    for name in spec.indexes:
        _add_index(app, spec, name, f"/{name}")
    _add_index(app, spec, spec.root, "")
    return app


def _add_index(app: App, spec: Spec, name: str, at: str) -> None:
    """Routes of the index ``name`` below the URL path ``at``."""
    below = spec.prefix(name)
    simple = Simple(spec.www, f"{below}simple", f"{address.path(spec)}{at}/simple/")
    app.add_route(f"{at}/simple/", simple, suffix="list")
    app.add_route(f"{at}/simple/{{name}}/", simple, suffix="page")
    app.add_route(f"{at}/simple", simple, suffix="moved")
    app.add_route(f"{at}/simple/{{name}}", simple, suffix="moved")
    app.add_route(f"{at}/packages/{{path:path}}", Files(spec.www, f"{below}packages"))


def _as_text(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """One line that a person can read, whatever the client accepts."""
    resp.content_type = falcon.MEDIA_TEXT
    resp.text = f"{error.title}: {error.description}\n" if error.description else f"{error.title}\n"
