"""``/-/authorize/INDEX``: whether nginx may send something of an index to a client."""

from collections.abc import Mapping

import falcon

from appliance.accounts.principal import Principal
from appliance.text import printable
from appliance.web.served import ServedIndex

_SECONDS = 10
"""How long nginx uses the answer. A revoked right holds for so long where nginx sends pages and
files."""


class Authorize:
    """204 if the client may read what nginx asks about in ``X-Asked``: ``simple/PROJECT`` or
    ``packages/PATH``, nothing in an index whose projects have no rights of their own. Otherwise
    403, and nginx lets the application answer the request itself."""

    def __init__(self, indexes: Mapping[str, ServedIndex]) -> None:
        self._indexes = indexes

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        index = self._indexes.get(name)
        if index is None or not _is_readable(req, index):
            raise falcon.HTTPForbidden
        resp.status = falcon.HTTP_204
        name_actor(req, resp)
        resp.set_header("X-Accel-Expires", str(_SECONDS))

    on_head = on_get


def name_actor(req: falcon.Request, resp: falcon.Response) -> None:
    """Tell nginx in ``X-Actor`` as whom the client is logged in, by account and name of the token,
    for its log. nginx asks for that, and does not pass it on."""
    principal: Principal | None = getattr(req.context, "principal", None)
    is_asked = req.get_header("X-Log") == "actor"
    if is_asked and principal is not None and not principal.is_anonymous:
        # The log is in UTF-8; WSGI has a character for each byte of a header (PEP 3333).
        resp.set_header("X-Actor", printable(str(principal)).encode().decode("latin-1"))


def _is_readable(req: falcon.Request, index: ServedIndex) -> bool:
    kind, _, asked = req.get_header("X-Asked", default="").partition("/")
    try:
        readable = index.readable(req)
        if kind == "packages":
            index.check_file(req, asked)
            return True
        return readable(asked) if kind else not index.is_by_project
    except falcon.HTTPError:
        return False
