"""The upstreams of a spec: URLs, or sections with a login."""

from pathlib import Path

import pytest

from appliance.spec import Upstream

from .texts import SMALL, is_valid_in_schema, loaded, problems

A = "https://index.example/simple/"


def test_upstream_is_url_or_section(directory: Path) -> None:
    """An upstream is a URL, or a section with URL, user and password file."""
    text = (
        f"{SMALL}upstreams:\n- https://index.example/simple\n- file:///srv/simple/\n"
        f"- {{url: {A}, username: __token__, password_file: secret}}\n- http://index.example/\n"
        f"- file:///srv/other/\n"
    )
    assert loaded(text).upstreams == (
        Upstream(url=A),
        Upstream(url="file:///srv/simple/"),
        Upstream(url=A, username="__token__", password_file=Path("secret").absolute()),
        Upstream(url="http://index.example/"),
        Upstream(url="file:///srv/other/"),
    )
    assert is_valid_in_schema(text)


def test_upstreams_have_one_ca(directory: Path) -> None:
    """The upstreams with https name one CA file; others need none."""
    text = f"{SMALL}upstreams:\n- {{url: {A}, ca: ca.pem}}\n- http://index.example/\n"
    first, second = loaded(text).upstreams
    assert first.ca == Path("ca.pem").absolute()
    assert second.ca is None
    assert is_valid_in_schema(text)


URL = "expected http[s]://HOST[:PORT]/PATH or file:///PATH, without user, query or fragment"
MAPPING = "expected a mapping of keys to values"
CONFLICT = "write all CA certificates into one file, and name it for each"
REJECTED = {
    f"[{{url: {A}, ca: one}}, {{url: {A}, ca: two}}]": "upstreams[1].ca: expected that of"
    f" upstreams[0], 'one', got 'two'; {CONFLICT}",
    f"['http://a/', {A}, {{url: {A}, ca: two}}]": "upstreams[2].ca: expected that of upstreams[1],"
    f" nothing, got 'two'; {CONFLICT}",
    "https://x": "upstreams: expected a list such as [a, b], got 'https://x'",
    "[index.example]": f"upstreams[0].url: {URL}, got 'index.example'",
    "[7]": f"upstreams[0].url: {URL}, got '7'",
    "[https://bob:secret@a/]": f"upstreams[0].url: {URL}, got 'https://...@a/'",
    "['https://a/?token=x']": f"upstreams[0].url: {URL}, got 'https://a/?token=x'",
    "['https://a:99999/']": f"upstreams[0].url: {URL}, got 'https://a:99999/'",
    f"[{A}, [a]]": f"upstreams[1]: {MAPPING}, got a list",
    "[~]": f"upstreams[0]: {MAPPING}, got nothing",
    f"[{{url: {A}, user: a}}]": "upstreams[0].user: unknown key; did you mean username?",
    "[{username: a}]": "upstreams[0].url: missing; expected: URL of its simple API, as clients use"
    " it",
}


@pytest.mark.parametrize("written", REJECTED)
def test_spec_rejects_upstream(directory: Path, written: str) -> None:
    """The spec rejects what is no upstream, by its position."""
    assert problems(f"{SMALL}upstreams: {written}\n") == [f"4: {REJECTED[written]}"]
