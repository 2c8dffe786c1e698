"""Indexes of a spec: bases, lineage, overlapping directories, names."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from appliance.spec.forms import RESERVED

from .texts import HEAD, NAME, is_valid_in_schema, loaded, problems


@pytest.mark.parametrize(
    ("bases", "lineage"),
    [
        ({"a": ""}, "a"),
        ({"a": "b", "b": ""}, "a b"),
        ({"a": "b c", "b": "", "c": ""}, "a b c"),
        ({"a": "b c", "b": "d", "c": "", "d": ""}, "a b d c"),
        ({"a": "b c", "b": "d", "c": "d", "d": ""}, "a b d c"),
        ({"a": "b c", "b": "c", "c": ""}, "a b c"),
        ({"a": "b b", "b": ""}, "a b"),
    ],
)
def test_lineage_is_depth_first(bases: dict[str, str], lineage: str) -> None:
    """The lineage has an index before its bases, depth first in their order, each once."""
    indexes = {name: {"packages": f"/{name}", "bases": bases[name].split()} for name in bases}
    spec = loaded(yaml.safe_dump({"state": "/state", "indexes": indexes}, sort_keys=False))
    assert spec.lineage("a") == tuple(lineage.split())


def test_lineage_allows_long_chain() -> None:
    """The lineage of a chain of bases may be longer than Python's stack."""
    names = [f"i{number}" for number in range(1500)]
    lines = [f"  {a}: {{packages: /p/{a}, bases: [{b}]}}\n" for a, b in pairwise(names)]
    last = f"  {names[-1]}: {{packages: /p/last}}\n"
    spec = loaded(f"state: /s\nindexes:\n{''.join(lines)}{last}")
    assert spec.lineage("i0") == tuple(names)


BASE = "indexes.a.bases[0]: expected the name of another index"
# (bases of each index, problems)
BASES = [
    ({"a": "b"}, [f"{BASE}, got 'b'; known here: a"]),
    ({"a": "B"}, [f"{BASE}, got 'B'; known here: a"]),
    (
        {"main": "", "b": "main mian"},
        ["indexes.b.bases[1]: expected the name of another index, got 'mian'; did you mean main?"],
    ),
    ({"a": "a"}, ["indexes.a.bases: must not form a cycle, got a -> a"]),
    ({"a": "", "b": "a c", "c": "b"}, ["indexes.b.bases: must not form a cycle, got b -> c -> b"]),
    (
        {"d": "a", "a": "b", "b": "c", "c": "a"},
        ["indexes.a.bases: must not form a cycle, got a -> b -> c -> a"],
    ),
    (
        {"a": "b", "b": "a", "c": "d", "d": "c", "e": "x"},
        [
            "indexes.a.bases: must not form a cycle, got a -> b -> a",
            "indexes.c.bases: must not form a cycle, got c -> d -> c",
            "indexes.e.bases[0]: expected the name of another index, got 'x';"
            " known here: a, b, c, d, e",
        ],
    ),
]


@pytest.mark.parametrize(("bases", "expected"), BASES)
def test_spec_rejects_invalid_bases(bases: dict[str, str], expected: list[str]) -> None:
    """The spec rejects unknown bases and each cycle of bases, and the message shows the cycle."""
    lines = [
        f"  {name}: {{packages: /p/{name}, bases: [{listed.replace(' ', ', ')}]}}\n"
        for name, listed in bases.items()
    ]
    reported = problems(HEAD + "".join(lines))
    assert [problem.partition(": ")[2] for problem in reported] == expected


SAME = "'{0}' is the same as '{0}'"
# (state, packages directories, rejected key, overlapping key, paths)
OVERLAPS = [
    ("s", "a a", "indexes.i1.packages", "indexes.i0.packages", SAME.format("CWD/a")),
    ("s", "a CWD/a/", "indexes.i1.packages", "indexes.i0.packages", SAME.format("CWD/a")),
    ("s", "/x/../a /a/./", "indexes.i1.packages", "indexes.i0.packages", SAME.format("/a")),
    ("s", "/a /a/b/c", "indexes.i1.packages", "indexes.i0.packages", "'/a/b/c' is inside '/a'"),
    ("s", "/a/b/c /a", "indexes.i0.packages", "indexes.i1.packages", "'/a/b/c' is inside '/a'"),
    ("/a/s", "/a", "state", "indexes.i0.packages", "'/a/s' is inside '/a'"),
    ("/s", "/", "state", "indexes.i0.packages", "'/s' is inside '/'"),
    ("/s", "/s/a", "indexes.i0.packages", "state", "'/s/a' is inside '/s'"),
    ("link/s", "real", "state", "indexes.i0.packages", "'CWD/link/s' is inside 'CWD/real'"),
    ("real", "link", "indexes.i0.packages", "state", "'CWD/link' is the same as 'CWD/real'"),
]


@pytest.mark.parametrize(("state", "packages", "refused", "other", "got"), OVERLAPS)
def test_spec_rejects_overlapping_directories(
    directory: Path, state: str, packages: str, refused: str, other: str, got: str
) -> None:
    """The spec rejects overlapping directories, however they are spelled or linked."""
    (directory / "real").mkdir()
    (directory / "link").symlink_to("real")
    (problem,) = problems(with_directories(state, packages).replace("CWD", str(directory)))
    sentence = f"{refused}: must not overlap {other}: {got}"
    assert problem.partition(": ")[2] == sentence.replace("CWD", str(directory))


@pytest.mark.parametrize(
    ("state", "packages"), [("s", "a b"), ("/s", "/a /ab /b/a /a-b"), ("loop/s", "loop/a")]
)
def test_spec_accepts_separate_directories(directory: Path, state: str, packages: str) -> None:
    """The spec accepts directories of similar names and unreadable paths."""
    (directory / "loop").symlink_to("loop")
    assert len(loaded(with_directories(state, packages)).indexes) == len(packages.split())


def with_directories(state: str, packages: str) -> str:
    lines = [f"  i{number}: {{packages: {path}}}\n" for number, path in enumerate(packages.split())]
    return f"state: {state}\nindexes:\n{''.join(lines)}"


@pytest.mark.parametrize("name", ["a", "0", "a-", "a" * 63, "no", "1e3", "simple-2", "pypi2"])
def test_spec_accepts_index_name(name: str) -> None:
    """The spec accepts index names of small letters, digits and hyphens of any YAML type."""
    text = f"{HEAD}  {name}: {{packages: /a}}\n"
    assert loaded(text).root == name
    assert is_valid_in_schema(text.replace(f"  {name}:", f"  '{name}':"))


@pytest.mark.parametrize(
    "name", ["-", "-a", "A", "a.b", "a_b", "a/b", "..", "", "@1", "ä", "a" * 64]
)
def test_spec_rejects_index_name(name: str) -> None:
    """The spec rejects index names that do not fit into URLs and paths."""
    text = f"{HEAD}  '{name}': {{packages: /a}}\n"
    (problem,) = problems(text)
    assert problem.endswith(f": {NAME}, got {name!r}")
    assert not is_valid_in_schema(text)


@pytest.mark.parametrize("name", RESERVED)
def test_spec_rejects_reserved_index_name(name: str) -> None:
    """The spec rejects an index name that is a URL path of pyindex."""
    text = f"{HEAD}  {name}: {{packages: /a}}\n"
    (problem,) = problems(text)
    sentence = "expected a name that is not a path of pyindex"
    assert problem == f"3: indexes.{name}: {sentence} ({', '.join(RESERVED)}), got '{name}'"
    assert not is_valid_in_schema(text)
