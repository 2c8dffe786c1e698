"""Escaping of values for systemd, supervisor and nginx."""

import re
from pathlib import Path

import pytest

from appliance.errors import SpecError
from appliance.render import escapes
from benchmarks.ports import HOST, free_port
from tests.nginx.servers import Server, serving

SYSTEMD = [
    ("/usr/bin/x", '"/usr/bin/x"'),
    ("two words", '"two words"'),
    ('a "quoted" word', r'"a \"quoted\" word"'),
    ("Bob's", '"Bob\'s"'),
    ("back\\slash", r'"back\\slash"'),
    ("100%i", '"100%%i"'),
    ("$HOME", '"$$HOME"'),
    (";", '";"'),
    ("größe", '"größe"'),
    ("", '""'),
]
PATHS = [
    # Path, text for systemd 252, text for 219, which does not process quoted text.
    ("/srv/my packages", '"/srv/my packages"', '"/srv/my packages"'),
    ("/srv/100%i", '"/srv/100%%i"', '"/srv/100%i"'),
    ("/srv/$HOME", '"/srv/$HOME"', '"/srv/$HOME"'),
    ("/srv/Bob's", '"/srv/Bob\'s"', '"/srv/Bob\'s"'),
    ("/srv/größe", '"/srv/größe"', '"/srv/größe"'),
    ('/srv/"a"', r'"/srv/\"a\""', None),
    ("/srv/a\\b", r'"/srv/a\\b"', None),
]
LISTEN = [
    ("127.0.0.1", "127.0.0.1:8080"),
    ("localhost", "127.0.0.1:8080"),
    ("0.0.0.0", "0.0.0.0:8080"),
    ("::", "[::]:8080"),
    ("::1", "[::1]:8080"),
]
URL_PATHS = ["", "/team", "/~team/py.pi-2_x", "/v1.2/x"]
SUPERVISOR = [
    ("/usr/bin/x", '"/usr/bin/x"'),
    ("two words", '"two words"'),
    ("100%(here)s", '"100%%(here)s"'),
    ("$HOME", '"$HOME"'),
    ("a;b#c", '"a;b#c"'),
    ("a,b=c", '"a,b=c"'),
    ("größe", '"größe"'),
]
NOT_SUPERVISOR = ['a"b', "Bob's", "a\\b", "a ;b", "a #b"]
NGINX = [
    ("plain", '"plain"'),
    ("", '""'),
    ("with space; {and} #more", '"with space; {and} #more"'),
    ('a "quote"', '"a \\"quote\\""'),
    ("back\\slash", '"back\\\\slash"'),
    ("\\n", '"\\\\n"'),
    ("it's", '"it\'s"'),
    ("föö/日本", '"föö/日本"'),
    (Path("/srv/x"), '"/srv/x"'),
]
NOT_NGINX = ["$uri", "/srv/$x", "a\nb", "a\0", "\x7f"]
CONTROLS = ["a\nb", "a\rb", "a\tb", "a\0b", "\x7f"]


@pytest.mark.parametrize(("value", "word"), SYSTEMD)
def test_systemd_quotes_word(value: str, word: str) -> None:
    """A word of a systemd command line is quoted and contains nothing that systemd expands."""
    assert escapes.systemd(value) == word


@pytest.mark.parametrize(("value", "modern", "old"), PATHS)
def test_systemd_quotes_path_in_list(value: str, modern: str, old: str | None) -> None:
    """A path in a list is quoted for each systemd; 219 rejects paths that need escapes."""
    assert escapes.systemd_path(value, 252) == modern
    if old is None:
        with pytest.raises(SpecError, match="cannot be written in a unit of systemd 219"):
            escapes.systemd_path(value, 219)
    else:
        assert escapes.systemd_path(value, 219) == old


@pytest.mark.parametrize(("host", "listen"), LISTEN)
def test_systemd_listen_accepts_address(host: str, listen: str) -> None:
    """A listening address for systemd has IPv6 addresses in brackets."""
    assert escapes.systemd_listen(host, 8080) == listen


def test_systemd_listen_rejects_name() -> None:
    """A listening address for systemd must not be a host name."""
    with pytest.raises(SpecError) as caught:
        escapes.systemd_listen("pypi.lab", 8080)
    expected = "server.host: expected an address for systemd to listen on, got 'pypi.lab'"
    assert str(caught.value) == expected


@pytest.mark.parametrize(("value", "word"), SUPERVISOR)
def test_supervisor_quotes_word(value: str, word: str) -> None:
    """A word for supervisor is quoted and contains nothing that supervisor expands."""
    assert escapes.supervisor(value) == word


@pytest.mark.parametrize("value", NOT_SUPERVISOR)
def test_supervisor_rejects_unsupported_characters(value: str) -> None:
    """A word for supervisor must not contain quotes, backslashes or the start of a comment."""
    with pytest.raises(SpecError, match="cannot be written in supervisor's configuration"):
        escapes.supervisor(value)


@pytest.mark.parametrize(("value", "word"), NGINX)
def test_nginx_quotes_word(value: object, word: str) -> None:
    """A word for nginx is quoted so that it keeps its value."""
    assert escapes.nginx(value) == word


@pytest.mark.parametrize("value", NOT_NGINX)
def test_nginx_rejects_unsupported_characters(value: str) -> None:
    """A word for nginx must not contain variables or control characters."""
    with pytest.raises(SpecError, match="cannot be written in nginx's configuration"):
        escapes.nginx(value)


def test_nginx_reads_quoted_words(tmp_path: Path) -> None:
    """nginx reads each quoted word back as its value."""
    values = [str(value) for value, _ in NGINX if value]
    body = "".join(f"add_header X-{n} {escapes.nginx(v)};" for n, v in enumerate(values))
    port = free_port()
    site = f"server {{ listen {HOST}:{port}; location / {{ {body} return 204; }} }}"
    with serving(tmp_path / "nginx", site):
        headers = Server(port).ask("/").headers
    sent = [headers[f"x-{n}"].encode("latin-1").decode() for n in range(len(values))]
    assert sent == values


@pytest.mark.parametrize("path", URL_PATHS)
def test_nginx_pattern_matches_only_its_path(path: str) -> None:
    """The nginx pattern of a URL path matches that path and no other."""
    assert re.fullmatch(escapes.nginx_pattern(path), path)
    assert not re.fullmatch(escapes.nginx_pattern(path), path.replace(".", "x") + "/")


@pytest.mark.parametrize("value", CONTROLS)
def test_control_characters_are_rejected(value: str) -> None:
    """No syntax accepts control characters, which could begin another line."""
    for escape in (escapes.systemd, escapes.supervisor, escapes.nginx):
        with pytest.raises(SpecError, match="cannot be written in"):
            escape(value)
    for version in (219, 252):
        with pytest.raises(SpecError, match="cannot be written in"):
            escapes.systemd_path(value, version)
