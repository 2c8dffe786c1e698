"""Which form of a page a client gets."""

from itertools import permutations

import pytest
from falcon import mediatypes
from hypothesis import given
from hypothesis import strategies as st

from appliance.web.negotiate import HTML, JSON, OFFERS, OLD_HTML, accepts_gzip, negotiate
from tests.web import accepts


@pytest.mark.parametrize(("client", "accept", "offer"), accepts.CLIENTS)
def test_what_clients_get(client: str, accept: str | None, offer: str | None) -> None:
    """Each client gets the form that it reads best."""
    assert negotiate(accept) == offer


@pytest.mark.parametrize(("accept", "offer"), accepts.RULES)
def test_quality_then_closeness_then_our_preference(accept: str, offer: str | None) -> None:
    """The offer of the highest quality wins, then the one named most closely, then the best."""
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


@pytest.mark.parametrize(("wanted", "accept", "offer"), FORMATS)
def test_format_goes_before_accept(
    wanted: str | None, accept: str | None, offer: str | None
) -> None:
    """``?format=`` with one of the three decides; with anything else the header does."""
    assert negotiate(accept, wanted) == offer


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
def test_gzip_goes_only_to_who_names_it(header: str | None, accepted: bool) -> None:
    """gzip must be named, and not be forbidden."""
    assert accepts_gzip(header) is accepted


@given(accepts.well_formed())
def test_no_offer_of_higher_quality_is_passed_over(members: list[str]) -> None:
    """Another reader of the header finds no better offer, and none where there is none."""
    header = ", ".join(members)
    qualities = {offer: mediatypes.quality(offer, header) for offer in OFFERS}
    chosen = negotiate(header)
    assert (qualities[chosen] if chosen else 0) == max(qualities.values())


@given(accepts.well_formed())
def test_order_has_no_meaning(members: list[str]) -> None:
    """The same members in any order get the same."""
    assert len({negotiate(",".join(order)) for order in permutations(members[:4])}) == 1


@given(st.one_of(accepts.headers(), st.text()), st.one_of(st.none(), st.text()))
def test_whatever_is_sent_there_is_an_answer(header: str, wanted: str | None) -> None:
    """No header and no format breaks it."""
    assert negotiate(header, wanted) in (*OFFERS, None)
    assert accepts_gzip(header) in (True, False)
