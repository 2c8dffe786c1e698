"""The URL of the appliance, as a client sees it, and the address of a client."""

import ipaddress
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


def client(req: falcon.Request) -> str:
    """The address of the client, for logs and limits. A proxy on this machine adds the address that
    it saw to X-Forwarded-For; what other clients write there does not count."""
    forwarded = req.get_header("X-Forwarded-For", default="").split(",")
    for text in (req.remote_addr, *reversed(forwarded)):
        address = _parse(text)
        if address is not None and not address.is_loopback:
            return str(address)
    return "127.0.0.1"


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, as IPv4 if it stands for one; ``None`` for what is none, as of a Unix socket."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
