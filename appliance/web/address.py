"""Where we are, as a client sees it."""

from urllib.parse import urlsplit

import falcon

from appliance.spec import Spec


def base(spec: Spec, req: falcon.Request) -> str:
    """The URL that all others begin with, without a slash at its end.

    Only a spec without ``url`` leaves it to the request: what a client writes into Host would
    otherwise stand in everybody's pages. Raises HTTPBadRequest if Host is no address.
    """
    if spec.url is not None:
        return spec.url
    url = f"{req.scheme}://{req.netloc}"
    try:
        _ = urlsplit(url).port
    except ValueError as error:  # a port that is no number, a bracket of IPv6 without the other
        raise falcon.HTTPBadRequest(description=f"Host is no address: {error}") from None
    return url
