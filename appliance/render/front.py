"""The whole configuration of an nginx in front of ``pyindex serve``."""

from dataclasses import dataclass, replace
from pathlib import Path

from appliance.policy.rights import Rights
from appliance.render.clients import client_values
from appliance.render.layout import layout
from appliance.render.site import ANY_URL, site_values
from appliance.render.templates import render
from appliance.spec import Spec

_CLIENT, _SCHEME = "$pyindex_client", "$pyindex_scheme"
_ALL = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class FrontValues:
    """Values for the template of the whole configuration, in addition to those of the site.

    Attributes:
        directory: For the process id and temporary files; only this user can read it.
        as_root: Whether root runs it.
        access_log: A file, or ``None`` for no log.
    """

    directory: Path
    as_root: bool
    access_log: str | None


def front(spec: Spec, listen: str, application: str, values: FrontValues) -> str:
    """The configuration of an nginx that listens at ``listen``, an address with port, and asks the
    application at ``application``, a value of ``proxy_pass`` without scheme.

    It answers as the application does by itself: over plain HTTP, at every host name, to everyone
    (``/health`` too, unless the spec says otherwise or has an index that not all may read), without
    the path of the spec's ``url``, which the application knows. Raises SpecError for a path that
    nginx's configuration cannot contain.
    """
    is_for_all = "internal" not in spec.nginx.model_fields_set and not Rights(spec).has_secrets
    internal = _ALL if is_for_all else spec.nginx.internal
    changes = {"tls": None, "stand_in": (), "names": (), "internal": internal}
    nginx = spec.nginx.model_copy(update=changes)
    bare = spec.model_copy(update={"url": None, "nginx": nginx})
    site = replace(
        site_values(bare),
        # As every other server takes it: IPv4, too.
        listen=(f"{listen} ipv6only=off" if listen.startswith("[::]:") else listen,),
        application=application,
        on_host=False,
        answers=str(values.directory / "answers"),
        authority=listen,
        client=_CLIENT,
        scheme=_SCHEME,
    )
    clients = client_values(bare, ANY_URL)
    return render(bare, "nginx/serve.conf.j2", layout(bare), clients, site, values)
