"""YAML to plain data that remembers its lines.

Scalars stay text: what a value means is decided by the key it stands under, not by its looks, so
that an account called ``007`` or an index called ``no`` is never silently something else.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from appliance.errors import SpecError

Key = tuple[str | int, ...]
Data = None | str | list["Data"] | dict[str, "Data"]

_LARGEST = 256 * 1024  # far above any spec; a wrong file (an archive, a device) is not read on
_TAG = "tag:yaml.org,2002:"
_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, in a sentence; at the line of its key unless it has its own."""

    key: Key
    text: str
    line: int | None = None


@dataclass
class Document:
    """What a file says: its data, the line of each key, and what was wrong with it so far."""

    file: Path
    data: Data = None
    lines: dict[Key, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def error(self, faults: list[Fault]) -> SpecError:
        """These faults as one error, in the order of the file.

        What follows from an earlier fault of the same key is left out.
        """
        first = {(fault.key, fault.line): fault for fault in reversed(faults)}
        placed = [(self._line(fault), fault) for fault in reversed(first.values())]
        placed.sort(key=lambda pair: pair[0])
        return SpecError([self._sentence(line, fault) for line, fault in placed])

    def _line(self, fault: Fault) -> int:
        """The fault's line; that of the nearest key around it when it has none (it is missing)."""
        key = fault.key
        while key and key not in self.lines:
            key = key[:-1]
        return fault.line or self.lines.get(key, 1)

    def _sentence(self, line: int, fault: Fault) -> str:
        subject = f"{dotted(fault.key)}: " if fault.key else ""
        return _printable(f"{self.file}:{line}: {subject}{fault.text}")


def read(file: Path) -> Document:
    """Read one YAML document, with ``${NAME}`` replaced from the environment.

    Raises SpecError when there is no such file or it is not one YAML document in UTF-8. What can be
    told about single keys (a duplicate, an unset variable) is left in ``faults``, for one report.
    """
    text = _text(file)
    document = Document(file)
    try:
        root = _Loader(text).get_single_node()
        if root is None:
            raise _unreadable(file, 1, 'empty; "pyindex init" writes a spec to start from')
        document.data = _Reader(document).value(root, ())
    except yaml.MarkedYAMLError as error:
        raise _unreadable(file, *_syntax(error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _unreadable(file, line, f"not YAML: character {error.character:#04x}") from None
    except RecursionError:
        raise _unreadable(file, 1, "not a spec: nested too deeply") from None
    except (ValueError, OverflowError) as error:  # PyYAML on absurd escapes and directives
        raise _unreadable(file, 1, f"not YAML: {error}") from None
    return document


def shown(value: object) -> str:
    """A value as an error names it: on one line, short, and without a URL's user and password."""
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(re.sub(r"//[^/]*@", "//...@", str(value)))
    return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"


def dotted(key: Key) -> str:
    """A key in full, as in ``indexes.main.upload[1]``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_name(part)}" for part in key]
    return "".join(parts).removeprefix(".")


def _name(part: str) -> str:
    return part if re.fullmatch(r"[\w-]{1,80}", part) else shown(part)


class _Loader(yaml.SafeLoader):
    """Composes nodes, refusing aliases: no spec needs them, and bombs are made of them."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
            problem = f"found the alias *{event.anchor}; write the value out"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


class _Reader:
    """Turns nodes into data, writing lines and faults into the document."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def value(self, node: yaml.Node, key: Key) -> Data:
        self._document.lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(item, (*key, place)) for place, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and _is_plain(node):
            return None if node.tag == f"{_TAG}null" else self._substituted(node, key)
        self._fault(key, f"wanted a plain value, got the tag {shown(node.tag)}")
        return None

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Data]:
        data: dict[str, Data] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                self._fault(key, "wanted a word as key, got a list or mapping", line)
            elif name.value in data:
                first = self._document.lines[(*key, name.value)]
                self._fault((*key, name.value), f"is here twice, first in line {first}", line)
            else:
                self._document.lines[(*key, name.value)] = line
                data[name.value] = self.value(value, (*key, name.value))
        return data

    def _substituted(self, node: yaml.ScalarNode, key: Key) -> str:
        def replacement(match: re.Match[str]) -> str:
            name = match[1]
            if match[0] == "$${":
                return "${"
            if name is None:
                wanted = "${NAME}, or $${ for a plain ${"
                self._fault(key, f"wanted {wanted}, got {shown(node.value)}")
            elif name not in os.environ:
                self._fault(key, f"wanted the environment variable {name}, which is not set")
            return os.environ.get(name or "", "")

        return _VARIABLE.sub(replacement, str(node.value))

    def _fault(self, key: Key, text: str, line: int | None = None) -> None:
        self._document.faults.append(Fault(key, text, line))


def _is_plain(node: yaml.ScalarNode) -> bool:
    """Whether no tag was written that would change what the text means."""
    looks = {"str", "int", "float", "bool", "null", "timestamp", "merge", "value"}
    return node.tag.removeprefix(_TAG) in looks


def escaped(data: object) -> object:
    """Data such that each text in it is read back by :func:`read` as it is here."""
    match data:
        case str():
            return data.replace("${", "$${")
        case list():
            return [escaped(item) for item in data]
        case dict():
            return {name: escaped(item) for name, item in data.items()}
    return data


def _opened(file: Path) -> int:
    """A descriptor to read from. Raises OSError.

    What lies in a file system must be a file: a FIFO would be waited for, perhaps for ever, and a
    device may do anything when it is opened. Standard input, or ``<(...)`` in a shell, is open.
    """
    if given := re.fullmatch(r"/dev/(?:stdin|fd/([0-9]{1,9}))", str(file)):
        return os.dup(int(given[1] or 0))
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        raise OSError(None, "Is a directory" if stat.S_ISDIR(kind) else "not a file")
    return descriptor


def _text(file: Path) -> str:
    try:
        with open(_opened(file), "rb") as stream:  # a descriptor has no path
            raw = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        problem = f'no such file; "pyindex init {file}" writes a spec to start from'
        raise SpecError([f"{file}: {problem}"]) from None
    except OSError as error:
        raise SpecError([f"{file}: {error.strerror}"]) from None
    if len(raw) > _LARGEST:
        raise SpecError([f"{file}: not a spec: larger than {_LARGEST // 1024} KiB"])
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _unreadable(file, line, f"wanted UTF-8, got byte {raw[error.start]:#04x}") from None


def _syntax(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    mark = error.problem_mark or error.context_mark
    around = f"{error.context}, " if error.context else ""
    if error.context and error.context_mark:
        around = f"{error.context} from line {error.context_mark.line + 1}, "
    problem = f"not YAML: {around}{error.problem}"
    quotes = '; inside [] or {}, "${NAME}" needs its quotes' if "got '{'" in problem else ""
    return (mark.line + 1 if mark else 1), problem + quotes


def _unreadable(file: Path, line: int, problem: str) -> SpecError:
    return SpecError([_printable(f"{file}:{line}: {problem}")])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
