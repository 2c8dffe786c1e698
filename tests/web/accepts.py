"""Accept headers: those of known clients, cases of the rules, and generated ones."""

from hypothesis import strategies as st

from appliance.web.negotiate import HTML, JSON, OLD_HTML

LATEST_JSON = JSON.replace("v1", "latest")
LATEST_HTML = HTML.replace("v1", "latest")

CLIENTS: list[tuple[str, str | None, str | None]] = [
    ("easy_install, Python-urllib", None, OLD_HTML),
    ("curl, requests, wget", "*/*", OLD_HTML),
    ("pip 8 to 21", OLD_HTML, OLD_HTML),
    ("pip 22 to 26", f"{JSON}, {HTML}; q=0.1, {OLD_HTML}; q=0.01", JSON),
    ("uv", f"{JSON}, {HTML};q=0.2, {OLD_HTML};q=0.01", JSON),
    ("poetry", f"{JSON}, */*;q=0.1", JSON),
    ("bandersnatch", JSON, JSON),
    ("devpi", f"{HTML};q=0.2, {JSON}, {OLD_HTML};q=0.01", JSON),
    (
        "Firefox",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        OLD_HTML,
    ),
    ("Java", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", OLD_HTML),
]

RULES: list[tuple[str, str | None]] = [
    # a named form, and the latest version of it
    (HTML, HTML),
    (LATEST_JSON, JSON),
    (LATEST_HTML, HTML),
    (f"{LATEST_HTML}, {OLD_HTML};q=0.5", HTML),
    # the higher quality
    (f"{JSON};q=0.5, {OLD_HTML};q=0.501", OLD_HTML),
    (f"{JSON};q=0.5, {OLD_HTML};q=0.5", JSON),
    (f"{HTML};q=0.2,{OLD_HTML};q=0.2", HTML),
    (f"{OLD_HTML}, {JSON}", JSON),
    (f"{OLD_HTML}, {HTML}", HTML),
    (f"{OLD_HTML},{JSON};q=0.9", OLD_HTML),
    (f"{JSON};q=1.000, {OLD_HTML};q=1", JSON),
    # the most specific range that matches an offer decides about it
    (f"text/*;q=0.5, {HTML}", HTML),
    (f"text/*, {OLD_HTML};q=0.3, {JSON};q=0.4", JSON),
    (f"*/*, {OLD_HTML};q=0.5", JSON),
    (f"*/*;q=0.9, {OLD_HTML};q=0", JSON),
    ("text/html;q=0, */*", JSON),
    (f"application/*, {JSON};q=0", HTML),
    (f"*/*, {HTML}", HTML),
    # by wildcards alone
    ("", OLD_HTML),
    ("text/*", OLD_HTML),
    ("application/*", JSON),
    ("application/*, text/*", OLD_HTML),
    ("*/*;q=0.001", OLD_HTML),
    # any case, any space, empty members
    (f"  {JSON.upper()} \t;\tQ = 0.5 ,, ", JSON),
    (f"TEXT/HTML , {HTML};q=0.9", OLD_HTML),
    (f",{JSON} ,", JSON),
    # parameters other than q: charset is known, others name forms that are not offered
    ("text/html;charset=utf-8", OLD_HTML),
    ("text/html; charset=utf-8; q=0.1, */*;q=0.2", JSON),
    (f"text/html;level=1, {HTML};q=0.1", HTML),
    (f"{JSON};q=0.1;extension=1", JSON),
    # the same range twice: the higher quality counts
    (f"{JSON};q=0, {JSON}", JSON),
    (f"{JSON}, {JSON};q=0", JSON),
    (f"{LATEST_JSON};q=0.1, {JSON};q=0.3, {OLD_HTML};q=0.2", JSON),
    (f"{OLD_HTML}, {OLD_HTML};q=0, {JSON};q=0.5", OLD_HTML),
    # no form that is offered
    ("application/json", None),
    ("application/vnd.pypi.simple.v2+json", None),
    (f"{JSON};q=0", None),
    (f"{JSON};q=0.000", None),
    ("*/*;q=0", None),
    (f"x{JSON}", None),
    (f"{JSON}x", None),
    (f"{JSON} {OLD_HTML}", None),
    ("text/htmlx, image/png", None),
    # malformed members are ignored
    ("*", None),
    ("text", None),
    (f"{JSON};q", None),
    (f"{JSON};q=", None),
    (f"{JSON};q=.5", None),
    (f"{JSON};q=1.5", None),
    (f"{JSON};q=0.1234", None),
    (f"{JSON};q=-1", None),
    (f"{JSON};q=\u00b2".encode().decode("latin-1"), None),
    (f"{JSON};q=1e0, {OLD_HTML};q=0.1", OLD_HTML),
    (";;;,,,;q=1", None),
    ('"\\', None),
    ("," * 2000, None),
    ("*/*;q=0," * 500 + JSON, JSON),
]

_RANGES = (JSON, HTML, OLD_HTML, "text/*", "application/*", "*/*", "application/json", "text/plain")
_SPACE = st.sampled_from(("", "", " ", "\t "))
_QUALITY = st.sampled_from(("", "", "", "1", "0", "0.5", "0.50", "0.001", "0.", "1.000"))


@st.composite
def _member(draw: st.DrawFn) -> str:
    text, quality = draw(st.sampled_from(_RANGES)), draw(_QUALITY)
    if not quality:
        return text
    return f"{text}{draw(_SPACE)};{draw(_SPACE)}q={quality}"


def well_formed() -> st.SearchStrategy[list[str]]:
    """Return a strategy of lists of header members without repeated ranges."""
    members = st.lists(_member(), min_size=1, max_size=5)
    return members.filter(lambda texts: len({_range(text) for text in texts}) == len(texts))


def headers() -> st.SearchStrategy[str]:
    """Return a strategy of headers: known ones, pieces of known ones, and arbitrary text."""
    known = [text for _, text, _ in CLIENTS if text] + [text for text, _ in RULES]
    # Both readers reject long headers, with different limits.
    known = [text for text in known if len(text) < 1000]
    pieces = (*_RANGES, LATEST_JSON, ",", ", ", ";", ";q=0", ";q=0.5", ";q=1", " ", "#", "x")
    printable = st.characters(min_codepoint=32, max_codepoint=126)
    return st.one_of(
        st.lists(st.sampled_from(known), max_size=3).map(", ".join),
        st.lists(st.one_of(_member(), st.sampled_from(pieces)), max_size=6).map(",".join),
        st.lists(st.sampled_from(pieces), max_size=9).map("".join),
        st.text(printable, max_size=30),
    ).map(str.strip)


def _range(member: str) -> str:
    return member.partition(";")[0].strip()
