"""Rules between the keys of a spec: bases exist and form no cycle, upstreams have one CA file,
directories do not overlap.

They are checked on data that may have other faults, so that one report has all of them.
"""

import contextlib
import graphlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from appliance.spec.document import Data
from appliance.spec.faults import Fault, Key, dotted, expected, hint, quoted
from appliance.spec.forms import absolute


def _indexes(data: Data) -> dict[str, dict[str, Data]]:
    """The sections of the indexes by name; empty ones in place of other values."""
    indexes = data.get("indexes") if isinstance(data, dict) else None
    sections = indexes if isinstance(indexes, dict) else {}
    return {name: index if isinstance(index, dict) else {} for name, index in sections.items()}


def base_faults(data: Data) -> Iterator[Fault]:
    """Bases that do not exist, and each cycle once."""
    graph: dict[str, list[str]] = {}
    indexes = _indexes(data)
    for name, index in indexes.items():
        graph[name] = []
        bases = index.get("bases")
        for position, base in enumerate(bases if isinstance(bases, list) else []):
            if not isinstance(base, str):
                continue  # a fault of its own
            if base in indexes:
                graph[name].append(base)
            else:
                text = f"{expected('the name of another index', base)}; {hint(base, indexes)}"
                yield Fault(("indexes", name, "bases", position), text)

    for cycle in _cycles(graph):
        text = f"must not form a cycle, got {' -> '.join(cycle)}"
        yield Fault(("indexes", cycle[0], "bases"), text)


def _cycles(graph: dict[str, list[str]]) -> Iterator[list[str]]:
    """Cycles, each from an index back to it. After each, that index counts as without bases."""
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            cycle = error.args[1][::-1]  # graphlib's runs from base to index
            yield cycle
            graph = graph | {cycle[0]: []}
        else:
            return


def ca_faults(data: Data) -> Iterator[Fault]:
    """Upstreams with https whose CA is not that of the first one: clients such as uv know one file
    for all hosts."""
    upstreams = data.get("upstreams") if isinstance(data, dict) else None
    first: tuple[int, Data] | None = None
    for position, each in enumerate(upstreams if isinstance(upstreams, list) else []):
        section = each if isinstance(each, dict) else {"url": each}
        if not str(section.get("url")).lower().startswith("https:"):
            continue
        ca = section.get("ca")
        first = first or (position, ca)
        if ca != first[1]:
            text = f"expected that of upstreams[{first[0]}], {quoted(first[1])}, got {quoted(ca)}"
            yield Fault(
                ("upstreams", position, "ca"),
                f"{text}; write all CA certificates into one file, and name it for each",
            )


def chosen_directories(data: Data, directory: Path) -> dict[Key, Path]:
    """State and packages directories by key, in the order of the file; relative paths start at
    ``directory``."""
    written: dict[Key, Data] = {("state",): data.get("state")} if isinstance(data, dict) else {}
    for name, index in _indexes(data).items():
        written["indexes", name, "packages"] = index.get("packages")

    chosen: dict[Key, Path] = {}
    for key, text in written.items():
        with contextlib.suppress(ValueError):
            chosen[key] = absolute(text if isinstance(text, str) else "", directory)
    return chosen


def overlaps(directories: Mapping[Key, Path]) -> Iterator[Fault]:
    """Directories that are the same as, or lie inside, another; symlinks followed."""
    real = {key: Path(os.path.realpath(path)) for key, path in directories.items()}
    outer: list[Key] = []
    for key in sorted(real, key=lambda key: real[key].parts):
        while outer and not real[key].is_relative_to(real[outer[-1]]):
            outer.pop()
        if outer:
            relation = "the same as" if real[key] == real[outer[-1]] else "inside"
            paths = f"{quoted(directories[key])} is {relation} {quoted(directories[outer[-1]])}"
            yield Fault(key, f"must not overlap {dotted(outer[-1])}: {paths}")
        outer.append(key)
