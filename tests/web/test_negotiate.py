"""Content negotiation: the form of a page that a client gets."""

from itertools import permutations

import pytest
from falcon import mediatypes
from hypothesis import given
from hypothesis import strategies as st

from appliance.web.negotiate import HTML, JSON, OFFERS, OLD_HTML, accepts_gzip, negotiate
from tests.web import accepts


@pytest.mark.parametrize(("client", "accept", "offer"), accepts.CLIENTS)
def test_known_client_gets_best_form(client: str, accept: str | None, offer: str | None) -> None:
    """A known client gets the best form that it can read."""
    assert negotiate(accept) == offer


@pytest.mark.parametrize(("accept", "offer"), accepts.RULES)
def test_negotiation_prefers_quality_then_specificity(accept: str, offer: str | None) -> None:
    """Negotiation prefers quality, then the most specific range, then the order of offers."""
    assert negotiate(accept) == offer


FORMATS = [
    (JSON, OLD_HTML, JSON),
    (HTML, None, HTML),
    (OLD_HTML, f"{OLD_HTML};q=0, {JSON}", OLD_HTML),
    (JSON, "image/png", JSON),
    (None, JSON, JSON),
    ("", JSON, JSON),
    ("application/vnd.pypi.simple.v2+json", HTML, HTML),
    (accepts.LATEST_JSON, HTML, HTML),
    ("*/*", JSON, JSON),
    (f"{JSON},{HTML}", OLD_HTML, OLD_HTML),
    (f"{JSON};q=1", OLD_HTML, OLD_HTML),
    ("json", "image/png", None),
]


@pytest.mark.parametrize(("form", "accept", "offer"), FORMATS)
def test_format_parameter_overrides_accept(
    form: str | None, accept: str | None, offer: str | None
) -> None:
    """A known form in ``?format=`` overrides the Accept header; an unknown one is ignored."""
    assert negotiate(accept, form) == offer


GZIP = [
    ("gzip", True),
    ("gzip, deflate, zstd", True),
    ("deflate, gzip;q=1.0, *;q=0.5", True),
    ("br, GZIP ; q=0.001", True),
    (None, False),
    ("", False),
    ("identity", False),
    ("*", False),
    ("gzip;q=0", False),
    ("deflate, gzip; q=0.000", False),
    ("xgzip, gzipx, x-gzip", False),
]


@pytest.mark.parametrize(("header", "accepted"), GZIP)
def test_gzip_requires_name_in_header(header: str | None, accepted: bool) -> None:
    """The server uses gzip only if Accept-Encoding names it with a quality above 0."""
    assert accepts_gzip(header) is accepted


@given(accepts.well_formed())
def test_chosen_form_has_highest_quality(members: list[str]) -> None:
    """Negotiation chooses a form of the highest quality that falcon computes, or none."""
    header = ", ".join(members)
    qualities = {offer: mediatypes.quality(offer, header) for offer in OFFERS}
    chosen = negotiate(header)
    assert (qualities[chosen] if chosen else 0) == max(qualities.values())


@given(accepts.well_formed())
def test_order_of_members_does_not_matter(members: list[str]) -> None:
    """Negotiation chooses the same form for the same members in any order."""
    assert len({negotiate(",".join(order)) for order in permutations(members[:4])}) == 1


@given(st.one_of(accepts.headers(), st.text()), st.one_of(st.none(), st.text()))
def test_any_header_has_result(header: str, form: str | None) -> None:
    """Negotiation returns a form or None for any header and any format."""
    assert negotiate(header, form) in (*OFFERS, None)
    assert accepts_gzip(header) in (True, False)
