"""YAML to plain data that remembers its lines.

Scalars stay text: the key decides what a value means, not its looks. An account called ``007`` or
an index called ``no`` is never silently something else.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from appliance.errors import SpecError
from appliance.spec.faults import Fault, Key, dotted, expected, printable, quoted
from appliance.spec.source import read_text, unreadable

Data = None | str | list["Data"] | dict[str, "Data"]

_TAG = "tag:yaml.org,2002:"
# What YAML takes a scalar for by its looks, without a tag in the text.
_PLAIN_TAGS = {"str", "int", "float", "bool", "null", "timestamp", "merge", "value"}
_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{)[^}])*))?\})?")


@dataclass
class Document:
    """The content of a file: its data, the line of each key, and the faults found so far."""

    file: Path
    data: Data = None
    lines: dict[Key, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def error(self, faults: list[Fault]) -> SpecError:
        """These faults as one error, in the order of the file.

        Consequences of an earlier fault of the same key are left out.
        """
        first = {(fault.key, fault.line): fault for fault in reversed(faults)}
        by_line = [(self._line(fault), fault) for fault in reversed(first.values())]
        by_line.sort(key=lambda pair: pair[0])
        return SpecError([self._sentence(line, fault) for line, fault in by_line])

    def _line(self, fault: Fault) -> int:
        """The fault's line; for a key that is missing that of the nearest key around it."""
        key = fault.key
        while key and key not in self.lines:
            key = key[:-1]
        return fault.line or self.lines.get(key, 1)

    def _sentence(self, line: int, fault: Fault) -> str:
        subject = f"{dotted(fault.key)}: " if fault.key else ""
        return printable(f"{self.file}:{line}: {subject}{fault.text}")


def read(file: Path) -> Document:
    """Read one YAML document, with ``${NAME}`` and ``${NAME:-default}`` replaced from the
    environment, as shells and compose files do.

    Raises SpecError if there is no such file or it is not one YAML document in UTF-8. Problems of
    single keys (a duplicate, an unset variable) are left in ``faults``, for one report.
    """
    text = read_text(file)
    document = Document(file)
    try:
        root = _Loader(text).get_single_node()
        if root is None:
            raise unreadable(file, 1, 'empty; "pyindex init" writes a spec to start from')
        document.data = _Reader(document).value(root, ())

    except yaml.MarkedYAMLError as error:
        raise unreadable(file, *_syntax(error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise unreadable(file, line, f"not YAML: character {error.character:#04x}") from None
    except RecursionError:
        raise unreadable(file, 1, "not a spec: nested too deeply") from None
    except (ValueError, OverflowError) as error:  # PyYAML on absurd escapes and directives
        raise unreadable(file, 1, f"not YAML: {error}") from None
    return document


def escaped(data: object) -> object:
    """Data that :func:`read` gives back as it is here, ``${`` in texts included."""
    match data:
        case str():
            return data.replace("${", "$${")
        case list():
            return [escaped(item) for item in data]
        case dict():
            return {name: escaped(item) for name, item in data.items()}
    return data


class _Loader(yaml.SafeLoader):
    """Composes nodes, rejecting aliases: no spec needs them, and bombs are made of them."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
            problem = f"found the alias *{event.anchor}; write the value out"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


class _Reader:
    """Turns nodes into data, and adds lines and faults to the document."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def value(self, node: yaml.Node, key: Key) -> Data:
        self._document.lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(item, (*key, position)) for position, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_TAG) in _PLAIN_TAGS:
            return None if node.tag == f"{_TAG}null" else self._substituted(node, key)

        self._fault(key, f"expected a plain value, got the tag {quoted(node.tag)}")
        return None

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Data]:
        data: dict[str, Data] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                self._fault(key, "expected a word as key, got a list or mapping", line)
            elif name.value in data:
                first = self._document.lines[(*key, name.value)]
                self._fault((*key, name.value), f"duplicate key, first in line {first}", line)
            else:
                self._document.lines[(*key, name.value)] = line
                data[name.value] = self.value(value, (*key, name.value))
        return data

    def _substituted(self, node: yaml.ScalarNode, key: Key) -> str | None:
        def replacement(match: re.Match[str]) -> str:
            name, default = match.groups()
            if match[0] == "$${":
                return "${"
            if default is not None:
                return os.environ.get(name) or default
            if name is None:
                self._fault(key, expected("${NAME}, or $${ for a plain ${", node.value))
            elif name not in os.environ:
                self._fault(key, f"the environment variable {name} is not set")
            return os.environ.get(name or "", "")

        text = _VARIABLE.sub(replacement, str(node.value))
        # As an empty value in the file does, an empty default leaves the key out.
        return None if not text and node.value.endswith(":-}") else text

    def _fault(self, key: Key, text: str, line: int | None = None) -> None:
        self._document.faults.append(Fault(key, text, line))


def _syntax(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    """Line and description of an error of the YAML parser."""
    mark = error.problem_mark or error.context_mark
    context = f"{error.context}, " if error.context else ""
    if error.context and error.context_mark:
        context = f"{error.context} from line {error.context_mark.line + 1}, "

    problem = f"not YAML: {context}{error.problem}"
    advice = '; inside [] or {}, write "${NAME}" in quotes' if "got '{'" in problem else ""
    return (mark.line + 1 if mark else 1), problem + advice
