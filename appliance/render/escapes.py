"""One escape for each syntax, named after it. What a syntax cannot carry is a SpecError."""

import ipaddress
import re

from appliance.errors import SpecError
from appliance.spec.addresses import bracketed
from appliance.text import has_controls


def nginx(value: object) -> str:
    """One word of nginx's configuration.

    Raises SpecError for ``$``, which nginx has no way to write, and control characters.
    """
    text = _line(value, "nginx's configuration")
    if "$" in text:
        raise SpecError([f"{text!r} cannot be written in nginx's configuration: it has a '$'"])
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def nginx_pattern(path: str) -> str:
    """The path of a URL, of the characters that a spec may have there, as a piece of a regular
    expression."""
    return path.replace(".", r"\.")


def systemd(value: object) -> str:
    """One word of a command line in a unit, of any systemd."""
    text = _line(value, "a systemd unit").replace("%", "%%").replace("$", "$$")
    return _quoted(text)


def systemd_path(value: object, version: int) -> str:
    """One path of a list such as ReadWritePaths=, for a systemd of that version.

    219 takes what is between quotes as it stands: raises SpecError for quotes and backslashes.
    """
    text = _line(value, "a systemd unit")
    if version >= 252:
        return _quoted(text.replace("%", "%%"))
    if re.search(r'["\\]', text):
        raise SpecError([f"{text!r} cannot be written in a unit of systemd {version}"])
    return f'"{text}"'


def systemd_listen(host: str, port: int) -> str:
    """An address and a port for ListenStream=. Raises SpecError for a name: systemd takes none."""
    try:
        address = ipaddress.ip_address({"localhost": "127.0.0.1"}.get(host, host))
    except ValueError:
        problem = f"server.host: expected an address for systemd to listen on, got {host!r}"
        raise SpecError([problem]) from None
    return f"{bracketed(str(address))}:{port}"


def supervisor(value: object) -> str:
    """One word of a command line, or one value of ``environment=``, for supervisor 3.4 and 4.

    Raises SpecError for quotes and backslashes, which the two places read differently, and for what
    begins a comment even between quotes.
    """
    text = _line(value, "supervisor's configuration")
    if re.search(r"""["'\\]|\s[;#]""", text):
        raise SpecError([f"{text!r} cannot be written in supervisor's configuration"])
    return '"' + text.replace("%", "%%") + '"'


def selinux(value: object) -> str:
    """A path as a pattern of SELinux's file contexts, where a space would end it."""
    text = re.sub(r"([][.^$?*+|(){}\\])", r"\\\1", _line(value, "SELinux's contexts"))
    return text.replace(" ", r"\s")


def _line(value: object, syntax: str) -> str:
    text = str(value)
    if has_controls(text):
        raise SpecError([f"{text!r} cannot be written in {syntax}: it has a control character"])
    return text


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
