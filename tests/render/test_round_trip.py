"""The placed spec: equal to the original for any values."""

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import render, spec
from appliance.errors import SpecError
from appliance.spec import Spec
from appliance.spec.document import escaped
from appliance.spec.forms import absolute

# Text with a meaning in some syntax.
_WORDS: tuple[str, ...] = (
    "$",
    "${",
    "$${",
    "${HOME}",
    "$$",
    "{{",
    "}}",
    "%",
    "%i",
    "~",
    "#",
    ": ",
    "'",
    '"',
    "\\n",
)
_WORDS += ("!", "&a", "*a", "- ", " ", "  ", "\\", "\u2028", "\ufeff", "\U0001f40d", "\ufffe", "..")
_part = st.one_of(st.sampled_from(_WORDS), st.characters(exclude_categories=("Cc", "Cs")))
_name = st.lists(_part.map(lambda part: part.replace("/", "")), min_size=1, max_size=60)
_path = st.lists(_name.map("".join), min_size=1, max_size=3).map(lambda names: "/".join(names))


@st.composite
def _specs(draw: st.DrawFn) -> dict[str, Any]:
    """Data of a spec with a value for every key and arbitrary paths."""
    paths = {key: f"/{key}/{draw(_path)}/x" for key in "abcdefgh"}
    return {
        "name": draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)),
        "url": draw(
            st.sampled_from(["https://a.example", "https://[::1]:8443/~x/y", "https://1.2.3.4"])
        ),
        "state": paths["a"],
        "indexes": {
            "main": {"packages": paths["b"], "upload": draw(st.lists(_account, max_size=2))},
            "other": {"packages": paths["c"], "bases": ["main"]},
        },
        "targets": draw(
            st.sampled_from([["debian12", "ssh:a"], {"a": "b", "c": "python:/a${B}/"}])
        ),
        "accounts": {"htpasswd": paths["d"]},
        "server": {
            "manager": draw(st.sampled_from(["systemd", "supervisor"])),
            "host": draw(st.sampled_from(["127.0.0.1", "::", "pypi.lab"])),
            "port": draw(st.integers(1, 65535)),
            "reconcile": draw(st.sampled_from(["1s", "99999s", "99999m", "1d23h59m59s", "3650d"])),
        },
        "nginx": {
            "tls": {"certificate": paths["e"], "key": paths["f"], "ca": paths["g"]},
            "listen": draw(st.sampled_from([["0.0.0.0"], ["::", "127.0.0.1"], ["localhost"]])),
            "internal": draw(st.sampled_from([[], ["10.0.0.0/8", "::/0"]])),
            "max_upload": draw(st.integers(1, 2**63 - 1)),
        },
        "backup": {"directory": paths["h"], "keep": draw(st.integers(1, 3650))},
        "host": {"system": draw(st.sampled_from(["debian-12", "centos-7"]))},
    }


_account = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,127}", fullmatch=True)


def _loaded(text: str) -> Spec:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pyindex.yml"
        path.write_text(text, encoding="utf-8")
        return spec.load(path)


@settings(max_examples=40)  # each is a spec with every key
@given(_specs())
def test_placed_spec_equals_spec(data: dict[str, Any]) -> None:
    """The placed spec loads as the same spec."""
    given = _loaded(yaml.safe_dump(escaped(data), allow_unicode=True))
    assert str(given.accounts.htpasswd) == str(absolute(data["accounts"]["htpasswd"], Path()))
    assert given.nginx.max_upload == data["nginx"]["max_upload"]
    placed = render.normal_form(given)
    again = _loaded(placed)
    assert again == given
    assert render.normal_form(again) == placed


@settings(max_examples=40)  # each is a spec with every key
@given(_specs())
def test_rendering_keeps_values_or_fails(data: dict[str, Any]) -> None:
    """The renderer writes each value to the placed spec or reports the one that it cannot write."""
    given = _loaded(yaml.safe_dump(escaped(data), allow_unicode=True))
    try:
        files = {file.path: file.content for file in render.files(given)}
    except SpecError as error:
        assert all(len(problem) > 10 for problem in error.problems)
    else:
        assert _loaded(files["/etc/pyindex/pyindex.yml"]) == given


def test_escaped_variable_is_plain_text(tmp_path: Path) -> None:
    """`$${SECRET}` is the text `${SECRET}` in the spec and in the placed spec."""
    written = "state: /s\nindexes: {main: {packages: /p}}\naccounts: {htpasswd: '/x/$${SECRET}'}\n"
    given = _loaded(written)
    assert given.accounts.htpasswd == Path("/x/${SECRET}")
    assert _loaded(render.normal_form(given)) == given
