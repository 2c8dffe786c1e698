"""Settings files for clients: pip, uv, Poetry, PDM, conda; and host names."""

import contextlib
import ipaddress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from appliance.policy.rights import Rights
from appliance.render.layout import LayoutValues, layout
from appliance.render.templates import render
from appliance.spec import Spec

# Also where a directory is served, without a spec.
HEAD = "Rendered by pyindex for clients of this index; do not edit."
CLIENT = ("pip.conf", "uv.toml", "poetry.toml", "pdm.toml", "environment.yml")
HOSTS = "hosts"


@dataclass(frozen=True)
class ClientValues:
    """Values for the templates of client files.

    Attributes:
        url: Where clients reach the appliance, without a slash at its end.
        host: Its host name.
        secure: Whether pip connects to it without ``trusted-host``.
        private_ca: Whether clients need the certificate at ``/-/ca.pem``.
        ca: Path of that certificate on the client, if it is known.
        address: Its IP address, "" if it is not known.
    """

    url: str
    host: str
    secure: bool
    private_ca: bool
    ca: Path | None = None
    address: str = ""


def client_values(
    spec: Spec, url: str, ca: Path | None = None, address: str | None = None
) -> ClientValues:
    """The values of :class:`ClientValues` for clients that reach the appliance at ``url``."""
    host = urlsplit(url).hostname or ""
    return ClientValues(
        url=url,
        host=host,
        secure=is_secure(url),
        private_ca=spec.nginx.tls is not None and spec.nginx.tls.ca is not None,
        ca=ca,
        address=address or _address(host),
    )


def is_secure(url: str) -> bool:
    """Whether pip and PDM connect to ``url`` without further settings: by HTTPS, and to this
    machine (``SECURE_ORIGINS`` of pip)."""
    host = urlsplit(url).hostname or ""
    address = _address(host)
    is_here = host == "localhost" or (address and ipaddress.ip_address(address).is_loopback)
    return url.startswith("https:") or bool(is_here)


def _address(host: str) -> str:
    """The host of a URL if it is an address."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return ""


def client_names(spec: Spec) -> tuple[str, ...]:
    """The names of all client files: ``CLIENT``, and ``HOSTS`` with ``nginx.stand_in``."""
    return (*CLIENT, HOSTS) if spec.nginx.stand_in else CLIENT


def client_layout(spec: Spec, head: str = HEAD) -> LayoutValues:
    """The layout for client files, which begin with ``head``. Every client may read them: they name
    the first index, and those that are for all."""
    rights = Rights(spec)
    named = {
        name: index
        for name, index in spec.indexes.items()
        if name == spec.root or rights.is_open(name)
    }
    return replace(layout(spec.model_copy(update={"indexes": named})), head=head)


def client(spec: Spec, name: str, url: str, ca: Path | None = None, head: str = HEAD) -> str:
    """One of :func:`client_names`, for clients that reach the appliance at ``url``, and that have
    the certificate of its private CA at ``ca`` if that is known. ``head`` is its first line."""
    values = client_values(spec, url, ca)
    return render(spec, f"client/{name}.j2", client_layout(spec, head), values)


def hosts(spec: Spec, url: str, address: str | None) -> str:
    """The file ``HOSTS`` for the IP ``address`` of the appliance, or that in ``url`` if any."""
    values = client_values(spec, url, address=address)
    return render(spec, f"client/{HOSTS}.j2", client_layout(spec), values)


def settings(spec: Spec, name: str, url: str) -> str:
    """The text of :func:`client`, without comments and blank lines."""
    lines = client(spec, name, url).splitlines()
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))


def of_one_index(spec: Spec, index: str) -> Spec:
    """A spec whose client files name one index alone."""
    section = spec.indexes[index].model_copy(update={"bases": ()})
    only = {"name": f"{spec.name}-{index}", "indexes": {index: section}}
    return spec.model_copy(update=only)
