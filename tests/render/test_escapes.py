"""What each syntax takes, and what it cannot carry."""

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
    # Path, for systemd 252, for 219: that takes what is between quotes as it stands.
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
def test_a_word_of_a_systemd_command_line(value: str, word: str) -> None:
    """Quoted, and with nothing for systemd to expand."""
    assert escapes.systemd(value) == word


@pytest.mark.parametrize(("value", "modern", "old"), PATHS)
def test_a_path_in_a_list_of_systemd(value: str, modern: str, old: str | None) -> None:
    """systemd 219 has no escapes and no specifiers there; what it cannot be told is refused."""
    assert escapes.systemd_path(value, 252) == modern
    if old is None:
        with pytest.raises(SpecError, match="cannot be written in a unit of systemd 219"):
            escapes.systemd_path(value, 219)
    else:
        assert escapes.systemd_path(value, 219) == old


@pytest.mark.parametrize(("host", "listen"), LISTEN)
def test_an_address_for_systemd_to_listen_on(host: str, listen: str) -> None:
    """Addresses of both kinds, those of IPv6 in brackets."""
    assert escapes.systemd_listen(host, 8080) == listen


def test_systemd_listens_on_no_name() -> None:
    """It asks nobody for the address of a name."""
    with pytest.raises(SpecError) as caught:
        escapes.systemd_listen("pypi.lab", 8080)
    wanted = "server.host: expected an address for systemd to listen on, got 'pypi.lab'"
    assert str(caught.value) == wanted


@pytest.mark.parametrize(("value", "word"), SUPERVISOR)
def test_a_word_of_supervisor(value: str, word: str) -> None:
    """Quoted, and with nothing for supervisor to expand."""
    assert escapes.supervisor(value) == word


@pytest.mark.parametrize("value", NOT_SUPERVISOR)
def test_what_supervisor_cannot_carry(value: str) -> None:
    """Quotes and backslashes, and what it takes for a comment even between quotes."""
    with pytest.raises(SpecError, match="cannot be written in supervisor's configuration"):
        escapes.supervisor(value)


@pytest.mark.parametrize(("value", "word"), NGINX)
def test_a_word_of_nginx(value: object, word: str) -> None:
    """Whatever it holds, a value neither ends early nor becomes something else."""
    assert escapes.nginx(value) == word


@pytest.mark.parametrize("value", NOT_NGINX)
def test_what_nginx_cannot_be_told(value: str) -> None:
    """nginx has no way to write these."""
    with pytest.raises(SpecError, match="cannot be written in nginx's configuration"):
        escapes.nginx(value)


def test_words_are_what_nginx_reads(tmp_path: Path) -> None:
    """nginx reads each word back as the value."""
    values = [str(value) for value, _ in NGINX if value]
    body = "".join(f"add_header X-{n} {escapes.nginx(v)};" for n, v in enumerate(values))
    port = free_port()
    site = f"server {{ listen {HOST}:{port}; location / {{ {body} return 204; }} }}"
    with serving(tmp_path / "nginx", site):
        headers = Server(port).ask("/").headers
    sent = [headers[f"x-{n}"].encode("latin-1").decode() for n in range(len(values))]
    assert sent == values


@pytest.mark.parametrize("path", URL_PATHS)
def test_the_path_of_a_url_is_a_pattern_of_itself(path: str) -> None:
    """And of no other path."""
    assert re.fullmatch(escapes.nginx_pattern(path), path)
    assert not re.fullmatch(escapes.nginx_pattern(path), path.replace(".", "x") + "/")


@pytest.mark.parametrize("value", CONTROLS)
def test_no_syntax_carries_control_characters(value: str) -> None:
    """A value cannot begin a line of its own."""
    for escape in (escapes.systemd, escapes.supervisor, escapes.nginx):
        with pytest.raises(SpecError, match="cannot be written in"):
            escape(value)
    for version in (219, 252):
        with pytest.raises(SpecError, match="cannot be written in"):
            escapes.systemd_path(value, version)
