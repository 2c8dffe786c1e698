"""Settings files for clients: pip, uv, Poetry, conda."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from appliance.render.layout import layout
from appliance.render.templates import render
from appliance.spec import Spec

CLIENT = ("pip.conf", "uv.toml", "poetry.toml", "environment.yml")


@dataclass(frozen=True)
class ClientValues:
    """What templates of client files may use.

    Attributes:
        url: Where clients reach the appliance, without a slash at its end.
        host: Its host name.
        secure: Whether it is HTTPS.
        private_ca: Whether clients need the certificate at ``/-/ca.pem``.
    """

    url: str
    host: str
    secure: bool
    private_ca: bool


def client_values(spec: Spec, url: str) -> ClientValues:
    """The values of :class:`ClientValues` for clients that reach the appliance at ``url``."""
    return ClientValues(
        url=url,
        host=urlsplit(url).hostname or "",
        secure=url.startswith("https:"),
        private_ca=spec.nginx.tls is not None and spec.nginx.tls.ca is not None,
    )


def client(spec: Spec, name: str, url: str) -> str:
    """One of ``CLIENT``, for clients that reach the appliance at ``url``."""
    return render(spec, f"client/{name}.j2", layout(spec), client_values(spec, url))


def settings(spec: Spec, name: str, url: str) -> str:
    """What :func:`client` gives, without comments and blank lines."""
    lines = client(spec, name, url).splitlines()
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))


def of_one_index(spec: Spec, index: str) -> Spec:
    """A spec whose client files name one index alone."""
    only = {"name": f"{spec.name}-{index}", "indexes": {index: spec.indexes[index]}}
    return spec.model_copy(update=only)
