"""TOML and JSON documents of inputs, with errors that name the file and the key."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.inputs.text import decode, read_bytes
from appliance.text import printable

_NAMES = {str: "a text", int: "a number", bool: "true or false", dict: "a table", list: "a list"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a document: ``key`` says where it stands in ``file``."""

    values: Mapping[str, Any]
    file: str
    key: str = ""

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def where(self, name: str = "") -> str:
        """Its place in messages: ``uv.lock: package[3].version``."""
        dotted = ".".join(filter(None, (self.key, name)))
        return f"{self.file}: {dotted}" if dotted else self.file

    def error(self, name: str, text: str) -> PyindexError:
        return PyindexError(printable(f"{self.where(name)}: {text}"))

    def _get(self, name: str, kind: type) -> Any:
        value = self.values.get(name)
        is_kind = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
        if value is not None and not is_kind:
            raise self.error(name, f"expected {_NAMES[kind]}, got {_described(value)}")
        return value

    def text(self, name: str) -> str:
        value = self.optional_text(name)
        if value is None:
            raise self.error(name, "missing")
        return value

    def optional_text(self, name: str) -> str | None:
        value: str | None = self._get(name, str)
        return value

    def number(self, name: str) -> int | None:
        value: int | None = self._get(name, int)
        return value

    def flag(self, name: str) -> bool:
        return bool(self._get(name, bool))

    def array(self, name: str) -> list[Any]:
        value: list[Any] | None = self._get(name, list)
        return value or []

    def texts(self, name: str) -> list[str]:
        values = self.array(name)
        for position, value in enumerate(values):
            if not isinstance(value, str):
                place = f"{name}[{position}]"
                raise self.error(place, f"expected a text, got {_described(value)}")
        return values

    def table(self, *names: str) -> "Table":
        """The table of that name, or the one within it; an empty one where there is none."""
        table = self
        for name in names:
            value = table._get(name, dict)
            table = Table(value or {}, self.file, ".".join(filter(None, (table.key, name))))
        return table

    def tables(self, name: str) -> Iterator["Table"]:
        """Each table of a list of them."""
        for position, value in enumerate(self.array(name)):
            place = f"{name}[{position}]"
            if not isinstance(value, dict):
                raise self.error(place, f"expected a table, got {_described(value)}")
            yield Table(value, self.file, ".".join(filter(None, (self.key, place))))

    def subtables(self) -> Iterator[tuple[str, "Table"]]:
        """Each table in it, with its name."""
        for name in self.values:
            yield name, self.table(name)

    def name(self, name: str = "name") -> str:
        """A project's name, normalized."""
        return canonicalize_name(self.text(name))

    def marker(self, name: str = "marker") -> Marker | None:
        """An environment marker; ``None`` for an empty one."""
        text = self.optional_text(name)
        try:
            return Marker(text) if text else None
        except InvalidMarker as error:
            raise self.error(name, _first_line(error)) from None

    def markers(self, name: str) -> list[Marker]:
        """The environment markers of a list."""
        tables = (Table({name: text}, self.file, self.key) for text in self.texts(name))
        return [marker for table in tables if (marker := table.marker(name))]

    def specifier(self, name: str) -> SpecifierSet | None:
        """The versions that a specifier allows."""
        text = self.optional_text(name)
        try:
            return None if text is None else SpecifierSet(text)
        except InvalidSpecifier as error:
            raise self.error(name, _first_line(error)) from None

    def requirements(self, name: str) -> list[Requirement]:
        """The requirements (PEP 508) of a list."""
        requirements = []
        for position, text in enumerate(self.texts(name)):
            try:
                requirements.append(Requirement(text))
            except InvalidRequirement as error:
                raise self.error(f"{name}[{position}]", _first_line(error)) from None
        return requirements


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _described(value: object) -> str:
    names = (name for kind, name in _NAMES.items() if type(value) is kind)
    return next(names, type(value).__name__)


def read_toml(path: Path) -> Table:
    """The root table of a TOML file."""
    return parse_toml(decode_utf8(read_bytes(path), path), path)


def parse_toml(text: str, path: Path) -> Table:
    """The root table of the text of a TOML file."""
    try:
        return Table(tomllib.loads(text), str(path))
    except ValueError as error:
        raise PyindexError(f"{path}: not TOML: {error}; write the file again") from None
    except RecursionError:
        raise PyindexError(f"{path}: not TOML: nested too deeply; write the file again") from None


def read_json(path: Path) -> Table:
    """The root object of a JSON file."""
    text = decode_utf8(read_bytes(path), path)
    try:
        root = json.loads(text)
    except json.JSONDecodeError as error:
        raise PyindexError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except ValueError as error:  # a number of too many digits
        raise PyindexError(f"{path}: not JSON: {error}") from None
    except RecursionError:
        raise PyindexError(f"{path}: not JSON: nested too deeply") from None
    if not isinstance(root, dict):
        raise PyindexError(f"{path}: expected a table, got {_described(root)}")
    return Table(root, str(path))


def decode_utf8(content: bytes, path: Path) -> str:
    """The text of a file that must be UTF-8, with the line ends that TOML requires."""
    if content.startswith(b"#") and b"coding" in content.split(b"\n")[0]:
        content = b"\n" + content  # here it is a comment without a meaning
    return decode(content, path).replace("\r\n", "\n")
