"""The spec to deployment files, as values."""

import re
from functools import cache
from urllib.parse import urlsplit

import jinja2

from appliance.errors import SpecError
from appliance.spec import Spec


def nginx(spec: Spec, address: str = "") -> str:
    """The nginx site of the appliance, a file to be included in ``http { }`` (nginx >= 1.18).

    It listens on all addresses unless one is given, at the port of the spec's ``url``. Raises
    SpecError for a path that nginx cannot be told.
    """
    url = urlsplit(spec.url or "http://_")
    port = url.port or (443 if spec.nginx.tls else 80)
    return (
        _environment()
        .get_template("nginx/pyindex.conf.j2")
        .render(
            spec=spec,
            id=f"pyindex_{spec.name.replace('-', '_')[:16]}",  # PCRE takes names of 32
            listen=f"{address}:{port}" if address else port,
            host=url.hostname,
            prefix=url.path,
            application=_reachable(spec.server.host, spec.server.port),
            mounts=["", *(f"/{name}" for name in spec.indexes)],
        )
    )


def escape_nginx(value: object) -> str:
    """One word of nginx's configuration.

    Raises SpecError for ``$``, which nginx has no way to write, and control characters.
    """
    text = str(value)
    if re.search(r"[\x00-\x1f\x7f$]", text):
        raise SpecError([f"{text!r} cannot stand in nginx's configuration: it has a '$'"])
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _reachable(host: str, port: int) -> str:
    """Where a server is found that listens on ``host``."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # not to bind
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701  # each output has its own filter instead
        loader=jinja2.PackageLoader("appliance.deploy", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["nginx"] = escape_nginx
    return environment
