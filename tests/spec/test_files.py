"""Spec files as a whole: unreadable files, syntax errors, and the format of problems."""

import os
import socket
import string
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import SpecError
from appliance.spec import Spec, load, reference

from .texts import HEAD, NAME, SKETCH, SMALL, loaded, problems

KNOWN = (
    "unknown key; known here:"
    " name, url, state, indexes, targets, upstreams, accounts, server, nginx, backup, keep,"
    " bundles, host"
)
# (content of the file, problems)
FILES: list[tuple[str | bytes, list[str]]] = [
    ("", ['1: empty; "pyindex init" writes a spec to start from']),
    ("# only this\n", ['1: empty; "pyindex init" writes a spec to start from']),
    ("- state\n", ["1: expected a mapping of keys to values, got a list"]),
    ("state", ["1: expected a mapping of keys to values, got 'state'"]),
    ("~", ["1: expected a mapping of keys to values, got nothing"]),
    ("!!omap {}", ["1: expected a plain value, got the tag 'tag:yaml.org,2002:omap'"]),
    (
        "{}",
        [
            "1: state: missing; expected: Directory of the catalog and the pages",
            "1: indexes: missing; expected: The indexes by name",
        ],
    ),
    (SMALL.encode() + b"name: \xe9\n", ["4: expected UTF-8, got byte 0xe9"]),
    (SMALL.encode("utf-16"), ["1: expected UTF-8, got byte 0xff"]),
    (SMALL + "name: a\x01\n", ["4: not YAML: character 0x01"]),
    (SMALL + "name: a: b\n", ["4: not YAML: mapping values are not allowed here"]),
    (
        SMALL + "\tname: a\n",
        [
            "4: not YAML: while scanning for the next token, found character '\\t' that cannot"
            " start any token"
        ],
    ),
    (
        SMALL + "name: 'a\n",
        ["5: not YAML: while scanning a quoted scalar from line 4, found unexpected end of stream"],
    ),
    (
        SMALL + "accounts: {htpasswd: ${ROOT}/x}\n",
        [
            "4: not YAML: while parsing a flow mapping from line 4, expected ',' or '}', but got"
            " '{'; inside [] or {}, write \"${NAME}\" in quotes"
        ],
    ),
    (
        SMALL + "---\n" + SMALL,
        [
            "4: not YAML: expected a single document in the stream from line 1, but found another"
            " document"
        ],
    ),
    (
        HEAD + "  a: &a {packages: /a}\n  b: *a\n",
        ["4: not YAML: found the alias *a; write the value out"],
    ),
    (
        "a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n",
        ["2: not YAML: found the alias *a; write the value out"],
    ),
    ("a: &a [*a]", ["1: not YAML: found the alias *a; write the value out"]),
    ("[" * 20_000, ["1: not a spec: nested too deeply"]),
    ("{a: " * 20_000, ["1: not a spec: nested too deeply"]),
    ("- " * 20_000, ["1: not a spec: nested too deeply"]),
    ('"\\UFFFFFFFF"', ["1: not YAML: Python int too large to convert to C int"]),
    (SMALL + "#" * 300_000, [" not a spec: larger than 256 KiB"]),
    (SMALL + "state: /b\n", ["4: state: duplicate key, first in line 1"]),
    (
        SMALL + "host: [a]\nhost: [b]\nhost: [c]\n",
        [
            "4: host: expected a mapping of keys to values, got a list",
            "5: host: duplicate key, first in line 4",
            "6: host: duplicate key, first in line 4",
        ],
    ),
    (
        HEAD + "  a:\n    packages: /a\n  a:\n    packages: /b\n",
        ["5: indexes.a: duplicate key, first in line 3"],
    ),
    (SMALL + "? [a]\n: b\n", ["4: expected a word as key, got a list or mapping"]),
    (SMALL + "packges: x\n", [f"4: packges: {KNOWN}"]),
    (SMALL + "<<: {name: a}\n", [f"4: '<<': {KNOWN}"]),
    (SMALL + "'': a\n", [f"4: '': {KNOWN}"]),
    (SMALL + '"a\\nb.c": a\n', [f"4: 'a\\nb.c': {KNOWN}"]),
    (SMALL + "servr: {}\n", ["4: servr: unknown key; did you mean server?"]),
    (SMALL + "server: {treads: 1}\n", ["4: server.treads: unknown key; did you mean threads?"]),
    (
        SMALL + "nginx:\n  tls:\n    cert: /c\n    key: /k\n",
        [
            "5: nginx.tls.certificate: missing; expected: File with the certificate and its chain"
            " (PEM)",
            "6: nginx.tls.cert: unknown key; known here: certificate, key, ca",
        ],
    ),
    (
        HEAD + "  a:\n    package: /a\n",
        [
            "3: indexes.a.packages: missing; expected: Directory of the package files",
            "4: indexes.a.package: unknown key; did you mean packages?",
        ],
    ),
    ("state: /state\nindexes: {}\n", ["2: indexes: expected at least one, got none"]),
    (
        "state: /state\nindexes: [a]\n",
        ["2: indexes: expected a mapping of keys to values, got a list"],
    ),
    (
        HEAD + '  "a\\nb": {packages: /a, bases: ["a\\nb"]}\n',
        [
            "3: indexes.'a\\nb'.bases: must not form a cycle, got a\\nb -> a\\nb",
            f"3: indexes.'a\\nb': {NAME}, got 'a\\nb'",
            f"3: indexes.'a\\nb'.bases[0]: {NAME}, got 'a\\nb'",
        ],
    ),
    (HEAD + "  a:\n", ["3: indexes.a: expected a mapping of keys to values, got nothing"]),
    (
        HEAD + "  a: {packages: /a, upload: alice}\n",
        ["3: indexes.a.upload: expected a list such as [a, b], got 'alice'"],
    ),
    (
        HEAD + "  a:\n    packages: /a\n    upload:\n      - bob\n      - a:b\n      - .\n",
        [
            "7: indexes.a.upload[1]: expected an account, or members or tokens, got 'a:b'",
            "8: indexes.a.upload[2]: expected an account, or members or tokens, got '.'",
        ],
    ),
]


@pytest.mark.parametrize(("text", "expected"), FILES)
def test_spec_file_reports_all_problems(text: str | bytes, expected: list[str]) -> None:
    """The loader reports every problem of an invalid spec file in the order of lines."""
    assert problems(text) == expected


def test_byte_order_mark_is_ignored() -> None:
    """The loader ignores a byte order mark."""
    assert loaded("\ufeff" + SMALL) == loaded(SMALL)


def test_unset_variable_hides_other_problems_of_key() -> None:
    """The loader reports only the unset variable of a key, and still checks the other keys."""
    text = "state: ${UNSET}\nindexes:\n  a: {packages: '${UNSET}', bases: ['${UNSET}']}\nname: A\n"
    assert problems(text) == [
        "1: state: the environment variable UNSET is not set",
        "3: indexes.a.packages: the environment variable UNSET is not set",
        "3: indexes.a.bases[0]: the environment variable UNSET is not set",
        f"4: name: {NAME}, got 'A'",
    ]


def test_variable_value_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of a variable is neither parsed as YAML nor expanded again."""
    monkeypatch.setenv("TRICK", "/x, y: ${ROOT} # *a")
    spec = loaded(f"{SMALL}accounts:\n  htpasswd: ${{TRICK}}\n")
    assert spec.accounts.htpasswd == Path("/x, y: ${ROOT} # *a")


def test_relative_path_starts_at_spec(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path in a spec starts at the directory of the spec file."""
    (directory / "etc").mkdir()
    (directory / "etc" / "p.yml").write_text("state: s\nindexes: {main: {packages: ../packages}}\n")
    monkeypatch.chdir("/")
    for path in (
        directory / "etc" / "p.yml",
        Path("/").joinpath(*directory.parts[1:], "etc", "p.yml"),
    ):
        spec = load(path)
        assert (spec.state, spec.indexes["main"].packages) == (
            directory / "etc" / "s",
            directory / "packages",
        )


def test_loader_reports_unreadable_file(directory: Path) -> None:
    """The loader reports a missing or irregular spec file and does not wait for a FIFO."""
    os.mkfifo("fifo")
    Path("link").symlink_to("fifo")
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind("socket")
    for name, problem in {
        "no.yml": 'no.yml: no such file; "pyindex init no.yml" writes a spec to start from',
        ".": ".: Is a directory",
        "/dev/zero": "/dev/zero: not a file",
        "fifo": "fifo: not a file",
        "link": "link: not a file",
        "socket": "socket: No such device or address",
    }.items():
        with pytest.raises(SpecError) as caught:
            load(Path(name))
        assert caught.value.problems == [problem]


@pytest.mark.parametrize("path", ["/dev/stdin", "/dev/fd/0"])
def test_spec_may_be_standard_input(directory: Path, path: str) -> None:
    """The loader reads a spec from a pipe that is already open."""
    command = [sys.executable, "-m", "appliance", "spec", "check", "-c", path]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as checking:
        output, _ = checking.communicate(SMALL)
    assert output.startswith(f"{path}: OK\n")


def test_many_problems_are_reported(directory: Path) -> None:
    """The loader reports each of thousands of unknown keys."""
    assert len(problems(SMALL + "".join(f"k{number}: x\n" for number in range(3000)))) == 3000


NODES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.dates()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(sorted({part for key in reference() for part in key} | {"a", "b"})),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=25,
)
YAMLISH = st.text(
    alphabet=string.ascii_lowercase[:6] + "-:?[]{},#&*!|>'\"%@`$\\ \n\t0~<=é\x85\ud800"
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Return the sketch with a part of it replaced by random text."""
    start, length = draw(st.integers(0, len(SKETCH))), draw(st.integers(0, 30))
    return SKETCH[:start] + draw(YAMLISH) + SKETCH[start + length :]


@given(
    st.one_of(
        st.binary(),
        st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
        YAMLISH.map(lambda text: text.encode("utf-8", "surrogatepass")),
        damaged().map(lambda text: text.encode("utf-8", "surrogatepass")),
        NODES.map(lambda node: yaml.safe_dump(node).encode("utf-8", "surrogatepass")),
    )
)
def test_any_content_is_spec_or_error(content: bytes) -> None:
    """The loader returns a spec for any content or raises an error of printable lines."""
    with tempfile.NamedTemporaryFile(suffix=".yml") as file:
        file.write(content)
        file.flush()
        try:
            assert isinstance(load(Path(file.name)), Spec)
        except SpecError as error:
            assert error.problems
            for problem in error.problems:
                assert problem.startswith(f"{file.name}:")
                assert problem.isprintable()
                assert len(problem) < 2000
