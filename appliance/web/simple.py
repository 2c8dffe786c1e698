"""The simple API: published project lists and project pages (PEP 503, 691)."""

from functools import lru_cache
from typing import NamedTuple

import falcon

from appliance import headers
from appliance.index import names
from appliance.site import lists
from appliance.web import negotiate, static
from appliance.web.login import Readable
from appliance.web.served import ServedIndex
from appliance.web.standin import StandIn

_INDEX, _STAND_IN = "index", "stand-in"  # names of a page's files without their endings
_ENDINGS = {
    negotiate.JSON: ".json",
    negotiate.HTML: ".html",
    negotiate.OLD_HTML: ".html",
}
# Larger pages are left to sendfile(2), which costs more than to read a small one.
_LARGE = 1 << 16


class _Variant(NamedTuple):
    """One representation of a page: the ending of its file, and its headers."""

    ending: str
    headers: tuple[tuple[str, str], ...]


class Simple:
    """The pages of one index. ``url`` is the path of its project list as clients see it, with a
    slash at its end. The first index also has the pages of the index that it stands in for."""

    def __init__(self, index: ServedIndex, url: str, stand_in: StandIn | None = None) -> None:
        self._index, self._url, self._stand_in = index, url, stand_in
        self._headers = headers.PAGE if index.is_open else headers.PRIVATE_PAGE
        self._www, self._directory = str(index.spec.www), f"{index.prefix}simple"

    def on_get_list(self, req: falcon.Request, resp: falcon.Response) -> None:
        readable = self._index.readable(req)
        if self._index.is_by_project:
            self._send_list(req, resp, readable)
        else:
            self._send(req, resp, self._directory)

    def on_get_page(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        if name != _normalize(name):
            self.on_get_moved(req, resp, name)
        if not self._index.readable(req)(name):
            raise self._index.completeness.absent()
        is_of_other = self._stand_in is not None and self._stand_in.is_meant(req)
        form = _STAND_IN if is_of_other else _INDEX
        self._send(req, resp, f"{self._directory}/{name}", form)

    def on_get_moved(self, req: falcon.Request, resp: falcon.Response, name: str = "") -> None:
        """Redirect to the one spelling of a URL: a slash at its end, the name normalized."""
        page = f"{_normalize(name)}/" if name else ""
        query = f"?{req.query_string}" if req.query_string else ""
        raise falcon.HTTPMovedPermanently(f"{self._url}{page}{query}")

    def on_get_absent(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise falcon.HTTPNotFound

    on_head_list = on_get_list
    on_head_page = on_get_page
    on_head_moved = on_get_moved
    on_head_absent = on_get_absent

    def _send(
        self, req: falcon.Request, resp: falcon.Response, directory: str, form: str = _INDEX
    ) -> None:
        variant = _chosen(req)
        page = f"{directory}/{form}{variant.ending}"
        with self._index.completeness.page(self._www, page) as file:
            resp.set_headers(self._headers)
            resp.set_header("ETag", file.etag)
            resp.set_header("X-PyPI-Last-Serial", f"{file.mtime:x}")  # its mtime is its serial
            if static.is_known(req, file, dated=False):
                resp.status = falcon.HTTP_304
                return

            resp.set_headers(variant.headers)
            if req.method == "HEAD":
                resp.content_length = file.size
            elif file.size < _LARGE:
                resp.data = file.read()
            else:
                resp.set_stream(file.part(0, file.size), file.size)

    def _send_list(self, req: falcon.Request, resp: falcon.Response, readable: Readable) -> None:
        """Send the projects of the published list that the client may read."""
        variant = _chosen(req, compressed=False)
        page = f"{self._directory}/{_INDEX}{_ENDINGS[negotiate.JSON]}"
        with self._index.completeness.page(self._www, page) as file:
            published = file.part(0, file.size).readall()
        resp.data = lists.part_of_list(published, readable, variant.ending == ".json")
        resp.set_headers((*self._headers, *variant.headers))


def _chosen(req: falcon.Request, compressed: bool = True) -> _Variant:
    """The representation that the client asks for. Raises HTTPNotAcceptable."""
    format_ = req.get_param("format") if req.query_string else None
    encoding = req.env.get("HTTP_ACCEPT_ENCODING") if compressed else None
    variant = _choose(req.env.get("HTTP_ACCEPT"), encoding, format_)
    if variant is None:
        raise falcon.HTTPNotAcceptable(
            description=f"a page is offered as {', '.join(negotiate.OFFERS)}",
            headers={"Vary": "Accept"},
        )
    return variant


@lru_cache(maxsize=256)
def _choose(accept: str | None, encoding: str | None, format_: str | None) -> _Variant | None:
    # In a query an unquoted "+" means a space.
    offer = negotiate.negotiate(accept, format_ and format_.replace(" ", "+"))
    if offer is None:
        return None

    charset = "; charset=utf-8" if offer == negotiate.OLD_HTML else ""
    headers = (("Content-Type", offer + charset),)
    if negotiate.accepts_gzip(encoding):
        return _Variant(f"{_ENDINGS[offer]}.gz", (*headers, ("Content-Encoding", "gzip")))
    return _Variant(_ENDINGS[offer], headers)


@lru_cache(maxsize=1024)
def _normalize(name: str) -> str:
    if not names.is_name(name):
        raise falcon.HTTPBadRequest(description="not the name of a project (PEP 508)")
    return names.normalize(name)
