"""``environment.yml`` of conda: its pip part, which is a requirements file."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from appliance.errors import PyindexError
from appliance.inputs.demand import Demand
from appliance.inputs.requirements import Collector
from appliance.inputs.text import logical_lines

KIND = "environment.yml"


def read(text: str, path: Path) -> Demand:
    """The demand of the pip part; what conda installs is left out."""
    collector = Collector()
    lines = list(_pip_lines(_compose(text, path), path))
    if not lines:
        advice = "collect what conda installs with conda"
        raise PyindexError(f"{path}: no pip part in its dependencies; {advice}")
    for number, line in lines:
        for _, logical in logical_lines(line):
            collector.add_line(logical, f"{path}:{number}", path)
    return collector.demand(str(path), KIND)


def _compose(text: str, path: Path) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PyindexError(f"{path}:{line}: not YAML: {error.problem}; correct it") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise PyindexError(f"{path}: not YAML: {reason}; correct it") from None


def _pip_lines(root: yaml.Node | None, path: Path) -> Iterator[tuple[int, str]]:
    """Each line of the pip part with its number."""
    for entry in _items(_value(root, "dependencies")):
        pip = _value(entry, "pip")
        if pip is not None and not isinstance(pip, yaml.SequenceNode):
            raise PyindexError(f"{path}:{_line(pip)}: pip: expected a list, got another value")
        for item in _items(pip):
            if not isinstance(item, yaml.ScalarNode):
                text = "pip: expected a requirement, got a list or mapping"
                raise PyindexError(f"{path}:{_line(item)}: {text}; put it in quotes")
            yield _line(item), item.value


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _value(node: yaml.Node | None, name: str) -> yaml.Node | None:
    """The value of a key of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)
