"""``/-/``: settings of clients, ready to be saved. nginx sends the same from files of its own, but
for those of one index, ``/INDEX/-/``."""

import falcon

from appliance import headers, render
from appliance.render.clients import of_one_index
from appliance.web import address
from appliance.web.served import ServedIndex

_CA = "ca.pem"


class ClientFile:
    """One file of settings, or the certificate of the private CA, by its name; for clients of all
    indexes or, ``below`` the path of one, of that one alone."""

    def __init__(self, index: ServedIndex, below: str) -> None:
        self._spec, self._below = index.spec, below
        self._shown = of_one_index(index.spec, index.name) if below else index.spec

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        tls = self._spec.nginx.tls
        if name in render.CLIENT:
            resp.content_type = falcon.MEDIA_TEXT
            url = f"{address.base(self._spec, req)}{self._below}"
            resp.text = render.client(self._shown, name, url)
        elif name == _CA and tls is not None and tls.ca is not None:
            resp.content_type = "application/x-x509-ca-cert"
            resp.data = tls.ca.read_bytes()
        else:
            known = ", ".join(render.CLIENT)
            raise falcon.HTTPNotFound(description=f"no settings of that name; there are {known}")
        resp.set_headers(headers.CLIENT_FILE)

    on_head = on_get
