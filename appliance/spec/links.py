"""What must hold between the keys of a spec: bases that exist, directories apart.

It is checked on the unjudged data, so that one report has these faults too.
"""

import contextlib
import difflib
import graphlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from appliance.spec.document import Data, Fault, Key, dotted, shown
from appliance.spec.forms import absolute


def hint(word: str, known: Iterable[str]) -> str:
    """The known word that is nearest, or all."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"


def _indexes(data: Data) -> dict[str, dict[str, Data]]:
    indexes = data.get("indexes") if isinstance(data, dict) else None
    named = indexes if isinstance(indexes, dict) else {}
    return {name: index if isinstance(index, dict) else {} for name, index in named.items()}


def base_faults(data: Data) -> Iterator[Fault]:
    """Bases that do not exist, and each cycle once."""
    graph: dict[str, list[str]] = {}
    indexes = _indexes(data)
    for name, index in indexes.items():
        graph[name] = []
        bases = index.get("bases")
        for place, base in enumerate(bases if isinstance(bases, list) else []):
            if isinstance(base, str) and base in indexes:
                graph[name].append(base)
            elif isinstance(base, str):
                wanted = f"wanted the name of another index, got {shown(base)}"
                text = f"{wanted}; {hint(base, indexes)}"
                yield Fault(("indexes", name, "bases", place), text)
    for cycle in _cycles(graph):
        text = f"wanted no cycle, got {' -> '.join(cycle)}"
        yield Fault(("indexes", cycle[0], "bases"), text)


def _cycles(graph: dict[str, list[str]]) -> Iterator[list[str]]:
    """Cycles, each from an index back to it, until without those indexes' bases none is left."""
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            cycle = error.args[1][::-1]  # graphlib's runs from base to index
            yield cycle
            graph = graph | {cycle[0]: []}
        else:
            return


def chosen_directories(data: Data, folder: Path) -> dict[Key, Path]:
    """State and package directories, in the order of the file."""
    written: dict[Key, Data] = {("state",): data.get("state")} if isinstance(data, dict) else {}
    for name, index in _indexes(data).items():
        written["indexes", name, "packages"] = index.get("packages")
    found: dict[Key, Path] = {}
    for key, text in written.items():
        with contextlib.suppress(ValueError):
            found[key] = absolute(text if isinstance(text, str) else "", folder)
    return found


def overlaps(directories: Mapping[Key, Path]) -> Iterator[Fault]:
    """Directories that are the same as, or lie inside, another; symlinks followed."""
    real = {key: Path(os.path.realpath(path)) for key, path in directories.items()}
    outer: list[Key] = []
    for key in sorted(real, key=lambda key: real[key].parts):
        while outer and not real[key].is_relative_to(real[outer[-1]]):
            outer.pop()
        if outer:
            place = "the same as" if real[key] == real[outer[-1]] else "inside"
            got = f"got {shown(directories[key])}, {place} {shown(directories[outer[-1]])}"
            yield Fault(key, f"wanted a directory apart from {dotted(outer[-1])}, {got}")
        outer.append(key)
