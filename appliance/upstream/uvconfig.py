"""The configuration of uv: its environment and the ``uv.toml`` of user and system.

https://docs.astral.sh/uv/concepts/configuration-files/ has the rules.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import PyindexError
from appliance.upstream.urls import with_userinfo


@dataclass(frozen=True, slots=True)
class UvConfiguration:
    """The indexes of uv: the ``default`` one, which is asked last, and ``others`` in order."""

    default: str | None = None
    others: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()


def read(environment: Mapping[str, str]) -> UvConfiguration:
    """The configuration; the environment replaces files. Raises PyindexError for a bad file."""
    own = _from_environment(environment)
    file = UvConfiguration() if environment.get("UV_NO_CONFIG") else _from_files(environment)
    return UvConfiguration(
        own.default or file.default, own.others or file.others, own.find_links or file.find_links
    )


def _from_environment(environment: Mapping[str, str]) -> UvConfiguration:
    def words(*names: str) -> tuple[str, ...]:
        return tuple(word for name in names for word in environment.get(name, "").split())

    default = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL")
    others = words("UV_INDEX", "UV_EXTRA_INDEX_URL")
    links = tuple(filter(None, environment.get("UV_FIND_LINKS", "").split(",")))
    return UvConfiguration(
        _with_login(default, environment) if default else None,
        tuple(_with_login(index, environment) for index in others),
        links,
    )


def _with_login(index: str, environment: Mapping[str, str]) -> str:
    """The URL of ``[NAME=]URL``, with the user and password of UV_INDEX_<NAME>_USERNAME."""
    name, separator, url = index.partition("=")
    if not separator or ":" in name or "/" in name:
        return index
    prefix = f"UV_INDEX_{name.upper().replace('-', '_').replace('.', '_')}"
    user, password = (environment.get(f"{prefix}_{part}") for part in ("USERNAME", "PASSWORD"))
    return with_userinfo(url, user or "", password) if user or password else url


def _from_files(environment: Mapping[str, str]) -> UvConfiguration:
    home = Path(environment.get("HOME") or Path.home())
    chosen = environment.get("UV_CONFIG_FILE")
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "uv/uv.toml")
    files = [Path(chosen)] if chosen else [user, Path("/etc/uv/uv.toml")]
    for file in files:
        if file.is_file():
            return _from_file(file)
    return UvConfiguration()


def _from_file(file: Path) -> UvConfiguration:
    try:
        data: dict[str, Any] = tomllib.loads(file.read_text())
        indexes = [index for index in data.get("index", []) if not index.get("explicit")]
        default = [index["url"] for index in indexes if index.get("default")]
        others = [index["url"] for index in indexes if not index.get("default")]
        default += [data["index-url"]] if "index-url" in data else []
        return UvConfiguration(
            next(iter(_texts(default)), None),
            _texts([*others, *data.get("extra-index-url", [])]),
            _texts(data.get("find-links", [])),
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise PyindexError(f"{file}: not a configuration of uv; correct it") from None


def _texts(values: Any) -> tuple[str, ...]:
    """A list of texts; TypeError if it is none."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError
    return tuple(values)
