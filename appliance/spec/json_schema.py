"""The JSON Schema of a spec file, and its keys one by one."""

from functools import cache
from typing import Any

from appliance.spec.model import Spec


def schema() -> dict[str, Any]:
    """The JSON Schema of a spec file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Spec.model_json_schema()}


@cache
def reference() -> dict[tuple[str, ...], dict[str, Any]]:
    """Every key that a spec may have, in order, with its JSON Schema.

    In a key such as ``("indexes", "*", "packages")``, ``*`` is a name that the operator chooses; in
    ``("upstreams", "[]", "url")``, ``[]`` is a position.
    """
    keys: dict[tuple[str, ...], dict[str, Any]] = {}
    root = Spec.model_json_schema()

    def add_children(section: dict[str, Any], key: tuple[str, ...]) -> None:
        children = dict(section.get("properties", {}))
        if isinstance(named := section.get("additionalProperties"), dict):
            children["*"] = named
        item = section.get("items", {})
        if "$ref" in item.get("anyOf", [item])[0]:
            children["[]"] = item

        for name, child in children.items():
            kind = child.get("anyOf", [child])[0]
            definition = root["$defs"].get(kind.get("$ref", "").rpartition("/")[2], {})
            keys[(*key, name)] = definition | child
            add_children(keys[(*key, name)], (*key, name))

    add_children(root, ())
    return keys
