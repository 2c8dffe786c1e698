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
    seen = [req.remote_addr, *reversed(req.get_header("X-Forwarded-For", default="").split(","))]
    for text in seen:
        if not _is_local(text.strip()):
            return text.strip()[:64]
    return "127.0.0.1"


def _is_local(text: str) -> bool:
    """Whether it is this machine: a Unix socket has no address. What is no address at all was not
    written by a proxy of ours, and is passed over."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return True
    return address.is_loopback or bool(
        isinstance(address, ipaddress.IPv6Address)
        and address.ipv4_mapped
        and address.ipv4_mapped.is_loopback
    )
