"""Documentation of specs: the JSON Schema and docs/reference/spec.md.

``python -m tests.spec.test_docs`` renews the table of keys in docs/reference/spec.md.
"""

import re
from pathlib import Path
from typing import Any

import jsonschema

from appliance.spec import reference, schema
from appliance.spec.forms import RESERVED

from .texts import HEAD, SKETCH, SMALL, is_valid_in_schema, loaded, problems, with_value

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "spec.md"


def test_schema_is_valid() -> None:
    """The JSON Schema is valid, describes every key in one line, and accepts the sketch of the
    architecture."""
    jsonschema.Draft202012Validator.check_schema(schema())
    assert all(len(node["description"].splitlines()) == 1 for node in reference().values())
    assert is_valid_in_schema(SKETCH)
    assert is_valid_in_schema(with_value("server.workers", "${WORKERS}"))
    assert is_valid_in_schema(with_value("server.manager", "${MANAGER}"))
    assert not is_valid_in_schema(SMALL + "servr: {}\n")
    assert not is_valid_in_schema(HEAD + "  a: {}\n")
    assert not is_valid_in_schema("state: /state\nindexes: {}\n")


def blocks(language: str) -> list[str]:
    """Return the documentation's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS.read_text(), re.M | re.S)


def test_documented_specs_are_valid() -> None:
    """The specs in the documentation are valid, and the broken one has the errors shown."""
    smallest, sketch = blocks("yaml")
    assert loaded(smallest).root == "main"
    assert sketch == SKETCH
    (broken,), (errors,) = blocks("yml"), blocks("text")
    assert errors.splitlines() == [f"pyindex.yml:{problem}" for problem in problems(broken)]


def test_documentation_lists_reserved_names() -> None:
    """The documentation lists all reserved index names."""
    (listed,) = re.findall("<!-- reserved -->(.*?)<!-- /reserved -->", DOCS.read_text(), re.S)
    assert tuple(re.findall("`(.*?)`", listed)) == RESERVED


def test_documentation_has_table_of_keys() -> None:
    """The documentation's table of keys matches the schema."""
    assert DOCS.read_text() == with_reference(DOCS.read_text())


def with_reference(text: str) -> str:
    """Return the documentation with the table of keys from the schema."""
    return re.sub(
        "(<!-- reference: .*? -->\n).*(<!-- /reference -->)",
        lambda match: match[1] + "\n".join(reference_table()) + "\n" + match[2],
        text,
        flags=re.S,
    )


def reference_table() -> list[str]:
    lines = ["| Key | Form | Default | Meaning |", "| --- | --- | --- | --- |"]
    sections: dict[tuple[str, ...], dict[str, Any]] = {(): schema()} | reference()
    for key, node in reference().items():
        name = ".".join("NAME" if part == "*" else part for part in key).replace(".[]", "[]")
        default = f"`{node['default']}`" if node.get("default") else ""
        if key[-1] in sections[key[:-1]].get("required", []):
            default = "required"
        lines.append(f"| `{name}` | {form(node)} | {default} | {node['description']} |")
    return lines


def form(node: dict[str, Any]) -> str:
    kind = node.get("anyOf", [node])[0]
    if "enum" in kind:
        return " or ".join(f"`{word}`" for word in kind["enum"])
    if kind.get("type") == "array":
        return f"list: {form(kind['items'])}"
    return "section" if "$ref" in kind or kind["type"] == "object" else str(kind["title"])


if __name__ == "__main__":
    DOCS.write_text(with_reference(DOCS.read_text()))
