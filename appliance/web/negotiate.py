"""Content negotiation: the form of a page and its compression (RFC 9110, section 12).

falcon's ``mediatypes.quality`` gives 14 of the 67 headers in tests/web/accepts.py another answer:
it does not tell how closely a range fits, by which browsers and installers of old get HTML, and
one malformed member spoils the header.
"""

import re

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
OLD_HTML = "text/html"
OFFERS = (JSON, HTML, OLD_HTML)
"""Media types of pages, the best first."""

_LATEST = {offer.replace(".v1+", ".latest+"): offer for offer in OFFERS if offer != OLD_HTML}
_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_SPACE = " \t"


def negotiate(accept: str | None, format_: str | None = None) -> str | None:
    """The offer that suits best, or ``None`` if the client accepts none of them (PEP 691).

    ``accept`` is the value of the header, ``None`` or empty if there is none; ``format_`` that of
    ``?format=``, which has precedence if it is one of the offers.
    """
    if format_ in OFFERS:
        return format_

    weights = _weights(accept or "*/*")
    scores = {offer: _score(offer, weights) for offer in OFFERS}
    best = max(scores.values())
    quality, specificity = best
    if not quality:
        return None

    suitable = [offer for offer in OFFERS if scores[offer] == best]
    if specificity < 2 and OLD_HTML in suitable:
        return OLD_HTML  # not named by the client: a browser, curl, or an installer of old
    return suitable[0]


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether the header names gzip and does not exclude it. As in nginx, ``*`` is not enough."""
    return _weights(accept_encoding or "").get("gzip", 0) > 0


def _score(offer: str, weights: dict[str, float]) -> tuple[float, int]:
    """Quality of ``offer`` by the most specific media range that includes it, and that range's
    specificity, 0 to 2."""
    for specificity, media_range in ((2, offer), (1, f"{offer.partition('/')[0]}/*"), (0, "*/*")):
        if media_range in weights:
            return weights[media_range], specificity
    return 0, 0


def _weights(header: str) -> dict[str, float]:
    """The members of an Accept header with their quality; of two equal members the higher.

    Malformed members are ignored. So are media ranges with parameters, which none of the offers
    has, except ``charset``: all of them are in UTF-8.
    """
    weights: dict[str, float] = {}
    for member in header.lower().split(","):
        name, *parameters = (part.strip(_SPACE) for part in member.split(";"))
        quality = _quality(parameters)
        if name and quality is not None:
            name = _LATEST.get(name, name)
            weights[name] = max(quality, weights.get(name, 0))
    return weights


def _quality(parameters: list[str]) -> float | None:
    for parameter in parameters:
        key, _, value = (part.strip(_SPACE) for part in parameter.partition("="))
        if key == "q":
            return float(value) if _QUALITY.fullmatch(value) else None
        if key not in ("", "charset"):
            return None
    return 1
