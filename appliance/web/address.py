"""The URL of the appliance, as a client sees it."""

from urllib.parse import urlsplit

import falcon

from appliance.spec import Spec


def base(spec: Spec, req: falcon.Request) -> str:
    """The URL that all others begin with, without a slash at its end.

    Raises HTTPBadRequest if the header Host is no address.
    """
    # With ``url`` in the spec, no client decides with its Host which links others get.
    if spec.url is not None:
        return spec.url

    url = f"{req.scheme}://{req.netloc}"
    try:
        _ = urlsplit(url).port
    except ValueError as error:  # a port that is not a number, an unclosed bracket of IPv6
        raise falcon.HTTPBadRequest(
            description=f"the header Host is not an address: {error}"
        ) from None
    return url


def client(req: falcon.Request) -> str | None:
    """The address of the client; of one behind nginx, the address that nginx has seen. ``None`` for
    a client at a Unix socket."""
    forwarded = req.get_header("X-Forwarded-For")
    peer = req.env.get("REMOTE_ADDR", "")
    if forwarded and (not peer or peer in ("127.0.0.1", "::1")):
        return forwarded.rpartition(",")[2].strip()
    return peer or None
