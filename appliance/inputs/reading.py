"""The entry point: the kind of an input, by its name and content, and the reader of that kind."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from appliance.errors import PyindexError
from appliance.inputs import pylock, requirements, uvlock
from appliance.inputs.demand import Demand
from appliance.inputs.documents import read_toml
from appliance.inputs.pinning import Choice


def read(path: Path, *, extras: Collection[str] = (), groups: Collection[str] = ()) -> Demand:
    c = Choice(extras, groups)
    if path.name == "uv.lock":
        return uvlock.read(read_toml(path), c)
    if path.name == "pylock.toml":
        return pylock.read(read_toml(path), c)
    return requirements.read(path)
