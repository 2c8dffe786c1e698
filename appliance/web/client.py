"""``/-/``: settings files for clients, ready to be saved.

nginx sends the same from files, except those of one index, ``/INDEX/-/``.
"""

import falcon

from appliance import headers, render
from appliance.render.clients import client_names, of_one_index
from appliance.web import address
from appliance.web.served import ServedIndex

_CA = "ca.pem"


class ClientFile:
    """A settings file by its name, or the certificate of the private CA.

    ``url_path`` is that of one index, whose clients the settings are for, or "" for all indexes.
    """

    def __init__(self, index: ServedIndex, url_path: str) -> None:
        self._spec, self._url_path = index.spec, url_path
        self._client_spec = of_one_index(index.spec, index.name) if url_path else index.spec

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        tls = self._spec.nginx.tls

        known = client_names(self._spec)
        if name in known:
            resp.content_type = falcon.MEDIA_TEXT
            url = f"{address.base(self._spec, req)}{self._url_path}"
            resp.text = render.client(self._client_spec, name, url)
        elif name == _CA and tls is not None and tls.ca is not None:
            resp.content_type = "application/x-x509-ca-cert"
            resp.data = tls.ca.read_bytes()
        else:
            raise falcon.HTTPNotFound(
                description=f"no settings file of this name; choose one of {', '.join(known)}"
            )

        resp.set_headers(headers.CLIENT_FILE)

    on_head = on_get
