"""The types of single values in a spec: names, paths, addresses, durations, sizes.

Each is a type for a pydantic model, with its check and its JSON Schema. A check takes text and
raises ValueError with what was expected; :mod:`loading` adds where, and what it got.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from annotated_types import GroupedMetadata
from pydantic import (
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from appliance.spec import addresses
from appliance.text import has_controls

# Top-level paths of URLs, in lower case; others (-, @date, .well-known) are no NAME anyway.
RESERVED = (
    *("health", "json", "legacy", "metrics", "packages", "project"),
    *("pypi", "ready", "rpc2", "search", "simple", "static"),
)
NAME = r"[a-z0-9][a-z0-9-]{0,62}"

PUBLIC_KEY = r"RW[A-Za-z0-9+/]{54}"
"""The line of a minisign public key: 42 bytes in base64, of which the first two are ``Ed``."""

_NAME_EXPECTED = "a name of small letters, digits and '-', at most 63, not beginning with '-'"
_ACCOUNT = r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,127}"
_PROJECT_PATTERN = r"[A-Za-z0-9*](?:[A-Za-z0-9*._-]{0,126}[A-Za-z0-9*])?"
_SYSTEM_USER = r"[a-z_][a-z0-9_-]{0,31}"  # as shadow-utils accept it
_DURATION = "(?=.)" + "".join(f"(?:([0-9]{{1,5}}){unit})?" for unit in "ydhms")
_LONGEST = timedelta(days=3650)
_SIZE = r"([1-9][0-9]{0,18})([kmgKMG]?)"


class OrVariable:
    """Annotates a type whose JSON Schema must let ``${NAME}`` stand for a value too."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "string", "pattern": r"\$\{"}]}


class OrText:
    """Annotates a section that text may stand for, as the value of its key ``name``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._section, handler(source))

    def _section(self, value: object) -> object:
        return {self.name: value} if isinstance(value, str) else value

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "string"}]}


@dataclass(frozen=True, eq=False)
class Form(GroupedMetadata):
    """Annotates a type with its parser and its JSON Schema.

    Values of Python pass unchanged, so that models can be made without text. What YAML has instead
    of text (nothing, a list, a mapping) is parsed as empty text, and so rejected.
    """

    parse: Callable[[str], object]
    schema: dict[str, Any]

    def __iter__(self) -> Iterator[object]:
        yield BeforeValidator(self._read)
        yield WithJsonSchema(self.schema)

    def _read(self, value: object) -> object:
        return self.parse(_text_of(value)) if _is_from_yaml(value) else value


def _is_from_yaml(value: object) -> bool:
    return isinstance(value, str | list | dict | None)


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def _match(text: str, pattern: str, expectation: str) -> re.Match[str]:
    match = re.fullmatch(pattern, text)
    if match is None:
        raise ValueError(expectation)
    return match


def _pattern(title: str, pattern: str, expectation: str) -> Form:
    def parse(text: str) -> str:
        return _match(text, pattern, expectation)[0]

    return Form(parse, {"type": "string", "title": title, "pattern": f"^(?:{pattern})$"})


def _account_but(words: str, others: str) -> Form:
    """An account in a list of rights, where each of ``words`` would be a mistake: no client changes
    anything without an account, for example."""
    expectation = f"an account, or {others}"

    def parse(text: str) -> str:
        if text in words.split():
            raise ValueError(expectation)
        return _match(text, _ACCOUNT, expectation)[0]

    excluded = "|".join(words.split())
    pattern = f"^(?!(?:{excluded})$)(?:{_ACCOUNT})$"
    return Form(parse, {"type": "string", "title": "account", "pattern": pattern})


def _index_name(text: str) -> str:
    if text in RESERVED:
        raise ValueError(f"a name that is not a path of pyindex ({', '.join(RESERVED)})")
    return _match(text, NAME, _NAME_EXPECTED)[0]


def project_pattern(text: str) -> str:
    """A pattern of projects, normalized as their names are (PEP 503). Raises ValueError with what
    was expected."""
    expectation = "the name of a project, in which * stands for any letters, such as acme-*"
    _match(text, _PROJECT_PATTERN, expectation)
    return re.sub("[-_.]+", "-", text).lower()


def absolute(text: str, directory: Path) -> Path:
    """The path from ``directory``, ``~`` expanded, ``..`` removed; symlinks stay as the operator
    wrote them. Raises ValueError with what was expected."""
    if not text or has_controls(text):
        raise ValueError("a path, without control characters")
    expanded = os.path.expanduser(text)  # noqa: PTH111  # Path's version raises for an unknown user
    if expanded.startswith("~"):
        raise ValueError("a path whose '~' is a user of this machine")
    return Path(os.path.abspath(directory / expanded))  # noqa: PTH100  # Path's version keeps '..'


def _location(value: object, info: ValidationInfo) -> object:
    """A path; relative ones start at the ``directory`` of the validation context."""
    if not _is_from_yaml(value):
        return value
    directory = info.context["directory"] if info.context else Path()
    return absolute(_text_of(value), directory)


def _targets(value: object, info: ValidationInfo) -> object:
    """Targets by name; those in a list are named by their text. Which exist is checked where they
    are read. A relative path of ``python:PATH`` starts at the ``directory`` of the context."""
    directory = info.context["directory"] if info.context else Path()
    pairs: list[tuple[object, object]] = []
    if isinstance(value, list):
        pairs = [(text, text) for text in value]
    elif isinstance(value, Mapping):
        pairs = list(value.items())

    if not pairs or not all(_is_word(text) for pair in pairs for text in pair):
        raise ValueError(
            "targets such as [debian12, cp312-win_amd64], or a mapping of names to such"
        )
    return {str(name): _target(str(text), directory) for name, text in pairs}


def _is_word(text: object) -> bool:
    return isinstance(text, str) and text != "" and not has_controls(text)


def _target(text: str, directory: Path) -> str:
    kind, _, path = text.partition(":")
    return f"python:{absolute(path, directory)}" if kind == "python" and "/" in path else text


def _bundle_key(value: object, info: ValidationInfo) -> object:
    """A public key as it is written; a file with one as an absolute path."""
    if not _is_from_yaml(value) or re.fullmatch(PUBLIC_KEY, _text_of(value)):
        return value
    return str(_location(value, info))


def _duration_text(duration: timedelta) -> str:
    """A duration in the form of specs, whose numbers have at most five digits."""
    seconds = int(duration.total_seconds())
    return f"{seconds}s" if seconds < 100_000 else f"{duration.days}d{duration.seconds}s"


def parse_duration(text: str) -> timedelta:
    """The duration of a text such as 14d. Raises ValueError with what was expected."""
    expectation = "a duration such as 90s, 5m, 1h30m, 14d or 2y"
    counts = (int(count or 0) for count in _match(text, _DURATION, expectation).groups())
    years, days, hours, minutes, seconds = counts
    duration = timedelta(days=365 * years + days, hours=hours, minutes=minutes, seconds=seconds)
    if not duration:
        raise ValueError(expectation)
    if duration > _LONGEST:
        raise ValueError(f"at most {_LONGEST.days}d")
    return duration


def parse_size(text: str) -> int:
    """The bytes of a size such as 512m. Raises ValueError with what was expected."""
    expectation = "a size such as 512m or 2g"
    count, unit = _match(text, _SIZE, expectation).groups()
    size = int(count) << {"": 0, "k": 10, "m": 20, "g": 30}[unit.lower()]
    if size >= 1 << 63:
        raise ValueError(expectation)
    return size


def whole_number(least: int, most: int) -> Form:
    """A whole number from ``least`` to ``most``, both included."""

    def parse(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    title = f"{least} to {most}"
    return Form(parse, {"type": "integer", "title": title, "minimum": least, "maximum": most})


_variable = OrVariable()
_name = _pattern("name", NAME, _NAME_EXPECTED)
_duration_schema = {"type": "string", "title": "duration", "pattern": f"^{_DURATION}$"}
_size_schema = {"type": ["string", "integer"], "title": "size", "pattern": f"^{_SIZE}$"}
_address_schema = {
    "type": "string",
    "title": "address",
    "pattern": f"^(?:{addresses.HOST}|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)$",
}
_host_schema = {"type": "string", "title": "host name", "pattern": f"^{addresses.HOST}$"}
_network_schema = {"type": "string", "title": "network", "pattern": "^[0-9A-Fa-f:./]+$"}
_url_schema = {"type": "string", "title": "URL", "pattern": r"^https?://[^?#@]+$"}
_upstream_schema = {"type": "string", "title": "URL", "pattern": r"^(?:https?|file)://[^?#@]+$"}
_bundle_key_schema = {"type": "string", "title": "public key or path", "minLength": 1}
_path_schema = {"type": "string", "title": "path", "minLength": 1}
_target_schema = {"type": "string", "title": "target", "minLength": 1}
_targets_schema = {
    "anyOf": [
        {"type": "array", "items": _target_schema, "minItems": 1},
        {"type": "object", "additionalProperties": _target_schema, "minProperties": 1},
    ]
}

IndexName = Annotated[str, Form(_index_name, {"type": "string"})]  # a key of YAML: no ${NAME} in it
Name = Annotated[str, _name, _variable]
Account = Annotated[
    str, _pattern("account", _ACCOUNT, "an account such as alice or ci-2"), _variable
]
ProjectPattern = Annotated[
    str, Form(project_pattern, {"type": "string", "title": "pattern"})
]  # a key, too
Reader = Annotated[str, _account_but("owner", "members or everyone"), _variable]
Uploader = Annotated[str, _account_but("owner everyone", "members or tokens"), _variable]
Changer = Annotated[str, _account_but("everyone", "members or owner"), _variable]
FormerIndex = Annotated[
    str,
    _pattern("USER/INDEX", r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+", "USER/INDEX, such as root/dev"),
    _variable,
]
SystemUser = Annotated[
    str, _pattern("user", _SYSTEM_USER, "a user of the host such as alice"), _variable
]
Address = Annotated[str, Form(addresses.address, _address_schema), _variable]
HostName = Annotated[str, Form(addresses.host_name, _host_schema), _variable]
Network = Annotated[str, Form(addresses.network, _network_schema), _variable]
Location = Annotated[Path, BeforeValidator(_location), WithJsonSchema(_path_schema), _variable]
BundleKey = Annotated[
    str, BeforeValidator(_bundle_key), WithJsonSchema(_bundle_key_schema), _variable
]
Url = Annotated[str, Form(addresses.url, _url_schema), _variable]
UpstreamUrl = Annotated[str, Form(addresses.upstream_url, _upstream_schema), _variable]
RepositoryUrl = Annotated[str, Form(addresses.repository, _upstream_schema), _variable]
Duration = Annotated[
    timedelta,
    Form(parse_duration, _duration_schema),
    _variable,
    PlainSerializer(_duration_text, when_used="json"),
]
Size = Annotated[int, Form(parse_size, _size_schema), _variable]
Targets = Annotated[Mapping[str, str], BeforeValidator(_targets), WithJsonSchema(_targets_schema)]
