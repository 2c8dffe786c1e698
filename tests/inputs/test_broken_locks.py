"""Locks that are broken, or that a target cannot use; and the sources that locks name."""

from pathlib import Path

import pytest

from appliance.errors import PyindexError
from appliance.inputs.reading import read
from tests.inputs.fixtures import DATA, POETRY
from tests.inputs.targets import target

UV_HEAD = 'version = 1\nrequires-python = ">=3.9"\n'
UV_ROOT = '[[package]]\nname = "demo"\nversion = "1"\nsource = { virtual = "." }\n'
UV_GIT = (
    f'{UV_HEAD}{UV_ROOT}dependencies = [{{ name = "foo", marker = "sys_platform == \'win32\'" }}]\n'
    '[[package]]\nname = "foo"\nversion = "1"\n'
    'source = { git = "https://git.example/foo?rev=v1#abc" }\n'
)
PYLOCK = 'lock-version = "1.0"\ncreated-by = "x"\n'
# A broken lock, by name and content, and the whole error without the directory.
BROKEN = {
    "toml": (
        "uv.lock",
        "version = ",
        "uv.lock: not TOML: Invalid value (at end of document); write the file again",
    ),
    "version": (
        "uv.lock",
        "version = 2",
        "uv.lock: version: expected version 1, got 2; lock with another version of uv",
    ),
    "no root": (
        "uv.lock",
        UV_HEAD + '[[package]]\nname = "a"\n',
        "uv.lock: none of its packages is the project that it locks; run `uv lock` again",
    ),
    "type": (
        "uv.lock",
        UV_HEAD + "package = [1]",
        "uv.lock: package[0]: expected a table, got a number",
    ),
    "name": (
        "uv.lock",
        UV_HEAD + "[[package]]\nname = 1",
        "uv.lock: package[0].name: expected a text, got a number",
    ),
    "missing name": (
        "uv.lock",
        UV_HEAD + "[[package]]",
        "uv.lock: package[0].name: missing",
    ),
    "pylock": (
        "pylock.toml",
        PYLOCK,
        "pylock.toml: packages: missing required value; write the lock again",
    ),
    "pylock version": (
        "pylock.toml",
        PYLOCK.replace("1.0", "2.0") + "packages = []",
        "pylock.toml: pylock version 2.0 is not supported; write the lock again",
    ),
    "poetry": (
        "poetry.lock",
        "[metadata]",
        "poetry.lock: metadata.lock-version: missing",
    ),
    "old poetry": (
        "poetry.lock",
        POETRY.replace("2.1", "2.0"),
        "poetry.lock: lock version 2.0 requires the pyproject.toml next to it; copy it "
        "there, or run `poetry lock` of poetry 2",
    ),
    "pythons": (
        "poetry.lock",
        POETRY.replace(">=3.9", "^one"),
        "poetry.lock: metadata.python-versions: not a version constraint: '^one'; write "
        "one such as >=1.2,<2",
    ),
    "pdm": (
        "pdm.lock",
        "[metadata]",
        "pdm.lock: without the strategy inherit_metadata it requires the pyproject.toml "
        "next to it; copy it there, or run `pdm lock` again",
    ),
    "json": (
        "Pipfile.lock",
        "{",
        "Pipfile.lock:1: not JSON: Expecting property name enclosed in double quotes",
    ),
    "list": (
        "Pipfile.lock",
        "[]",
        "Pipfile.lock: expected a table, got a list",
    ),
    "deep": (
        "Pipfile.lock",
        "[" * 100_000,
        "Pipfile.lock: not JSON: nested too deeply",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_lock_is_error(case: str, tmp_path: Path) -> None:
    """A broken lock is an error that names the file, the key and what is wrong."""
    name, content, expected = BROKEN[case]
    (tmp_path / name).write_text(content)
    with pytest.raises(PyindexError) as raised:
        read(tmp_path / name)
    assert str(raised.value) == f"{tmp_path}/{expected}"


# A lock that does not support a target, by name and content, and the error on Windows.
UNSUPPORTED = {
    "git": (
        "uv.lock",
        UV_GIT,
        "without a package file: foo is the Git repository https://git.example/foo?rev=v1#abc; lock"
        " a wheel of each, or mirror it with --build foo",
    ),
    "environment": (
        "uv.lock",
        f"{UV_HEAD}supported-markers = [\"sys_platform == 'linux'\"]\n{UV_ROOT}",
        "target cp39-win_amd64 is not among the environments of the lock; remove the target, or"
        " lock for it",
    ),
    "missing package": (
        "uv.lock",
        f'{UV_HEAD}{UV_ROOT}dependencies = [{{ name = "foo" }}]\n',
        "no package is foo; write it again with `uv lock`",
    ),
    "pylock directory": (
        "pylock.toml",
        PYLOCK + '[[packages]]\nname = "foo"\ndirectory = { path = "../foo" }\n',
        "without a package file: foo is the directory ../foo; lock a wheel"
        " of each, or mirror it with --build foo",
    ),
    "pylock python": (
        "pylock.toml",
        PYLOCK + 'requires-python = ">=3.12"\npackages = []\n',
        "cp39-win_amd64: python_full_version '3.9.5' in provided environment does not satisfy the"
        " Python version requirement '>=3.12'; remove the target, or lock for it",
    ),
    "poetry git": (
        "poetry.lock",
        '[[package]]\nname = "foo"\nversion = "1"\ngroups = ["main"]\n[package.source]\n'
        f'type = "git"\nurl = "https://git.example/foo"\n{POETRY}',
        "without a package file: foo is the Git repository https://git.example/foo; lock a wheel"
        " of each, or mirror it with --build foo",
    ),
    "pipenv path": (
        "Pipfile.lock",
        '{"default": {"foo": {"path": "./foo", "editable": true}}}',
        "without a package file: foo is foo, which no index has; lock a wheel"
        " of each, or mirror it with --build foo",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_target_is_error(case: str, tmp_path: Path) -> None:
    """Packages without a file, and targets that a lock was not made for, are errors."""
    name, content, expected = UNSUPPORTED[case]
    (tmp_path / name).write_text(content)
    lock = read(tmp_path / name).lock
    assert lock is not None
    with pytest.raises(PyindexError) as raised:
        lock.pins(target("3.9", "win32"))
    assert str(raised.value) == f"{tmp_path / name}: {expected}"


# A package that must be built, by the name and content of a lock, and where its sources are.
SOURCES = {
    "uv git": (
        "uv.lock",
        UV_GIT.replace("?rev=v1#abc", "?subdirectory=a%2Fb&rev=v1#abc"),
        "git+https://git.example/foo@abc#subdirectory=a/b",
    ),
    "uv directory": (
        "uv.lock",
        UV_GIT.replace('git = "https://git.example/foo?rev=v1#abc"', 'editable = "../foo"'),
        "file://{here}/../foo",
    ),
    "pylock directory": (
        "pylock.toml",
        PYLOCK + '[[packages]]\nname = "foo"\n'
        'directory = { path = "../foo", subdirectory = "a" }\n',
        "file://{here}/../foo#subdirectory=a",
    ),
    "pylock repository": (
        "pylock.toml",
        PYLOCK + '[[packages]]\nname = "foo"\n'
        'vcs = { type = "hg", url = "https://hg.example/foo", commit-id = "abc" }\n',
        "hg+https://hg.example/foo@abc",
    ),
    "poetry git": (
        "poetry.lock",
        '[[package]]\nname = "foo"\nversion = "1"\ngroups = ["main"]\n[package.source]\n'
        'type = "git"\nurl = "https://git.example/foo"\nreference = "main"\n'
        f'resolved_reference = "abc"\n{POETRY}',
        "git+https://git.example/foo@abc",
    ),
    "pipenv git": (
        "Pipfile.lock",
        '{"default": {"foo": {"git": "https://git.example/foo", "ref": "abc"}}}',
        "git+https://git.example/foo@abc",
    ),
}


@pytest.mark.parametrize("case", SOURCES)
def test_lock_says_where_the_sources_are(case: str, tmp_path: Path) -> None:
    """A package that the caller builds has its sources at the commit of the lock."""
    name, content, expected = SOURCES[case]
    (tmp_path / name).write_text(content)
    lock = read(tmp_path / name, builds=["foo"]).lock
    assert lock is not None
    (pin,) = lock.pins(target("3.9", "win32"))
    assert pin.unbuilt is not None
    assert (pin.name, pin.unbuilt.project) == ("foo", "foo")
    assert pin.unbuilt.location == expected.format(here=tmp_path)


def test_package_excluded_by_marker_is_no_error(tmp_path: Path) -> None:
    """A repository in a lock is no error on a target whose markers exclude it."""
    (tmp_path / "uv.lock").write_text(UV_GIT)
    lock = read(tmp_path / "uv.lock").lock
    assert lock is not None
    assert lock.pins(target()) == ()


@pytest.mark.parametrize(
    ("name", "extras", "groups", "expected"),
    [
        ("uv/uv.lock", ["clii"], [], "extra 'clii' not found; it has cli, new, old"),
        ("uv/uv.lock", [], ["x"], "group 'x' not found; it has dev, docs"),
        ("uv/pylock.toml", ["x"], [], "extra 'x' not found; it has none"),
        ("poetry/poetry.lock", [], ["x"], "group 'x' not found; it has dev, docs, main"),
        ("pdm/pdm.lock", [], ["x"], "group 'x' not found; it has cli, default, dev, docs"),
        ("pipenv/Pipfile.lock", [], ["x"], "group 'x' not found; it has default, develop, docs"),
        ("uv/pyproject.toml", ["x"], [], "extra 'x' not found; it has cli, new, old"),
    ],
)
def test_unknown_choice_is_error(
    name: str, extras: list[str], groups: list[str], expected: str
) -> None:
    """An extra or group that the input lacks is an error with those that it has."""
    with pytest.raises(PyindexError) as raised:
        read(DATA / name, extras=extras, groups=groups)
    assert str(raised.value) == f"{DATA / name}: {expected}"
