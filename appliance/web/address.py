"""Where we are, as a client sees it."""

from urllib.parse import urlsplit

import falcon

from appliance.spec import Spec


def base(spec: Spec, req: falcon.Request) -> str:
    """The URL that all others begin with, without a slash at its end.

    Only a spec without ``url`` leaves it to the request: what a client writes into Host would
    otherwise stand in everybody's pages.
    """
    return spec.url or f"{req.scheme}://{req.netloc}"


def path(spec: Spec) -> str:
    """The path prefix of the spec's ``url``: "" or "/prefix"."""
    return urlsplit(spec.url or "").path
