"""The forms of single values in a spec: names, paths, durations, sizes, as people write them.

Each is a type for a pydantic model and brings its check and its JSON Schema. A check takes text and
raises ValueError with what was wanted; ``appliance.spec`` adds where, and what it got.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from annotated_types import GroupedMetadata
from pydantic import (
    BeforeValidator,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

from appliance.text import has_controls

# Top-level paths of ours, in lower case; others (-, @date, .well-known) are no NAME anyway.
RESERVED = (
    *("health", "json", "legacy", "metrics", "packages", "project"),
    *("pypi", "ready", "rpc2", "search", "simple", "static"),
)
NAME = r"[a-z0-9][a-z0-9-]{0,62}"

_NAME_WANTED = "a name of small letters, digits and '-', at most 63, not beginning with '-'"
_ACCOUNT = r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,127}"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*"
_URL = (
    r"(https?://(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)"
    r"((?:/[A-Za-z0-9_~.-]+)*)/?"
)
_DURATION = r"(?=.)(?:([0-9]{1,5})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,5})s)?"
_LONGEST = timedelta(days=3650)
_SIZE = r"([1-9][0-9]{0,18})([kmgKMG]?)"


class OrVariable:
    """Annotates a type whose JSON Schema must let ``${NAME}`` stand for a value too."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "string", "pattern": r"\$\{"}]}


@dataclass(frozen=True, eq=False)
class Form(GroupedMetadata):
    """Annotates a type with how its text is read, and with its JSON Schema.

    What is no text passes, so that models can be made in Python, but for what YAML has instead. The
    validation context's ``folder`` is the directory that relative paths start from.
    """

    parse: Callable[[str, Path], object]
    schema: dict[str, Any]

    def __iter__(self) -> Iterator[object]:
        yield BeforeValidator(self._read)
        yield WithJsonSchema(self.schema)

    def _read(self, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str | list | dict | None):
            return value
        folder = info.context["folder"] if info.context else Path()
        return self.parse(value if isinstance(value, str) else "", folder)


def _matched(text: str, pattern: str, wanted: str) -> re.Match[str]:
    match = re.fullmatch(pattern, text)
    if match is None:
        raise ValueError(wanted)
    return match


def _text(title: str, pattern: str, wanted: str) -> Form:
    def parse(text: str, folder: Path) -> str:
        return _matched(text, pattern, wanted)[0]

    return Form(parse, {"type": "string", "title": title, "pattern": f"^(?:{pattern})$"})


def _index_name(text: str, folder: Path) -> str:
    if text in RESERVED:
        raise ValueError(f"a name that is no path of pyindex itself ({', '.join(RESERVED)})")
    return _matched(text, NAME, _NAME_WANTED)[0]


def absolute(text: str, folder: Path) -> Path:
    """Absolute, ``~`` expanded, ``..`` taken out; symlinks stay as the operator wrote them."""
    if not text or has_controls(text):
        raise ValueError("a path, without control characters")
    expanded = os.path.expanduser(text)  # noqa: PTH111  # Path's version raises for an unknown user
    if expanded.startswith("~"):
        raise ValueError("a path whose '~' is a user of this machine")
    return Path(os.path.abspath(folder / expanded))  # noqa: PTH100  # Path's version keeps '..'


def bracketed(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets (RFC 3986)."""
    return f"[{host}]" if ":" in host else host


def _is_host(text: str) -> bool:
    """Whether it is an IPv4 address or a host name. What ends in a number is no name: resolvers
    take it for an address, and not all for the same one."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        last = text.rpartition(".")[2]
        numeric = re.fullmatch("[0-9]+|0[xX][0-9A-Fa-f]*", last)
        return len(text) <= 253 and re.fullmatch(_HOST, text) is not None and not numeric
    return True


def _host_name(text: str, folder: Path) -> str:
    if not _is_host(text):
        raise ValueError("a host name such as pypi.lab")
    return text


def _without_scope(text: str) -> str:
    """The text. Raises ValueError for an IPv6 address with a scope: not all programs know them."""
    if "%" in text:
        raise ValueError
    return text


def _address(text: str, folder: Path) -> str:
    """Programs that listen take ``unix`` before a colon for another kind of socket."""
    if _is_host(text) and text.lower() != "unix":
        return text
    try:
        return str(ipaddress.IPv6Address(_without_scope(text)))
    except ValueError:
        raise ValueError("an address such as 127.0.0.1 or ::") from None


def _url(text: str, folder: Path) -> str:
    wanted = "http[s]://HOST[:PORT][/PREFIX] without user, query or fragment"
    address, prefix = _matched(text, _URL, wanted).groups()
    segments = prefix.split("/")
    try:
        parts = urlsplit(address)
        host = str(parts.hostname)
        sound = (
            parts.port != 0 and not {".", ".."} & set(segments) and (":" in host or _is_host(host))
        )
    except ValueError:  # a port above 65535, a bad IPv6 address
        sound = False
    if not sound:
        raise ValueError(wanted)
    if segments[-1] == "simple":
        raise ValueError("the address of the whole, without the /simple that clients add")
    return address.lower() + prefix


def _network(text: str, folder: Path) -> str:
    try:
        network = ipaddress.ip_network(_without_scope(text))
    except ValueError:
        raise ValueError("an address or a network such as 10.0.0.0/8") from None
    return str(network if network.num_addresses > 1 else network.network_address)


def _in_words(duration: timedelta) -> str:
    """A duration as specs have it, whose numbers have five digits at most."""
    seconds = int(duration.total_seconds())
    return f"{seconds}s" if seconds < 100_000 else f"{duration.days}d{duration.seconds}s"


def _duration(text: str, folder: Path) -> timedelta:
    wanted = "a duration such as 90s, 5m, 1h30m or 14d"
    counts = (int(count or 0) for count in _matched(text, _DURATION, wanted).groups())
    days, hours, minutes, seconds = counts
    duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not duration:
        raise ValueError(wanted)
    if duration > _LONGEST:
        raise ValueError(f"at most {_LONGEST.days}d")
    return duration


def _size(text: str, folder: Path) -> int:
    wanted = "a size such as 512m or 2g"
    count, unit = _matched(text, _SIZE, wanted).groups()
    size = int(count) << {"": 0, "k": 10, "m": 20, "g": 30}[unit.lower()]
    if size >= 1 << 63:
        raise ValueError(wanted)
    return size


def whole_number(least: int, most: int) -> Form:
    """A whole number between two bounds, which belong to it."""

    def parse(text: str, folder: Path) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    title = f"{least} to {most}"
    return Form(parse, {"type": "integer", "title": title, "minimum": least, "maximum": most})


_variable = OrVariable()
_named = _text("name", NAME, _NAME_WANTED)
_duration_schema = {"type": "string", "title": "duration", "pattern": f"^{_DURATION}$"}
_size_schema = {"type": ["string", "integer"], "title": "size", "pattern": f"^{_SIZE}$"}
_address_schema = {
    "type": "string",
    "title": "address",
    "pattern": f"^(?:{_HOST}|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)$",
}
_host_schema = {"type": "string", "title": "host name", "pattern": f"^{_HOST}$"}
_network_schema = {"type": "string", "title": "network", "pattern": "^[0-9A-Fa-f:./]+$"}
_url_schema = {"type": "string", "title": "URL", "pattern": r"^https?://[^?#@]+$"}
_path_schema = {"type": "string", "title": "path", "minLength": 1}

IndexName = Annotated[str, Form(_index_name, {"type": "string"})]  # a key: no ${NAME} there
Name = Annotated[str, _named, _variable]
Account = Annotated[str, _text("account", _ACCOUNT, "an account such as alice or ci-2"), _variable]
Address = Annotated[str, Form(_address, _address_schema), _variable]
HostName = Annotated[str, Form(_host_name, _host_schema), _variable]
Network = Annotated[str, Form(_network, _network_schema), _variable]
Location = Annotated[Path, Form(absolute, _path_schema), _variable]
Url = Annotated[str, Form(_url, _url_schema), _variable]
Duration = Annotated[
    timedelta,
    Form(_duration, _duration_schema),
    _variable,
    PlainSerializer(_in_words, when_used="json"),
]
Size = Annotated[int, Form(_size, _size_schema), _variable]
