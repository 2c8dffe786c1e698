"""docs/reference/targets.md compared with the code.

``python -m tests.targets.test_docs`` renews its tables.
"""

import re
from pathlib import Path

import pytest
import yaml

from appliance.spec import Spec
from appliance.targets.choice import choose
from appliance.targets.interpreters import INTERPRETERS
from appliance.targets.presets import PRESETS
from appliance.targets.reading import read

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "targets.md"
NAMED = re.compile("`((?:cp|pp)[0-9]+[a-z]*)`")


def presets() -> str:
    """Return the table of presets."""
    lines = ["| preset | target |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{name}` | `{text}` |" for name, text in PRESETS.items())])


def patches() -> str:
    """Return the versions of interpreters without a patch version."""
    each = dict.fromkeys((tag[:2], python) for tag, python in pythons())
    names = {"cp": "CPython", "pp": "PyPy"}
    lines = [
        f"- {name}: {', '.join(v for k, v in each if k == kind)}" for kind, name in names.items()
    ]
    return "\n".join(lines)


def pythons() -> list[tuple[str, str]]:
    return [(each.name, each.python) for each in INTERPRETERS.values()]


def renewed(text: str) -> str:
    """Return the page with its tables from the code."""
    for name, table in (("presets", presets()), ("patches", patches())):
        block = re.compile(f"(<!-- {name}: [^\n]*\n).*(<!-- /{name} -->)", re.S)
        text = block.sub(rf"\g<1>{table}\n\g<2>", text)
    return text


def test_page_has_tables_of_code() -> None:
    """The page lists the presets and patch versions of the code."""
    assert PAGE.read_text() == renewed(PAGE.read_text()), "run: python -m tests.targets.test_docs"


def test_shown_specs_name_targets() -> None:
    """Each target of the specs on the page can be read, but for the host."""
    shown = re.findall("^```yaml\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(shown) == 2
    for text in shown:
        data = {"state": "/s", "indexes": {"main": {"packages": "/p"}}, **yaml.safe_load(text)}
        spec = Spec.model_validate(data)
        assert choose([name for name in spec.targets or () if name != "build"], spec)


@pytest.mark.parametrize("name", sorted(set(NAMED.findall(PAGE.read_text()))))
def test_named_interpreters_exist(name: str) -> None:
    """Each interpreter that the page names can be read."""
    assert read(f"{name}-win_amd64").tags


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
