"""URLs of a devpi index that an index has replaced: they lead to the same page or file here."""

from urllib.parse import quote

import falcon

from appliance.index.names import is_name, normalize


class Formerly:
    """Redirects of the URLs below ``/USER/INDEX`` to those below ``base``, the path of an index
    with a slash at its end. Whether there is such a file is for the new URL to say."""

    def __init__(self, base: str) -> None:
        self._base = base

    def on_get_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise falcon.HTTPMovedPermanently(f"{self._base}simple/")

    def on_get_page(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        if not is_name(name):
            raise falcon.HTTPNotFound
        raise falcon.HTTPMovedPermanently(f"{self._base}simple/{normalize(name)}/")

    def on_get_file(
        self, req: falcon.Request, resp: falcon.Response, digest: str, rest: str, filename: str
    ) -> None:
        raise falcon.HTTPMovedPermanently(f"{self._base}packages/{quote(filename)}")

    on_head_list, on_head_page, on_head_file = on_get_list, on_get_page, on_get_file


def add_routes(app: "falcon.App[falcon.Request, falcon.Response]", former: str, base: str) -> None:
    """Add the routes of a devpi index, given as USER/INDEX."""
    resource = Formerly(base)
    for slash in ("", "/"):
        app.add_route(f"/{former}/+simple{slash}", resource, suffix="list")
        app.add_route(f"/{former}/+simple/{{name}}{slash}", resource, suffix="page")
    app.add_route(f"/{former}/+f/{{digest}}/{{rest}}/{{filename}}", resource, suffix="file")
