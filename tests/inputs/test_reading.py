"""Kinds of inputs, projects, scripts and conda environments."""

import shutil
from pathlib import Path

import pytest

from appliance.errors import PyindexError
from appliance.inputs.demand import Demand
from appliance.inputs.reading import from_arguments, kind_of, read
from tests.inputs.fixtures import DATA

PROJECT = """
[project]
name = "Demo"
version = "1"
requires-python = ">=3.9"
dependencies = ["foo>=1"]

[project.optional-dependencies]
a = ["bar ; os_name == 'nt'"]
b = ["demo[a]", "baz @ https://files.example/baz-1.tar.gz"]

[dependency-groups]
test = ["pytest", { include-group = "Lint" }]
lint = ["ruff>=1"]
"""
POETRY = """
[tool.poetry.dependencies]
python = "^3.9"
foo = "^1.2.3"
bar = { version = "~0.2", extras = ["x"], markers = "os_name == 'nt'", python = "<3.12" }
baz = [{ version = "1.*", python = "<3.10" }, { version = ">=2 <3", platform = "linux" }]
qux = { version = "*", optional = true }

[tool.poetry.extras]
more = ["qux"]

[tool.poetry.group.dev.dependencies]
pytest = "^0.0.3"
"""
SCRIPT = '#!/bin/sh\n# /// script\n# dependencies = [\n#   "foo",\n# ]\n#\n# ///\nimport foo\n'
CONDA = """name: x
dependencies:
  - python=3.11
  - pip
  - pip:
      - foo==1  # comment
      - -r more.txt
      - --extra-index-url https://index.example/simple
"""


def texts(demand: Demand) -> list[str]:
    return [str(each.requirement) for each in demand.requirements]


KINDS = {
    "requirements.in": ("foo\n", "requirements.txt"),
    "deps": ("foo\n", "requirements.txt"),
    "empty.txt": ("", "requirements.txt"),
    "pylock.dev.toml": ("", "pylock.toml"),
    "locked.toml": ('lock-version = "1.0"\n', "pylock.toml"),
    "tool.py.lock": ("version = 1\nrequires-python = '>=3'\n", "uv.lock"),
    "a.lock": ("[metadata]\nlock-version = '2.1'\n", "poetry.lock"),
    "b.lock": ("[metadata]\nlock_version = '4.5'\n", "pdm.lock"),
    "c.lock": ('{"_meta": {}, "default": {}}', "Pipfile.lock"),
    "old.toml": (PROJECT, "pyproject.toml"),
    "env.yaml": (CONDA, "environment.yml"),
    "tool": (SCRIPT, "script"),
    "tool.py": (SCRIPT, "script"),
}


@pytest.mark.parametrize("name", KINDS)
def test_kind_is_told_by_name_and_content(name: str, tmp_path: Path) -> None:
    """The kind of a file is that of its name, or of its content where names are free."""
    content, kind = KINDS[name]
    (tmp_path / name).write_text(content)
    assert kind_of(tmp_path / name) == kind


NO_INPUTS = {
    "setup.py": "not an input; a program; lock the project, and pass its lock",
    "Pipfile": "not an input; run `pipenv lock`, and pass Pipfile.lock",
    "foo-1.0-py3-none-any.whl": "a package file; copy it into the packages directory",
    "notes.toml": "not a lock of a known tool; pass a file of requirements",
    "binary": "not a text; pass a file of requirements or a lock",
    "directory": "a directory; pass a file in it, such as pyproject.toml",
    "missing": "not found; correct the path",
    "none.py": "no block `# /// script` (PEP 723); correct the script",
    "conda.yml": "no pip part in its dependencies; collect what conda installs with conda",
    "env.yml": "not YAML: mapping values are not allowed here; correct it",
    "dynamic/pyproject.toml": (
        "project.dependencies: dynamic: only a build knows them; lock the project, and pass its"
        " lock"
    ),
    "empty/pyproject.toml": "no [project]; pass a file that has dependencies",
    "cycle/pyproject.toml": "dependency-groups.a: ",
    "bad/pyproject.toml": "project.dependencies[1]: ",
}
CONTENTS = {
    "notes.toml": "a = 1",
    "binary": "\x7fELF\0",
    "conda.yml": "dependencies: [python]",
    "env.yml": "a: b: c",
    "dynamic/pyproject.toml": '[project]\nname = "a"\ndynamic = ["dependencies"]\n',
    "empty/pyproject.toml": '[build-system]\nrequires = ["x"]\n',
    "cycle/pyproject.toml": '[dependency-groups]\na = [{ include-group = "a" }]\n',
    "bad/pyproject.toml": '[project]\ndependencies = ["foo", "bar baz"]\n',
}


@pytest.mark.parametrize("name", NO_INPUTS)
def test_file_that_is_no_input_is_error(name: str, tmp_path: Path) -> None:
    """A file that is no input is an error that names it and says what to pass."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name == "directory":
        path.mkdir()
    elif name != "missing":
        path.write_text(CONTENTS.get(name, ""))
    with pytest.raises(PyindexError) as raised:
        read(path, groups=["a"] if name.startswith("cycle") else [])
    assert NO_INPUTS[name] in str(raised.value)
    assert str(path) in str(raised.value)


def test_project_has_dependencies_extras_and_groups(tmp_path: Path) -> None:
    """A project requires its dependencies, and those of extras and groups that are asked for."""
    path = tmp_path / "pyproject.toml"
    path.write_text(PROJECT)
    assert texts(read(path)) == ["foo>=1"]
    assert str(read(path).requires_python) == ">=3.9"
    assert sorted(texts(read(path, extras=["b"], groups=["test"]))) == [
        'bar; os_name == "nt"',
        "baz @ https://files.example/baz-1.tar.gz",
        "foo>=1",
        "pytest",
        "ruff>=1",
    ]


def test_poetry_dependencies_become_requirements(tmp_path: Path) -> None:
    """Constraints of Poetry become specifiers, and its conditions markers."""
    path = tmp_path / "pyproject.toml"
    path.write_text(POETRY)
    demand = read(path, extras=["more"], groups=["dev"])
    assert sorted(texts(demand)) == [
        'bar[x]<0.3,>=0.2; python_full_version < "3.12" and os_name == "nt"',
        'baz<3,>=2; sys_platform == "linux"',
        'baz==1.*; python_full_version < "3.10"',
        "foo<2,>=1.2.3",
        "pytest<0.0.4,>=0.0.3",
        "qux",
    ]
    assert str(demand.requires_python) == "<4,>=3.9"


@pytest.mark.parametrize(
    ("dependency", "expected"),
    [
        (
            'foo = { git = "https://git.example/foo" }',
            "tool.poetry.dependencies.foo: comes from https://git.example/foo, not from an index;"
            " run `poetry lock`, and pass poetry.lock",
        ),
        (
            'foo = "^1 || ^3"',
            "tool.poetry.dependencies.foo: alternatives with || are not supported; run `poetry"
            " lock`, and pass poetry.lock",
        ),
        (
            'foo = "one"',
            "tool.poetry.dependencies.foo: not a version constraint: 'one'; write one such as"
            " >=1.2,<2",
        ),
    ],
)
def test_poetry_dependency_without_equivalent_is_error(
    dependency: str, expected: str, tmp_path: Path
) -> None:
    """A dependency of Poetry that no requirement can state is an error."""
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[tool.poetry.dependencies]\n{dependency}\n")
    with pytest.raises(PyindexError) as raised:
        read(path)
    assert str(raised.value) == f"{path}: {expected}"


def test_sources_of_uv_are_refused_by_name(tmp_path: Path) -> None:
    """Requirements that uv takes from a repository or path must be built; its indexes count."""
    path = tmp_path / "pyproject.toml"
    path.write_text(
        f'{PROJECT}\n[tool.uv.sources]\nfoo = {{ git = "https://git.example/foo" }}\n'
        '[[tool.uv.index]]\nurl = "https://a.example/simple"\ndefault = true\n'
        '[[tool.uv.index]]\nurl = "https://b.example/simple"\n'
    )
    with pytest.raises(PyindexError) as raised:
        read(path)
    assert str(raised.value) == (
        f"{path}: tool.uv.sources.foo: 'foo>=1' names a Git repository, which must be built;"
        " replace it by a wheel, or mirror it with --build foo"
    )
    demand = read(path, builds=["foo"])
    assert (texts(demand), demand.unbuilt[0].kind) == ([], "a Git repository")
    assert demand.unbuilt[0].location.startswith("git+https://git.example/foo")
    assert demand.options.index_url == "https://a.example/simple"
    assert demand.options.extra_index_urls == ("https://b.example/simple",)


def test_script_states_requirements() -> None:
    """The metadata of a script (PEP 723) states requirements."""
    demand = read(DATA / "script" / "tool.py")
    assert texts(demand) == ["rich", 'colorama; sys_platform == "win32"']
    assert (demand.kind, str(demand.requires_python)) == ("script", ">=3.9")


def test_pip_part_of_conda_environment_is_requirements_file(tmp_path: Path) -> None:
    """The pip part of a conda environment is read as a requirements file next to it."""
    (tmp_path / "more.txt").write_text("bar\n")
    path = tmp_path / "environment.yml"
    path.write_text(CONDA)
    demand = read(path)
    assert texts(demand) == ["foo==1", "bar"]
    assert [each.origin for each in demand.requirements] == [
        f"{path}:6",
        f"{tmp_path}/more.txt:1",
    ]
    assert demand.options.extra_index_urls == ("https://index.example/simple",)


def test_requirements_have_no_extras(tmp_path: Path) -> None:
    """Extras of an input that has none are an error."""
    (tmp_path / "r.txt").write_text("foo")
    with pytest.raises(PyindexError) as raised:
        read(tmp_path / "r.txt", extras=["cli"])
    text = "a requirements.txt has no extras or groups, got cli; remove the option"
    assert str(raised.value) == f"{tmp_path}/r.txt: {text}"


def test_default_groups_of_project_count(tmp_path: Path) -> None:
    """The groups that uv installs by default are those of the project next to the lock."""
    from tests.inputs.targets import target

    directory = shutil.copytree(DATA / "uv", tmp_path / "uv")
    path = directory / "pyproject.toml"
    path.write_text(path.read_text().replace("[tool.uv]", '[tool.uv]\ndefault-groups = ["docs"]'))
    lock = read(directory / "uv.lock").lock
    assert lock is not None
    assert [pin.name for pin in lock.pins(target())] == ["click", "mistune"]


def test_error_hides_login() -> None:
    """An error about a URL with a login does not print the login."""
    line = "foo @ git+https://alice:secret@index.example/foo.git"
    with pytest.raises(PyindexError) as raised:
        from_arguments([line])
    assert "secret" not in str(raised.value)
    assert "git+https://...@index.example/foo.git" in str(raised.value)
