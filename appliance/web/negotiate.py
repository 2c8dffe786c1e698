"""Which form of a page a client wants, and whether it may be compressed (RFC 9110, section 12).

falcon's ``mediatypes.quality`` gives 14 of the 67 headers in tests/web/accepts.py another answer:
it does not tell how closely a range fits, by which browsers and installers of old get HTML, and
one malformed member spoils the header.
"""

import re

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
OLD_HTML = "text/html"
OFFERS = (JSON, HTML, OLD_HTML)
"""What pages are offered as; the first is the best."""

_LATEST = {offer.replace(".v1+", ".latest+"): offer for offer in OFFERS if offer != OLD_HTML}
_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_SPACE = " \t"


def negotiate(accept: str | None, wanted: str | None = None) -> str | None:
    """The offer that suits best, or ``None`` if the client takes none of them (PEP 691).

    ``accept`` is the header, ``None`` or empty if there is none; ``wanted`` the value of
    ``?format=``, which goes before it if it is one of the offers.
    """
    if wanted in OFFERS:
        return wanted
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
    """Whether the client names gzip and does not forbid it. As in nginx, ``*`` is not enough."""
    return _weights(accept_encoding or "").get("gzip", 0) > 0


def _score(offer: str, weights: dict[str, float]) -> tuple[float, int]:
    """Quality of ``offer`` by the range that fits it most closely, and how closely that is."""
    for specificity, text in ((2, offer), (1, f"{offer.partition('/')[0]}/*"), (0, "*/*")):
        if text in weights:
            return weights[text], specificity
    return 0, 0


def _weights(header: str) -> dict[str, float]:
    """The members of an Accept header with their quality, where two are the same the higher.

    What is malformed is passed over. So is a media range with parameters, which none of our
    offers has, but ``charset``, which is what all of them are in.
    """
    found: dict[str, float] = {}
    for member in header.lower().split(","):
        name, *parameters = (part.strip(_SPACE) for part in member.split(";"))
        quality = _quality(parameters)
        if name and quality is not None:
            name = _LATEST.get(name, name)
            found[name] = max(quality, found.get(name, 0))
    return found


def _quality(parameters: list[str]) -> float | None:
    for parameter in parameters:
        key, _, value = (part.strip(_SPACE) for part in parameter.partition("="))
        if key == "q":
            return float(value) if _QUALITY.fullmatch(value) else None
        if key not in ("", "charset"):
            return None
    return 1
